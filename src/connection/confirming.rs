//! What became of publishes is told to the user's closures.

use std::rc::Rc;

use super::event::Event;
use super::session::Session;
use crate::channel::{ChannelId, Unconfirmed};
use crate::ioloop::LoopCore;

impl Session {
    /// Tells each publish that the broker has said something about.
    pub(super) fn confirmed(&self, core: &Rc<LoopCore>, channel: ChannelId) {
        let on_confirm = self.machine.borrow().channel(channel).and_then(|c| c.on_confirm());
        let Some(on_confirm) = on_confirm else { return };
        let handle = self.channel(channel);
        let again = Again { session: self, event: Some(Event::Confirmed { channel }) };
        loop {
            let confirm = self.machine.borrow_mut().next_confirm(channel);
            let Some(confirm) = confirm else { break };
            self.call(core, || (*on_confirm.borrow_mut())(&handle, confirm));
        }
        again.finish();
    }

    /// Tells each publish of a channel that has ended, and those who wait for them.
    pub(super) fn unconfirmed(&self, core: &Rc<LoopCore>, unconfirmed: Box<Unconfirmed>) {
        let handle = self.channel(unconfirmed.channel);
        let mut again = Again { session: self, event: Some(Event::Unconfirmed(unconfirmed)) };
        while let Some(Event::Unconfirmed(unconfirmed)) = &mut again.event {
            let Some(tell) = unconfirmed.tell_next(&handle) else { break };
            self.call(core, tell);
        }
        let told = again.finish();
        self.call(core, || drop(told));
    }
}

/// An event of many calls while they are made: if one panics, the loop comes back for the others.
struct Again<'s> {
    session: &'s Session,
    event: Option<Event<'static>>,
}

impl Again<'_> {
    fn finish(mut self) -> Option<Event<'static>> {
        self.event.take()
    }
}

impl Drop for Again<'_> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.session.machine.borrow_mut().wire.events.push_front(event);
        }
    }
}
