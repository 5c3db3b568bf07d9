//! The user's closures while they run: however that ends, they go back to their place.

use super::callbacks::ConnectionCallbacks;
use super::event::Event;
use super::session::Session;
use crate::channel::{ChannelId, Observers};

/// A list of closures while they run, and where they are kept.
pub(super) struct LentList<'s, F: 'static, H: Home<F>> {
    session: &'s Session,
    home: H,
    pub(super) closures: Vec<F>,
}

/// Where a list of closures is kept.
pub(super) trait Home<F> {
    /// Does something with the list, if it is still there.
    fn visit<R>(&self, session: &Session, visit: impl FnOnce(&mut Vec<F>) -> R) -> Option<R>;
}

/// A channel's list.
pub(super) struct OfChannel<F>(pub(super) ChannelId, pub(super) fn(&mut Observers) -> &mut Vec<F>);

impl<F> Home<F> for OfChannel<F> {
    fn visit<R>(&self, session: &Session, visit: impl FnOnce(&mut Vec<F>) -> R) -> Option<R> {
        let mut machine = session.machine.borrow_mut();
        machine.channel_mut(self.0).map(|channel| visit(self.1(&mut channel.observers)))
    }
}

/// A list of the connection's own.
pub(super) struct OfConnection<F>(pub(super) fn(&mut ConnectionCallbacks) -> &mut Vec<F>);

impl<F> Home<F> for OfConnection<F> {
    fn visit<R>(&self, session: &Session, visit: impl FnOnce(&mut Vec<F>) -> R) -> Option<R> {
        let is_closed = session.machine.borrow().is_closed();
        (!is_closed).then(|| visit(self.0(&mut session.callbacks.borrow_mut())))
    }
}

impl<'s, F, H: Home<F>> LentList<'s, F, H> {
    pub(super) fn take(session: &'s Session, home: H) -> Self {
        let closures = home.visit(session, std::mem::take).unwrap_or_default();
        Self { session, closures, home }
    }
}

impl<F, H: Home<F>> Drop for LentList<'_, F, H> {
    fn drop(&mut self) {
        let closures = &mut self.closures;
        let returned = self.home.visit(self.session, |list| {
            closures.append(list);
            std::mem::swap(closures, list);
        });
        if returned.is_none() {
            let closures = Event::Released(Box::new(std::mem::take(closures)));
            self.session.machine.borrow_mut().wire.events.push_back(closures);
        }
    }
}
