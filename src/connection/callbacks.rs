//! What a program is told about its connection.

use super::handle::Connection;
use crate::error::Error;
use crate::protocol::ShortStr;

pub(crate) type OnOpen = Box<dyn FnOnce(&Connection)>;
pub(crate) type OnEnd = Box<dyn FnOnce(&Connection, Error)>;
/// Watches for the end, whichever it is. Gives whether somebody is told by that: an error that
/// nobody is told is one that nobody has handled.
pub(crate) type OnEnding = Box<dyn FnOnce(&Error) -> bool>;
pub(crate) type OnBlocked = Box<dyn FnMut(&Connection, &ShortStr<'_>)>;
pub(crate) type OnChange = Box<dyn FnMut(&Connection)>;

/// The closures that a connection calls, always from the loop.
///
/// Of `on_open_error` and `on_close`, exactly one is called, once, for each connection that ends
/// while its loop runs. All closures are dropped once the connection has ended, with nothing
/// borrowed. Several for the same are called in the order they were added.
///
/// ```
/// use haypile::ConnectionCallbacks;
///
/// let callbacks = ConnectionCallbacks::new()
///     .on_open(|connection| println!("open: {}", connection.is_open()))
///     .on_open_error(|_, error| eprintln!("no connection: {error}"))
///     .on_close(|_, reason| println!("{reason}"));
/// # drop(callbacks);
/// ```
#[derive(Default)]
#[must_use = "each method gives the callbacks back, with one more"]
pub struct ConnectionCallbacks {
    pub(crate) on_open: Vec<OnOpen>,
    pub(crate) on_open_error: Vec<OnEnd>,
    pub(crate) on_close: Vec<OnEnd>,
    /// Called before those of `on_open_error` or `on_close`.
    pub(crate) on_ending: Option<OnEnding>,
    pub(crate) on_blocked: Vec<OnBlocked>,
    pub(crate) on_unblocked: Vec<OnChange>,
    pub(crate) on_writable: Vec<OnChange>,
}

impl ConnectionCallbacks {
    /// No closures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Called when the connection is open (pika's `on_open_callback`).
    pub fn on_open(mut self, on_open: impl FnOnce(&Connection) + 'static) -> Self {
        self.on_open.push(Box::new(on_open));
        self
    }

    /// Called when the connection ends before it was open (pika's `on_open_error_callback`).
    /// Without it, [`IOLoop::start`](crate::IOLoop::start) returns the error; a foreign loop gets
    /// it in the log.
    pub fn on_open_error(
        mut self,
        on_open_error: impl FnOnce(&Connection, Error) + 'static,
    ) -> Self {
        self.on_open_error.push(Box::new(on_open_error));
        self
    }

    /// Called when an open connection ends, with the reason: an orderly close by either side, or
    /// what went wrong (pika's `on_close_callback`). Without it, any other reason than this
    /// program's own `close` is logged.
    pub fn on_close(mut self, on_close: impl FnOnce(&Connection, Error) + 'static) -> Self {
        self.on_close.push(Box::new(on_close));
        self
    }

    /// Called with the broker's reason when it says that it takes no messages for now, since it is
    /// short of memory or disk (RabbitMQ's connection.blocked; pika's
    /// `add_on_connection_blocked_callback`). Without one, it is logged.
    ///
    /// RabbitMQ reads nothing more from a connection that publishes while it is blocked: nothing is
    /// answered, a close neither, until it is unblocked. What is published goes on to be taken up
    /// to the [high water mark](crate::ConnectionParameters::set_water_marks). How long that may
    /// last is bounded by
    /// [`blocked_connection_timeout`](crate::ConnectionParameters::set_blocked_connection_timeout).
    pub fn on_blocked(
        mut self,
        on_blocked: impl FnMut(&Connection, &ShortStr<'_>) + 'static,
    ) -> Self {
        self.on_blocked.push(Box::new(on_blocked));
        self
    }

    /// Called when the broker takes messages again (RabbitMQ's connection.unblocked; pika's
    /// `add_on_connection_unblocked_callback`).
    pub fn on_unblocked(mut self, on_unblocked: impl FnMut(&Connection) + 'static) -> Self {
        self.on_unblocked.push(Box::new(on_unblocked));
        self
    }

    /// Called when there is room again for what [`basic_publish`](crate::Channel::basic_publish)
    /// has refused as [`PublishError::Full`](crate::PublishError::Full): once for each time that
    /// there was none, when no more than the
    /// [low water mark](crate::ConnectionParameters::set_water_marks) waits to be sent.
    pub fn on_writable(mut self, on_writable: impl FnMut(&Connection) + 'static) -> Self {
        self.on_writable.push(Box::new(on_writable));
        self
    }
}

impl std::fmt::Debug for ConnectionCallbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionCallbacks")
            .field("on_open", &self.on_open.len())
            .field("on_open_error", &self.on_open_error.len())
            .field("on_close", &self.on_close.len())
            .field("on_blocked", &self.on_blocked.len())
            .field("on_unblocked", &self.on_unblocked.len())
            .field("on_writable", &self.on_writable.len())
            .finish()
    }
}
