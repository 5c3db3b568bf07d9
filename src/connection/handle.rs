//! The user's handle on a connection.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::callbacks::ConnectionCallbacks;
use super::counters::{Counters, Undelivered};
use super::parameters::ConnectionParameters;
use super::remote::{Inbox, RemoteConnection};
use super::secrets::OnUpdated;
use super::session::Session;
use crate::channel::{Channel, Completion};
use crate::error::{Error, LoopError, Misuse, Result};
use crate::io_services::Services;
use crate::protocol::{FieldTable, LongStr, Method, ShortStr, connection};

/// A handle on a connection: cheap to clone, free to drop.
///
/// The loop owns the connection until it has ended; the handle holds it weakly, so that closures
/// may capture it. It stays on the loop's thread (`!Send`). Every method may be called from any
/// callback; none calls back before it returns.
#[derive(Clone)]
pub struct Connection {
    session: Weak<Session>,
}

impl Connection {
    pub(crate) fn new(session: Weak<Session>) -> Self {
        Self { session }
    }

    pub(super) fn session(&self) -> Result<Rc<Session>, Misuse> {
        self.session.upgrade().ok_or(Misuse::ConnectionNotOpen)
    }

    /// Opens a channel (AMQP channel.open): the one with this number, or the lowest that is free.
    ///
    /// `on_open` is called once, from the loop: with `Ok` when the channel can be used, else with
    /// what ended it.
    ///
    /// # Errors
    /// Before anything is sent: [`Misuse::ConnectionNotOpen`], [`Misuse::ChannelNumberInUse`],
    /// [`Misuse::ChannelNumberOutOfRange`], [`Misuse::NoFreeChannels`]. `on_open` is then dropped
    /// uncalled.
    pub fn channel(
        &self,
        channel_number: impl Into<Option<u16>>,
        on_open: impl FnOnce(&Channel, Result<()>) + 'static,
    ) -> Result<Channel> {
        let session = self.session()?;
        let on_open = move |channel: &Channel, opened: Result<Method<'_>>| {
            on_open(channel, opened.map(|_| ()));
        };
        let mut on_open = Some(Completion::Reply(Box::new(on_open)));
        let number = channel_number.into();
        let now = session.services().ok_or(Misuse::ConnectionNotOpen)?.now();
        let id = session.with(|machine| machine.open_channel(now, number, &mut on_open))?;
        Ok(Channel::new(self.session.clone(), id))
    }

    /// Limits how long the broker may take to answer what is asked of it from now on: to open
    /// channels, to answer the requests on these, and to [update the secret](Self::update_secret).
    /// `None`, the default, is no limit. See [`Channel::set_request_timeout`], by which each channel
    /// can have another.
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`] if the connection has ended.
    pub fn set_request_timeout(&self, limit: impl Into<Option<Duration>>) -> Result<()> {
        let limit = limit.into();
        self.session()?.with(|machine| machine.set_request_timeout(limit));
        Ok(())
    }

    /// Closes the connection (AMQP connection.close).
    ///
    /// An open connection first lets the requests that wait on its channels be answered, then says
    /// goodbye, then `on_close` is called. Consumers get no more messages. If the broker does not
    /// answer within `stack_timeout`, the connection is closed without it. A connection that is
    /// not open yet is given up at once: `on_open_error` is called with
    /// [`ConnectError::Aborted`](crate::ConnectError::Aborted).
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`] if it is closing or closed already;
    /// [`Misuse::Encode`] if `reply_text` is longer than 255 bytes.
    pub fn close<'a>(&self, reply_code: u16, reply_text: impl Into<ShortStr<'a>>) -> Result<()> {
        let session = self.session()?;
        let services = session.services().ok_or(Misuse::ConnectionNotOpen)?;
        let (now, reply_text) = (services.now(), reply_text.into());
        Ok(session.with(|machine| machine.close(now, reply_code, reply_text))?)
    }

    /// Replaces the secret that the connection was opened with, before it expires (RabbitMQ's
    /// connection.update-secret; pika's `update_secret`): a token, where the broker authenticates by
    /// such. `reason` is for the broker's log. The [parameters](crate::ConnectionParameters) of the
    /// connection are not changed.
    ///
    /// `on_updated` is called once, from the loop: with `Ok` when the broker has taken it, else with
    /// what ended the connection. One at a time is on the wire, the others wait in order. RabbitMQ
    /// does not answer if it refuses the secret; it writes so to its log. Set a
    /// [request timeout](Self::set_request_timeout): past it, `on_updated` is called with
    /// [`Error::RequestTimeout`](crate::Error::RequestTimeout), and the next secret is sent.
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`]; [`Misuse::Encode`] if `reason` is longer than 255 bytes or
    /// the secret does not fit into a frame. Nothing is sent then, and `on_updated` is dropped.
    pub fn update_secret<'a>(
        &self,
        new_secret: impl Into<LongStr<'a>>,
        reason: impl Into<ShortStr<'a>>,
        on_updated: impl FnOnce(&Connection, Result<()>) + 'static,
    ) -> Result<()> {
        let (new_secret, reason) = (new_secret.into(), reason.into());
        let method = connection::UpdateSecret { new_secret, reason };
        let mut on_updated: Option<OnUpdated> = Some(Box::new(on_updated));
        let session = self.session()?;
        let now = session.services().ok_or(Misuse::ConnectionNotOpen)?.now();
        Ok(session.with(|machine| machine.update_secret(now, &method, &mut on_updated))?)
    }

    /// Whether the broker has said that it takes no messages for now (RabbitMQ's
    /// connection.blocked).
    pub fn is_blocked(&self) -> bool {
        self.session.upgrade().is_some_and(|session| session.look(|machine| machine.is_blocked()))
    }

    /// Adds a closure that is called as
    /// [`ConnectionCallbacks::on_open`](crate::ConnectionCallbacks::on_open) is, after those that
    /// are there (pika's method of this name).
    ///
    /// # Errors
    /// [`Misuse::AlreadyOpen`] if the connection has been opened, [`Misuse::ConnectionNotOpen`] if it
    /// has ended; the closure is dropped uncalled.
    pub fn add_on_open_callback(&self, on_open: impl FnOnce(&Connection) + 'static) -> Result<()> {
        self.observe_opening(Box::new(on_open) as _, |callbacks| &mut callbacks.on_open)
    }

    /// Adds a closure that is called as
    /// [`ConnectionCallbacks::on_open_error`](crate::ConnectionCallbacks::on_open_error) is, after
    /// those that are there (pika's method of this name).
    ///
    /// # Errors
    /// [`Misuse::AlreadyOpen`] if the connection has been opened, [`Misuse::ConnectionNotOpen`] if it
    /// has ended; the closure is dropped uncalled.
    pub fn add_on_open_error_callback(
        &self,
        on_open_error: impl FnOnce(&Connection, Error) + 'static,
    ) -> Result<()> {
        self.observe_opening(Box::new(on_open_error) as _, |callbacks| &mut callbacks.on_open_error)
    }

    /// Adds a closure that is called as
    /// [`ConnectionCallbacks::on_close`](crate::ConnectionCallbacks::on_close) is, after those that
    /// are there (pika's method of this name).
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`] if the connection has ended; the closure is dropped uncalled.
    pub fn add_on_close_callback(
        &self,
        on_close: impl FnOnce(&Connection, Error) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_close) as _, |callbacks| &mut callbacks.on_close)
    }

    /// Adds a closure that is called as
    /// [`ConnectionCallbacks::on_blocked`](crate::ConnectionCallbacks::on_blocked) is, after those
    /// that are there (pika's method of this name).
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`] if the connection has ended; the closure is dropped uncalled.
    pub fn add_on_connection_blocked_callback(
        &self,
        on_blocked: impl FnMut(&Connection, &ShortStr<'_>) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_blocked) as _, |callbacks| &mut callbacks.on_blocked)
    }

    /// Adds a closure that is called as
    /// [`ConnectionCallbacks::on_unblocked`](crate::ConnectionCallbacks::on_unblocked) is, after
    /// those that are there (pika's method of this name).
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`] if the connection has ended; the closure is dropped uncalled.
    pub fn add_on_connection_unblocked_callback(
        &self,
        on_unblocked: impl FnMut(&Connection) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_unblocked) as _, |callbacks| &mut callbacks.on_unblocked)
    }

    /// Adds a closure that is called as
    /// [`ConnectionCallbacks::on_writable`](crate::ConnectionCallbacks::on_writable) is, after those that
    /// are there.
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`] if the connection has ended; the closure is dropped uncalled.
    pub fn add_on_writable_callback(
        &self,
        on_writable: impl FnMut(&Connection) + 'static,
    ) -> Result<()> {
        self.observe(Box::new(on_writable) as _, |callbacks| &mut callbacks.on_writable)
    }

    fn observe_opening<F>(
        &self,
        closure: F,
        list: fn(&mut ConnectionCallbacks) -> &mut Vec<F>,
    ) -> Result<()> {
        if self.is_open() || self.is_closing() {
            return Err(Misuse::AlreadyOpen.into());
        }
        self.observe(closure, list)
    }

    fn observe<F>(
        &self,
        closure: F,
        list: fn(&mut ConnectionCallbacks) -> &mut Vec<F>,
    ) -> Result<()> {
        let session = self.session()?;
        if session.look(|machine| machine.is_closed()) {
            return Err(Misuse::ConnectionNotOpen.into());
        }
        list(&mut session.callbacks.borrow_mut()).push(closure);
        Ok(())
    }

    /// Writes what waits to be sent now, instead of at the end of the loop's turn. An error is told
    /// by `on_close`, from the loop. What the socket does not take leaves when it does.
    pub fn flush(&self) {
        if let Some(session) = self.session.upgrade() {
            session.write_now();
        }
    }

    /// Whether it is open: the handshake is done and nobody has closed it.
    pub fn is_open(&self) -> bool {
        self.session.upgrade().is_some_and(|session| session.look(|machine| machine.is_open()))
    }

    /// Whether it is closing: `close` was called on it while it was open, and it has not ended yet.
    pub fn is_closing(&self) -> bool {
        self.session.upgrade().is_some_and(|session| session.look(|machine| machine.is_closing()))
    }

    /// Whether it has ended, or never came to be and never will.
    pub fn is_closed(&self) -> bool {
        self.session.upgrade().is_none_or(|session| session.look(|machine| machine.is_closed()))
    }

    /// What the broker told of itself (AMQP connection.start); empty before that, and after the
    /// connection has ended.
    pub fn server_properties(&self) -> FieldTable<'static> {
        let session = self.session.upgrade();
        session.map_or_else(FieldTable::default, |session| {
            session.look(|machine| machine.server_properties().clone())
        })
    }

    /// How it was connected: of several hosts, the parameters of the one it is connected to (pika's
    /// `params`). `None` before a broker has said something, and after the connection has ended.
    pub fn parameters(&self) -> Option<ConnectionParameters> {
        self.session.upgrade()?.look(|machine| machine.parameters().cloned())
    }

    /// The negotiated highest channel number; 0 before the connection is open.
    pub fn channel_max(&self) -> u16 {
        let session = self.session.upgrade();
        session.map_or(0, |session| session.look(|machine| machine.limits().channel_max))
    }

    /// The negotiated size of the largest frame, in bytes (AMQP connection.tune); before that, the
    /// 4,096 that every peer takes, and 0 after the connection has ended.
    pub fn frame_max(&self) -> u32 {
        let session = self.session.upgrade();
        session.map_or(0, |session| session.look(|machine| machine.limits().frame_max))
    }

    /// The negotiated heartbeat interval (AMQP connection.tune); `None` if there are no heartbeats,
    /// or the connection is not open yet or has ended.
    pub fn heartbeat(&self) -> Option<Duration> {
        self.session.upgrade()?.look(|machine| machine.heartbeat())
    }

    /// What it has done so far, and what waits in it now. In `on_close` it tells of the connection
    /// that has ended; after that, all is zero.
    pub fn counters(&self) -> Counters {
        self.session.upgrade().map(|session| session.counters()).unwrap_or_default()
    }

    /// What was published and is not known to have arrived. It looks at each message that waits.
    ///
    /// In `on_close` it tells what was lost with the connection, channels that ended before it
    /// included. What the operating system has taken may be lost as well: only publisher confirms
    /// tell. After `on_close`, all is zero.
    pub fn undelivered(&self) -> Undelivered {
        let session = self.session.upgrade();
        session.map(|session| session.look(|machine| machine.undelivered())).unwrap_or_default()
    }

    /// A handle for other threads: it posts closures that get this one.
    pub fn remote(&self) -> RemoteConnection {
        let session = self.session.upgrade();
        let inbox = session.as_ref().map_or(Inbox::ended(), |session| session.inbox());
        RemoteConnection::new(Arc::clone(inbox))
    }

    /// The services of the loop that drives it.
    ///
    /// # Errors
    /// [`LoopError::Gone`] once the connection has ended or its loop has gone.
    pub fn services(&self) -> Result<Services> {
        let services = self.session.upgrade().and_then(|session| session.services());
        services.ok_or(LoopError::Gone.into())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match (self.is_open(), self.is_closing(), self.is_closed()) {
            (true, ..) => "open",
            (_, true, _) => "closing",
            (_, _, true) => "closed",
            _ => "opening",
        };
        f.debug_struct("Connection").field("state", &state).finish()
    }
}
