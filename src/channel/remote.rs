//! The way to a channel from other threads.

use std::fmt;
use std::sync::Arc;

use super::handle::Channel;
use super::state::ChannelId;
use crate::connection::{Inbox, Post, RemoteConnection};
use crate::error::Result;

/// A handle on a channel for other threads: `Clone + Send + Sync`, free to drop. See
/// [`Channel::remote`].
///
/// It posts closures to the loop's thread, where they get the [`Channel`], in the order that is said
/// at [`RemoteConnection`].
///
/// ```no_run
/// # fn f(channel: &haypile::Channel) -> haypile::Result<()> {
/// use haypile::{BasicProperties, basic};
///
/// let remote = channel.remote();
/// std::thread::spawn(move || {
///     let posted = remote.add_callback(|channel| {
///         let to = basic::Publish { routing_key: "hello".into(), ..Default::default() };
///         channel.basic_publish(to, &BasicProperties::default(), "Hello!").expect("it is open");
///     });
///     posted.expect("the connection has not ended");
/// });
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RemoteChannel {
    inbox: Arc<Inbox>,
    id: ChannelId,
}

impl RemoteChannel {
    pub(super) fn new(inbox: Arc<Inbox>, id: ChannelId) -> Self {
        Self { inbox, id }
    }

    /// Its number on the connection.
    pub fn channel_number(&self) -> u16 {
        self.id.number
    }

    /// The connection it is on.
    pub fn connection(&self) -> RemoteConnection {
        RemoteConnection::new(Arc::clone(&self.inbox))
    }

    /// Runs `callback` on the loop's thread, in its next turn (pika's `add_callback_threadsafe`).
    /// The channel may have ended by then: calls on the handle give errors, and never reach a later
    /// channel of the same number. If the loop goes before that, it is dropped without a call.
    ///
    /// # Errors
    /// Those of [`RemoteConnection::add_callback`].
    pub fn add_callback(&self, callback: impl FnOnce(&Channel) + Send + 'static) -> Result<()> {
        self.inbox.put(Post::Channel(self.id, Box::new(callback)))
    }
}

impl fmt::Debug for RemoteChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteChannel").field("channel_number", &self.id.number).finish()
    }
}
