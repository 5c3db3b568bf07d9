//! A connection for whoever owns the socket.

mod services;
mod transport;

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Instant;

use services::HostServices;
use transport::HostTransport;

use crate::connection::{Connection, ConnectionCallbacks, ConnectionParameters, Session};
use crate::error::{LoopError, StreamLost};
use crate::io_services::{IoServices, Services};

/// A connection without I/O, for a framework that owns the socket (pika's `TwistedProtocolConnection`):
/// bytes that have come go in, bytes to send are fetched, and whoever drives it waits.
///
/// The **host** connects, speaks TLS if that is to be, and gives the connection what it is to know:
/// - [`data_received`](Self::data_received): what has come;
/// - [`connection_lost`](Self::connection_lost): that nothing more will come;
/// - [`process_due`](Self::process_due): that the [deadline](Self::next_deadline) has passed, or that
///   it was woken.
///
/// All callbacks are called inside of these three and nowhere else, with nothing borrowed. After each
/// of them the host sends what waits, by [`write_output`](Self::write_output), and asks for the
/// [`next_deadline`](Self::next_deadline) anew. What needs it at another time, since the program
/// publishes from outside of a callback, sets a nearer timer, or posts from another thread, calls the
/// host's **`wake`**: then [`process_due`](Self::process_due) is to be called soon, which is all that
/// `wake` sees to.
///
/// ```no_run
/// use haypile::{ConnectionCallbacks, ConnectionParameters, ProtocolConnection, StreamLost};
/// use std::io::{ErrorKind, Read, Write};
/// use std::net::TcpStream;
/// use std::time::{Duration, Instant};
///
/// let parameters: ConnectionParameters = "amqp://localhost".parse()?;
/// let mut stream = TcpStream::connect((parameters.host(), parameters.port()))?;
/// let callbacks = ConnectionCallbacks::new()
///     .on_open(|connection| connection.close(200, "bye").expect("it is open"))
///     .on_close(|_, reason| println!("{reason}"));
/// // Nobody calls from elsewhere while this thread waits: there is nothing to wake.
/// let protocol = ProtocolConnection::new(parameters, callbacks, || ());
/// let mut buffer = [0; 16 * 1024];
/// while !protocol.is_closed() {
///     protocol.write_output(|slices| stream.write_vectored(slices))?;
///     let wait = protocol.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
///     stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_micros(1))))?;
///     match stream.read(&mut buffer) {
///         Ok(0) => protocol.connection_lost(StreamLost::EndOfStream)?,
///         Ok(count) => protocol.data_received(&buffer[..count])?,
///         Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
///             protocol.process_due()?;
///         }
///         Err(error) => protocol.connection_lost(error)?,
///     }
/// }
/// // Its last words: the answer to a close of the broker's, say.
/// protocol.write_output(|slices| stream.write_vectored(slices))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// - **It begins connected.** The protocol header waits to be sent from the start, and `stack_timeout`
///   counts from there. When the connection [has ended](Connection::is_closed), the host sends what
///   still waits, and closes its transport. To connect again is to make another one: of the parameters,
///   the host, the port, and what is said of attempts, TCP and TLS are not used here. Credentials go
///   out as they are: it is for the host to see that the transport is one for them.
/// - **The rest is as on every loop**: heartbeats, timeouts, bounds on memory, timers of its
///   [`services`](crate::BaseConnection::services), handles for other threads. Only descriptors cannot be
///   watched: [`add_fd`](crate::IoServices::add_fd) gives
///   [`Unsupported`](std::io::ErrorKind::Unsupported). A panic in a callback ends the connection with
///   [`Error::CallbackPanicked`](crate::Error::CallbackPanicked), and does not come out of the host's
///   call. In the [counters](Connection::counters), reads are calls of `data_received`, and writes those
///   that `write_output` has made.
/// - **No call in a call.** The three calls above are refused in a callback, as
///   [`LoopError::Nested`]: what comes then is to be kept until the call under way has returned. Output
///   may be written in a callback.
/// - **It owns the connection**: dropping it drops all that is in it, and calls nothing. Handles then
///   say that the connection is closed.
///
/// Once something has come, it keeps a read buffer of 256 KiB.
pub struct ProtocolConnection {
    connection: Connection,
    services: Services,
    host: Rc<HostServices>,
    transport: Rc<HostTransport>,
}

adapter_connection!(ProtocolConnection);

impl ProtocolConnection {
    /// Begins AMQP over a transport that is connected. Whatever happens is told to the callbacks.
    ///
    /// `wake` may be called at any time and on any thread, before this returns too, and with a lock
    /// held: it must not call back into this crate, nor block. Once is enough for any number of things
    /// that happen before [`process_due`](Self::process_due) is called. After the drop of this it is
    /// not called any more.
    pub fn new(
        parameters: ConnectionParameters,
        callbacks: ConnectionCallbacks,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::with_clock(parameters, callbacks, wake, Instant::now)
    }

    /// The same, by a clock of the host's own, which all deadlines are by: for frameworks that have
    /// one, and tests that do not wait. It must not go back, and do nothing but tell the time.
    ///
    /// ```
    /// use haypile::{ConnectionCallbacks, ConnectionParameters, ProtocolConnection};
    /// use std::{cell::Cell, rc::Rc, time::{Duration, Instant}};
    ///
    /// let now = Rc::new(Cell::new(Instant::now()));
    /// let clock = { let now = Rc::clone(&now); move || now.get() };
    /// let callbacks = ConnectionCallbacks::new().on_open_error(|_, error| println!("{error}"));
    /// let parameters = ConnectionParameters::default();
    /// let protocol = ProtocolConnection::with_clock(parameters, callbacks, || (), clock);
    /// protocol.process_due()?;
    /// // Nobody answers the protocol header.
    /// assert_eq!(protocol.next_deadline(), Some(now.get() + Duration::from_secs(15)));
    /// now.set(now.get() + Duration::from_secs(15));
    /// protocol.process_due()?;
    /// assert!(protocol.is_closed());
    /// # Ok::<(), haypile::Error>(())
    /// ```
    pub fn with_clock(
        parameters: ConnectionParameters,
        callbacks: ConnectionCallbacks,
        wake: impl Fn() + Send + Sync + 'static,
        clock: impl Fn() -> Instant + 'static,
    ) -> Self {
        let host = Rc::new(HostServices::new(wake, Box::new(clock)));
        let services = Services::from(Rc::clone(&host) as Rc<dyn IoServices>);
        let transport = |session| HostTransport::new(session, Rc::clone(&host));
        let (connection, transport) =
            Session::start_over(&services, parameters, callbacks, transport);
        Self { connection, services, host, transport }
    }

    /// Takes bytes that have come, all of them, and calls what they lead to; then does as
    /// [`process_due`](Self::process_due). A connection that has ended throws them away.
    ///
    /// # Errors
    /// [`LoopError::Nested`] in a callback, or in the closure that writes: nothing has been taken.
    pub fn data_received(&self, data: &[u8]) -> Result<(), LoopError> {
        self.host.enter(|| self.transport.receive(data))
    }

    /// Takes note that nothing more will come, nor can be sent: of
    /// [`EndOfStream`](StreamLost::EndOfStream), of an [`io::Error`], or of what the TLS between has
    /// come to. What waits to be sent is dropped, and the connection ends with that, unless it has
    /// ended before.
    ///
    /// # Errors
    /// [`LoopError::Nested`] in a callback, or in the closure that writes: nothing has happened.
    pub fn connection_lost(&self, cause: impl Into<StreamLost>) -> Result<(), LoopError> {
        let cause = cause.into();
        self.host.enter(|| self.transport.lose(cause))
    }

    /// Does what is due: calls posted callbacks, and timers whose time has come. To be called when
    /// the [`next_deadline`](Self::next_deadline) has passed, and after a `wake`; at any other time
    /// it does no harm.
    ///
    /// # Errors
    /// [`LoopError::Nested`] in a callback, or in the closure that writes: nothing has happened.
    pub fn process_due(&self) -> Result<(), LoopError> {
        self.host.enter(|| ())
    }

    /// When [`process_due`](Self::process_due) is to be called, if nothing comes before; a time that
    /// has come, if something waits to be done. `None`: only if something comes.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.host.next_deadline()
    }

    /// How many bytes wait to be sent. Also after the connection has ended: its last words.
    pub fn output_len(&self) -> usize {
        self.transport.output_len()
    }

    /// Has `write` send what waits: it gets the front of it, in slices for one vectored write, and
    /// gives how many bytes of that it has taken. It is called until nothing waits, or until it takes
    /// nothing more for now: by 0, or by an error of the kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock). What is left stays, and counts against the
    /// [water marks](ConnectionParameters::set_water_marks): the host comes again when its transport
    /// takes more. Nothing is copied, and nothing is borrowed meanwhile.
    ///
    /// Gives how many bytes were taken. It calls no callbacks: those that were waiting for room are
    /// called by the next [`process_due`](Self::process_due), for which `wake` is called.
    ///
    /// ```
    /// use haypile::{ConnectionCallbacks, ConnectionParameters, ProtocolConnection};
    /// use std::io::Write;
    ///
    /// let parameters = ConnectionParameters::default();
    /// let protocol = ProtocolConnection::new(parameters, ConnectionCallbacks::new(), || ());
    /// let mut sent = Vec::new();
    /// protocol.write_output(|slices| sent.write_vectored(slices))?;
    /// assert_eq!(sent, b"AMQP\0\0\x09\x01");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `write`, but for `WouldBlock`, and [`Interrupted`](io::ErrorKind::Interrupted), after
    /// which it is called again. The connection does not end by it: tell it of the loss. One that has
    /// [`LoopError::Nested`] as its source in the closure of another call of this.
    pub fn write_output(
        &self,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.transport.write_output(write)
    }
}

impl Drop for ProtocolConnection {
    fn drop(&mut self) {
        self.services.core().detach();
    }
}
