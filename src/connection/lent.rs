//! The user's closures while they run: however that ends, they go back to their place.

use super::event::Event;
use super::session::Session;
use crate::channel::{ChannelId, ConsumerKey, Observers, OnMessage};

/// A consumer's closure while it runs.
pub(super) struct Lent<'s> {
    pub(super) session: &'s Session,
    pub(super) channel: ChannelId,
    pub(super) consumer: ConsumerKey,
    pub(super) on_message: Option<OnMessage>,
}

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(on_message) = self.on_message.take() {
            let mut machine = self.session.machine.borrow_mut();
            let unused = machine.give_back(self.channel, self.consumer, on_message);
            // Not to be dropped in the unwind that this may be.
            machine.wire.events.extend(unused.map(|unused| Event::Released(Box::new(unused))));
        }
    }
}

/// A list of a channel's closures while they run.
pub(super) struct LentList<'s, F: 'static> {
    pub(super) session: &'s Session,
    pub(super) channel: ChannelId,
    pub(super) list: fn(&mut Observers) -> &mut Vec<F>,
    pub(super) closures: Vec<F>,
}

impl<F> Drop for LentList<'_, F> {
    fn drop(&mut self) {
        let mut machine = self.session.machine.borrow_mut();
        let mut closures = std::mem::take(&mut self.closures);
        if let Some(state) = machine.channel_mut(self.channel) {
            let list = (self.list)(&mut state.observers);
            closures.append(list);
            *list = closures;
        } else {
            machine.wire.events.push_back(Event::Released(Box::new(closures)));
        }
    }
}
