//! The driver: between the state machine, the stream and the user's closures.
//!
//! It asks the machine what happened, one thing at a time, and calls the closure concerned with
//! nothing borrowed, so that every API call, every drop and every close is legal in every callback.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::io::ErrorKind;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use super::authenticating::Authentication;
use super::callbacks::ConnectionCallbacks;
use super::counters::Counters;
use super::handle::Connection;
use super::input::Input;
use super::machine::{Limit, Machine};
use super::output::Due;
use super::parameters::ConnectionParameters;
use super::remote::Inbox;
use crate::channel::{Channel, ChannelId};
use crate::error::{ConnectError, Error, Misuse, StreamLost, TlsError};
use crate::io_services::{
    LoopSession, OnProgress, Progress, Received, Services, Stream, StreamOwner, Traffic, Transport,
    WeakServices, Workflow,
};
use crate::ioloop::{LoopCore, SessionKey, TimerId};

/// A connection, as its loop owns it.
pub(crate) struct Session {
    pub(super) me: Weak<Session>,
    pub(super) services: WeakServices,
    pub(super) key: Cell<Option<SessionKey>>,
    pub(super) machine: RefCell<Machine>,
    pub(super) callbacks: RefCell<ConnectionCallbacks>,
    /// Until the connection is open. Dropping it abandons it.
    pub(super) workflow: RefCell<Option<Workflow>>,
    pub(super) authentication: RefCell<Authentication>,
    pub(super) transport: RefCell<Option<Rc<dyn Transport>>>,
    /// Bytes that have come and are not parsed: a cut frame, or what a panic left.
    tail: RefCell<Vec<u8>>,
    /// What went through the transport that was.
    traffic: Cell<Traffic>,
    timer: Cell<Option<(Instant, TimerId)>>,
    /// The loop will call `flush`.
    pub(super) dirty: Cell<bool>,
    /// The loop will call `resume`.
    resuming: Cell<bool>,
    /// Events are being delivered further up the stack.
    pub(super) running: Cell<bool>,
    /// What other threads have for it, once any may.
    inbox: OnceCell<Arc<Inbox>>,
    /// What futures wait for, once any may.
    #[cfg(feature = "futures")]
    pub(super) watch: OnceCell<Rc<crate::futures::Watch>>,
}

impl Session {
    /// Starts to connect, as `connect` says. The loop owns the session until the connection has ended.
    pub(super) fn start(
        services: &Services,
        callbacks: ConnectionCallbacks,
        connect: impl FnOnce(OnProgress) -> Workflow,
    ) -> Connection {
        let session = Self::new(services, ConnectionParameters::default(), callbacks);
        let me = session.me.clone();
        let on_progress = Box::new(move |progress| {
            if let Some(session) = me.upgrade() {
                session.on_progress(progress);
            }
        });
        session.workflow.replace(Some(connect(on_progress)));
        session.key.set(Some(services.adopt(session.clone())));
        Connection::new(session.me.clone())
    }

    /// Starts the handshake over a transport that is connected. No other is tried if that fails.
    pub(crate) fn start_over<T: Transport + 'static>(
        services: &Services,
        parameters: ConnectionParameters,
        callbacks: ConnectionCallbacks,
        transport: impl FnOnce(Weak<Session>) -> T,
    ) -> (Connection, Rc<T>) {
        let limit = Limit::starting(services.now(), parameters.stack_timeout());
        let session = Self::new(services, parameters, callbacks);
        let transport = Rc::new(transport(session.me.clone()));
        session.transport.replace(Some(transport.clone()));
        session.key.set(Some(services.adopt(session.clone())));
        session.with(|machine| machine.connected(limit));
        (Connection::new(session.me.clone()), transport)
    }

    fn new(
        services: &Services,
        parameters: ConnectionParameters,
        callbacks: ConnectionCallbacks,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me: &Weak<Session>| Session {
            me: me.clone(),
            services: services.downgrade(),
            key: Cell::new(None),
            machine: RefCell::new(Machine::new(parameters)),
            callbacks: RefCell::new(callbacks),
            workflow: RefCell::default(),
            authentication: RefCell::default(),
            transport: RefCell::default(),
            tail: RefCell::default(),
            traffic: Cell::default(),
            timer: Cell::new(None),
            dirty: Cell::new(false),
            resuming: Cell::new(false),
            running: Cell::new(false),
            inbox: OnceCell::new(),
            #[cfg(feature = "futures")]
            watch: OnceCell::new(),
        })
    }

    /// Lets an API call work on the machine, then sees to what it caused. Closures that the call
    /// does not take must outlive it: their drop may come back here.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Machine) -> R) -> R {
        let result = call(&mut self.machine_with_buffer());
        self.settle();
        result
    }

    /// Looks at the machine; nothing follows from it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(&self.machine.borrow())
    }

    /// That session, if `core` still owns it.
    pub(super) fn find(core: &LoopCore, key: SessionKey) -> Option<Rc<Self>> {
        let session: Rc<dyn Any> = core.session(key)?;
        session.downcast().ok()
    }

    /// The way in from other threads.
    #[inline]
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        self.inbox.get_or_init(|| match (self.services.upgrade(), self.key.get()) {
            (Some(services), Some(key)) => Inbox::new(services.core().remote(), key),
            _ => Arc::clone(Inbox::ended()),
        })
    }

    /// Runs what another thread has posted.
    pub(super) fn run_post(&self, core: &LoopCore, post: impl FnOnce(Weak<Session>)) {
        self.call(core, || post(self.me.clone()));
        self.settle();
    }

    pub(crate) fn services(&self) -> Option<Services> {
        self.services.upgrade()
    }

    pub(super) fn transport(&self) -> Option<Rc<dyn Transport>> {
        self.transport.borrow().clone()
    }

    pub(crate) fn counters(&self) -> Counters {
        let transport = self.transport();
        let traffic = transport.map_or_else(|| self.traffic.get(), |it| it.counters());
        let mut counters = self.machine.borrow().counters();
        counters.bytes_received = traffic.bytes_received;
        counters.bytes_sent = traffic.bytes_sent;
        counters.reads = traffic.reads;
        counters.writes = traffic.writes;
        counters.buffered_in += self.tail.borrow().len();
        counters
    }

    /// Sees to everything the machine may want after a change: output, a deadline, events.
    pub(super) fn settle(&self) {
        let mut machine = self.machine.borrow_mut();
        let due = machine.output().due();
        let (deadline, events) = (machine.deadline(), machine.has_events());
        drop(machine);
        match due {
            Due::Never => self.return_buffer(),
            due => self.see_to_output(due),
        }
        if deadline != self.timer.get().map(|(armed, _)| armed) {
            self.arm(deadline);
        }
        if events && !self.running.get() {
            self.resume_later();
        }
    }

    /// Delivers events from the loop, since they must not come from inside an API call.
    pub(super) fn resume_later(&self) {
        if self.resuming.replace(true) {
            return;
        }
        let me = self.me.clone();
        if let Some(services) = self.services.upgrade() {
            services.add_callback(move || {
                if let Some(session) = me.upgrade() {
                    session.resume();
                }
            });
        }
    }

    fn arm(&self, deadline: Option<Instant>) {
        let Some(services) = self.services.upgrade() else { return };
        if let Some((_, timer)) = self.timer.take() {
            services.remove_timeout(timer);
        }
        let Some(deadline) = deadline else { return };
        let me = self.me.clone();
        let timer = services.add_timeout(deadline, move || {
            if let Some(session) = me.upgrade() {
                session.timer.set(None);
                session.on_deadline();
            }
        });
        self.timer.set(Some((deadline, timer)));
    }

    fn on_deadline(&self) {
        if let Some(services) = self.services.upgrade() {
            self.machine_with_buffer().deadline_passed(services.now());
            self.resume();
        }
    }

    // Input.

    fn on_progress(&self, progress: Progress) {
        let Some(services) = self.services.upgrade() else { return };
        if self.machine.borrow().is_closed() {
            return;
        }
        let opened = match progress {
            Progress::Connected { connected, parameters, limit } => {
                let old = self.machine.borrow_mut().renew(*parameters);
                drop(old);
                let owner: Weak<dyn StreamOwner> = self.me.clone();
                let stream = connected.serve(&services, owner).map_err(Error::from);
                stream.map(|stream| (stream, limit))
            }
            Progress::Failed(error) => Err(error),
        };
        match opened {
            Ok((stream, limit)) => {
                self.transport.replace(Some(stream.clone()));
                self.machine.borrow_mut().connected(limit);
                if stream.has_pending() {
                    self.read(services.core(), &*stream);
                }
                self.settle();
            }
            Err(error) => {
                self.machine.borrow_mut().finish(error);
                self.resume();
            }
        }
    }

    /// An attempt to open the connection has failed: goes on with the next.
    ///
    /// # Errors
    /// What to end with, if there is none.
    pub(super) fn try_next(&self, cause: Error) -> Result<(), Error> {
        if matches!(cause, Error::Connect(ConnectError::Aborted) | Error::CallbackPanicked(_)) {
            return Err(cause);
        }
        match &*self.workflow.borrow() {
            Some(workflow) => workflow.failed(cause)?,
            None => return Err(cause),
        }
        let old = self.machine.borrow_mut().renew(ConnectionParameters::default());
        drop(old);
        Ok(())
    }

    /// Delivers what waits to be delivered, and takes note of a failed write.
    fn resume(&self) {
        self.resuming.set(false);
        let Some(services) = self.services.upgrade() else { return };
        let _batch = services.core().batch();
        if let Some(transport) = self.transport()
            && transport.has_failed()
        {
            while !self.machine.borrow().is_closed() && !self.read(services.core(), &*transport) {}
            if let Some(error) = transport.take_write_error() {
                self.machine.borrow_mut().lost(StreamLost::Io(error));
            }
        }
        self.take_in(services.core(), |_| Received::default());
    }

    fn read(&self, core: &Rc<LoopCore>, transport: &dyn Transport) -> bool {
        self.take_in(core, |space| transport.read(space))
    }

    /// Fills the read buffer behind the tail, parses, delivers. Returns whether the transport was
    /// seen to block.
    pub(crate) fn take_in(
        &self,
        core: &Rc<LoopCore>,
        fill: impl FnOnce(&mut [u8]) -> Received,
    ) -> bool {
        if self.running.get() {
            return false;
        }
        let mut buffer = core.take_read_buffer();
        let Some(bytes) = Arc::get_mut(&mut buffer) else {
            unreachable!("the read buffer is kept only while nobody shares it");
        };
        let mut tail = self.tail.take();
        let kept = tail.len();
        bytes[..kept].copy_from_slice(&tail);
        tail.clear();
        self.tail.replace(tail);
        let received = fill(&mut bytes[kept..]);
        if received.count > 0
            && let Some(services) = self.services.upgrade()
        {
            self.machine.borrow_mut().received(services.now());
        }
        self.dispatch(core, &buffer, kept + received.count);
        core.put_read_buffer(buffer);
        if let Some(cause) = received.lost {
            let cause = self.cause_of_loss(cause);
            self.machine.borrow_mut().lost(cause);
            self.resume_later();
            return true;
        }
        received.blocked
    }

    /// The system tells of a reset once: if a write has learned of it, a read sees the mere end.
    fn cause_of_loss(&self, read: StreamLost) -> StreamLost {
        let write = self.transport().and_then(|transport| transport.take_write_error());
        match (read, write) {
            (StreamLost::EndOfStream | StreamLost::Tls(TlsError::Truncated), Some(error))
                if error.kind() != ErrorKind::BrokenPipe =>
            {
                error.into()
            }
            (read, _) => read,
        }
    }

    fn dispatch(&self, core: &Rc<LoopCore>, buffer: &Arc<[u8]>, filled: usize) {
        let mut run = Run { session: self, input: Input::new(buffer, filled) };
        self.running.set(true);
        loop {
            let arrival = self.machine.borrow_mut().next_delivery(&mut run.input);
            if let Some(arrival) = arrival {
                self.arrived(core, &run.input, arrival);
                continue;
            }
            let event = self.machine.borrow_mut().next(&mut run.input);
            let Some(event) = event else { break };
            self.deliver(core, event);
        }
        drop(run);
        self.machine.borrow_mut().trim();
        self.settle();
    }

    /// Takes nothing from other threads any more.
    pub(super) fn end_inbox(&self) {
        if let Some(inbox) = self.inbox.get() {
            inbox.end(Misuse::ConnectionNotOpen);
        }
    }

    /// Lets go of the transport.
    pub(super) fn take_down(&self) {
        self.arm(None);
        self.tail.take();
        let transport = self.transport.take();
        if let Some(transport) = transport {
            self.traffic.set(transport.counters());
            transport.close();
        }
    }

    pub(super) fn connection(&self) -> Connection {
        Connection::new(self.me.clone())
    }

    pub(super) fn channel(&self, id: ChannelId) -> Channel {
        Channel::new(self.me.clone(), id)
    }
}

impl LoopSession for Session {
    fn flush(&self) {
        self.dirty.set(false);
        self.write();
    }

    fn abandon(&self) {
        let posted = self.inbox.get().map(|inbox| inbox.abandon());
        self.take_down();
        drop(posted);
        // The user's closures drop with nothing borrowed: they may look at their connection.
        drop((self.workflow.take(), self.take_on_challenge()));
        let mut machine = Machine::new(ConnectionParameters::default());
        machine.abandoned();
        drop(self.machine.replace(machine));
        drop(self.callbacks.take());
    }
}

impl StreamOwner for Session {
    fn readable(&self, stream: &Stream) -> bool {
        let Some(services) = self.services.upgrade() else { return true };
        self.read(services.core(), stream)
    }

    fn writable(&self) {
        self.write();
    }
}

/// One pass of deliveries. However it ends, what was not parsed is kept; if it ends in a panic, the
/// loop comes back for it.
struct Run<'s, 'b> {
    session: &'s Session,
    input: Input<'b>,
}

impl Drop for Run<'_, '_> {
    fn drop(&mut self) {
        self.session.running.set(false);
        let rest = self.input.rest();
        let mut tail = self.session.tail.borrow_mut();
        if rest.is_empty() || !self.session.machine.borrow().is_up() {
            // A connection at rest keeps no memory for what may come.
            *tail = Vec::new();
        } else {
            tail.extend_from_slice(rest);
        }
        drop(tail);
        if std::thread::panicking() {
            self.session.resume_later();
        }
    }
}
