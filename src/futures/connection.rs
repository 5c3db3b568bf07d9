//! A connection whose requests are futures.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::rc::Rc;

use super::watch::{Waiting, Watch};
use super::{AsyncChannel, Reply};
use crate::channel::Channel;
use crate::connection::Connection;
use crate::error::{Closed, Error, Party, Result};
use crate::protocol::{LongStr, ShortStr};

impl Connection {
    /// Waits until the connection is open, and gives it as one whose requests are futures; or what
    /// kept it from that, which was then handled as by an `on_open_error`. With the feature
    /// `futures`.
    ///
    /// To drop the future gives nothing up: the connection goes on to open, and can be waited for
    /// again. [`close`](Self::close) gives it up.
    ///
    /// # Errors
    /// As `on_open_error` is told. [`Misuse::ConnectionNotOpen`](crate::Misuse::ConnectionNotOpen) if
    /// the connection had ended before it was first waited for;
    /// [`LoopError::Gone`](crate::LoopError::Gone) if its loop went.
    ///
    /// ```no_run
    /// # async fn f() -> haypile::Result<()> {
    /// # #[cfg(feature = "tokio")] {
    /// use haypile::{ConnectionCallbacks, ConnectionParameters, TokioConnection};
    ///
    /// let parameters: ConnectionParameters = "amqp://localhost".parse()?;
    /// let connection = TokioConnection::new(parameters, ConnectionCallbacks::new()).opened().await?;
    /// let channel = connection.open_channel().await?;
    /// # drop(channel); }
    /// # Ok(()) }
    /// ```
    pub fn opened(&self) -> impl Future<Output = Result<AsyncConnection>> + Unpin + use<> {
        let connection = self.clone();
        Waiting::new(&self.watch(), move |watch| {
            if connection.is_open() {
                let watch = connection.watch();
                return Some(Ok(AsyncConnection { connection: connection.clone(), watch }));
            }
            watch.cause().cloned().map(Err)
        })
    }
}

/// A [`Connection`] that is open, whose requests give futures instead of taking callbacks, under the
/// same names. By `Deref` it has all else that a `Connection` has. [`Connection::opened`] gives one.
///
/// A cheap clone, free to drop: that closes nothing.
#[derive(Clone)]
pub struct AsyncConnection {
    connection: Connection,
    watch: Rc<Watch>,
}

impl AsyncConnection {
    /// [Opens a channel](Connection::channel): the lowest number that is free. A channel that opens
    /// when the future has been dropped is closed.
    ///
    /// # Errors
    /// Those of [`Connection::channel`]; what ended the channel before it was open.
    pub fn open_channel(&self) -> Reply<AsyncChannel> {
        let close = |channel: AsyncChannel| {
            // It fails if the channel has ended already.
            let _ = (*channel).close(200, "nobody waits for it");
        };
        Reply::or_else(close, |told| {
            let opened = |channel: &Channel, opened: Result<()>| {
                told.tell(opened.and_then(|()| AsyncChannel::new(channel)));
            };
            self.connection.channel(None, opened).map(drop)
        })
    }

    /// [Replaces the secret](Connection::update_secret) that the connection was opened with.
    ///
    /// # Errors
    /// Those of [`Connection::update_secret`], and what its callback is told.
    pub fn update_secret<'a>(
        &self,
        new_secret: impl Into<LongStr<'a>>,
        reason: impl Into<ShortStr<'a>>,
    ) -> Reply<()> {
        Reply::to(|told| {
            self.connection.update_secret(new_secret, reason, |_, updated| told.tell(updated))
        })
    }

    /// [Closes the connection](Connection::close), and waits until it has ended.
    ///
    /// # Errors
    /// Those of [`Connection::close`]; what ended the connection, if that was not this program.
    pub fn close<'a>(&self, reply_code: u16, reply_text: impl Into<ShortStr<'a>>) -> Reply<()> {
        Reply::to(|told| {
            self.connection.close(reply_code, reply_text)?;
            self.connection.add_on_close_callback(|_, reason| told.tell(unless_wanted(reason)))
        })
    }

    /// Waits until the connection has ended, and gives the reason, as `on_close` does. Any number of
    /// futures may wait, and each is told.
    pub fn closed(&self) -> impl Future<Output = Error> + Unpin + use<> {
        Waiting::new(&self.watch, |watch| watch.cause().cloned())
    }
}

/// What has ended it, if this program did not.
pub(super) fn unless_wanted(reason: Error) -> Result<()> {
    match reason {
        Error::ChannelClosed(Closed { by: Party::Client, .. })
        | Error::ConnectionClosed(Closed { by: Party::Client, .. }) => Ok(()),
        reason => Err(reason),
    }
}

impl Deref for AsyncConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl fmt::Debug for AsyncConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncConnection").field(&self.connection).finish()
    }
}
