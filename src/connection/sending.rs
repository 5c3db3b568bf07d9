//! The driver's way out: output leaves at the end of the loop's turn, or at once where much waits.

use std::cell::RefMut;
use std::mem;

use super::machine::Machine;
use super::output::{Due, Output};
use super::session::Session;

impl Session {
    /// As [`with`](Self::with), for a call of which nothing comes but output, and nothing at all if
    /// it refuses: no event, and no deadline.
    #[inline]
    pub(crate) fn put<R, E>(
        &self,
        call: impl FnOnce(&mut Machine) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut machine = self.machine_with_buffer();
        let before = cfg!(debug_assertions).then(|| (machine.deadline(), machine.has_events()));
        // A result as large as an error is not moved: that costs more than to encode a message.
        match call(&mut machine) {
            Ok(done) => {
                debug_assert!(
                    before.is_none_or(|it| it == (machine.deadline(), machine.has_events())),
                    "more than output"
                );
                let due = machine.output().due();
                drop(machine);
                self.see_to_output(due);
                Ok(done)
            }
            Err(refused) => {
                drop(machine);
                self.return_buffer();
                Err(refused)
            }
        }
    }

    #[inline]
    pub(super) fn machine_with_buffer(&self) -> RefMut<'_, Machine> {
        let mut machine = self.machine.borrow_mut();
        if machine.output().needs_buffer() {
            self.give_buffer(&mut machine);
        }
        machine
    }

    fn give_buffer(&self, machine: &mut Machine) {
        if let Some(services) = self.services.upgrade() {
            machine.output().give_buffer(services.core().take_write_buffer());
        }
    }

    /// Gives the loop its buffer back, if there is nothing in it: an idle connection keeps none.
    pub(super) fn return_buffer(&self) {
        let buffer = self.machine.borrow_mut().output().take_buffer();
        if let Some((buffer, services)) = buffer.zip(self.services.upgrade()) {
            services.core().put_write_buffer(buffer);
        }
    }

    /// Sees that output leaves when it is due.
    #[inline]
    pub(super) fn see_to_output(&self, due: Due) {
        match due {
            Due::Now => self.write_inline(),
            Due::ThisTurn if !self.dirty.get() => self.flush_later(),
            Due::ThisTurn | Due::Never => {}
        }
    }

    /// Whether there is a transport that may take something. One that is known to take nothing is
    /// not asked at every call.
    fn may_write(&self) -> bool {
        self.transport.borrow().as_ref().is_some_and(|transport| !transport.is_blocked())
    }

    fn flush_later(&self) {
        if !self.may_write() {
            return;
        }
        let Some(me) = self.me.upgrade() else { return };
        if let Some(services) = self.services.upgrade() {
            self.dirty.set(true);
            services.mark_dirty(me);
        }
    }

    fn write_inline(&self) {
        if self.may_write() {
            self.write();
        }
        self.machine.borrow_mut().output().bound_block();
    }

    pub(super) fn write(&self) {
        let Some(transport) = self.transport() else { return };
        let resume = {
            let mut machine = self.machine.borrow_mut();
            let waiting = machine.output().len();
            let written = transport.write(machine.output());
            if machine.output().len() < waiting {
                machine.sent();
            }
            let events = machine.has_events() && !self.running.get();
            // The peer may have said why before it went: that is read first, from the loop.
            written.is_err() || events
        };
        if resume {
            self.resume_later();
        }
        self.return_buffer();
        self.drop_spent();
    }

    /// Drops the bodies that are sent, with nothing borrowed: their memory may be the user's.
    fn drop_spent(&self) {
        let spent = self.machine.borrow_mut().output().take_spent();
        if !spent.is_empty()
            && let Some(services) = self.services.upgrade()
        {
            self.call(services.core(), || drop(spent));
            // A panic of theirs has ended the connection.
            if self.machine.borrow().has_events() && !self.running.get() {
                self.resume_later();
            }
        }
    }

    /// How many bytes wait to be sent, those behind requests not counted.
    pub(crate) fn output_len(&self) -> usize {
        self.machine.borrow_mut().output().len()
    }

    /// Lends what waits to be sent, with nothing borrowed. What is made meanwhile comes behind what
    /// is left of it.
    pub(crate) fn lend_output<R>(&self, send: impl FnOnce(&mut Output) -> R) -> R {
        let output = mem::take(self.machine.borrow_mut().output());
        let mut lent = LentOutput { session: self, waited: output.len(), output };
        let sent = send(&mut lent.output);
        drop(lent);
        self.settle();
        self.drop_spent();
        sent
    }

    /// Gives away what waits to be sent, for whoever may send it after the connection. For that, it
    /// was lost.
    pub(crate) fn take_output(&self) -> Output {
        self.machine.borrow_mut().take_output()
    }

    /// Writes what waits, now. An error is told from the loop.
    pub(crate) fn write_now(&self) {
        self.write();
        self.settle();
    }
}

/// The output while it is lent: however that ends, it goes back to its place.
struct LentOutput<'s> {
    session: &'s Session,
    output: Output,
    waited: usize,
}

impl Drop for LentOutput<'_> {
    fn drop(&mut self) {
        let mut machine = self.session.machine.borrow_mut();
        let sent = self.output.len() < self.waited;
        let made = mem::replace(machine.output(), mem::take(&mut self.output));
        machine.output().append(made);
        if sent {
            machine.sent();
        }
    }
}
