//! What futures have of a channel.

use super::handle::Channel;
use crate::error::{Error, Misuse, PublishError, Result};

impl Channel {
    /// Has `on_ending` called once, when the channel has ended. It replaces what was set.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`].
    pub(crate) fn set_on_ending(
        &self,
        on_ending: impl FnOnce(&Error) -> bool + 'static,
    ) -> Result<()> {
        let mut on_ending = Some(Box::new(on_ending) as _);
        let old = self.work(|channel, _| {
            Ok::<_, Misuse>(std::mem::replace(&mut channel.observers.on_ending, on_ending.take()))
        })?;
        drop(old);
        Ok(())
    }

    /// Whether there is room to publish. If not, the writable callbacks are called when there is.
    ///
    /// # Errors
    /// [`Misuse::ChannelNotOpen`].
    pub(crate) fn has_room(&self) -> Result<bool, Misuse> {
        self.work(|channel, wire| match channel.ensure_room(wire) {
            Ok(()) => Ok(true),
            Err(PublishError::Full | PublishError::TooManyUnconfirmed { .. }) => Ok(false),
            Err(PublishError::Misuse(misuse)) => Err(misuse),
        })
    }
}
