//! A TCP forward server between a client and a broker, which does to a connection what networks do.
//! It knows frames: what happens, happens at a frame that a test names, not at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ConnectionParameters;
use crate::protocol::{Frame, FrameKind, Method, PROTOCOL_HEADER};
use socket2::{Domain, SockRef, Socket, Type};

/// How often one who writes to a socket that takes nothing looks whether he still should.
const LOOK: Duration = Duration::from_millis(20);

/// Whom bytes go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    Client,
    Broker,
}

/// How a connection ends, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: FIN.
    Cut,
    /// By RST.
    Reset,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Nothing goes on this way any more, this frame included, until [`Forward::resume`].
    Stall,
    /// So many bytes of it go on, at most, then the connection ends.
    End(End, usize),
}

/// How fast bytes go on: so many at a time, each time after a pause.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    bytes: usize,
    pause: Duration,
}

impl Pace {
    pub const FULL: Self = Self::delay(Duration::ZERO);

    /// Each frame later by so much.
    pub const fn delay(pause: Duration) -> Self {
        Self { bytes: usize::MAX, pause }
    }

    /// A byte at a time.
    pub const fn dribble(pause: Duration) -> Self {
        Self { bytes: 1, pause }
    }

    /// So many bytes in a second.
    pub const fn throttle(bytes_per_second: usize) -> Self {
        Self { bytes: bytes_per_second / 100, pause: Duration::from_millis(10) }
    }
}

type Inspect = Box<dyn FnMut(Toward, &Frame<'_>) -> Verdict + Send>;

/// The server. Dropping it ends all that goes through it.
pub struct Forward {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    broker: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    /// Asked about each frame, with nothing else locked: it may use the controls.
    inspect: Mutex<Option<Inspect>>,
}

struct State {
    /// Bound, and not listening: connects are refused.
    idle: Option<Socket>,
    acceptor: Option<JoinHandle<()>>,
    pumps: Vec<JoinHandle<()>>,
    links: Vec<Weak<Link>>,
    accepted: usize,
    stops_accepting: bool,
    ways: [Way; 2],
}

/// One of the two directions.
#[derive(Clone, Copy)]
struct Way {
    stalled: bool,
    pace: Pace,
}

impl Forward {
    /// One that forwards to the broker of these parameters.
    pub fn to(broker: &ConnectionParameters) -> Self {
        let forward = Self::refusing(broker);
        forward.accept();
        forward
    }

    /// One that refuses connections, until [`accept`](Self::accept).
    pub fn refusing(broker: &ConnectionParameters) -> Self {
        let broker = (broker.host(), broker.port()).to_socket_addrs().expect("the broker resolves");
        let idle = bind((Ipv4Addr::LOCALHOST, 0).into(), false);
        let address = idle.local_addr().expect("an address").as_socket().expect("an IP address");
        let way = Way { stalled: false, pace: Pace::FULL };
        let state = State {
            idle: Some(idle),
            acceptor: None,
            pumps: Vec::new(),
            links: Vec::new(),
            accepted: 0,
            stops_accepting: false,
            ways: [way; 2],
        };
        let shared = Shared {
            broker: broker.clone().next().expect("an address"),
            state: Mutex::new(state),
            changed: Condvar::new(),
            inspect: Mutex::new(None),
        };
        Self { shared: Arc::new(shared), address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same parameters, through this server.
    pub fn parameters(&self, broker: ConnectionParameters) -> ConnectionParameters {
        let mut parameters = broker;
        parameters.set_host(self.address.ip().to_string()).set_port(self.address.port());
        parameters
    }

    /// How many connections it has taken so far.
    pub fn accepted(&self) -> usize {
        self.shared.state().accepted
    }

    /// Takes connections from now on.
    pub fn accept(&self) {
        let mut state = self.shared.state();
        let Some(socket) = state.idle.take() else { return };
        // For `refuse`: what it takes then has the port as well, and inherits this.
        socket.set_reuse_address(true).expect("to reuse");
        socket.listen(128).expect("to listen");
        state.stops_accepting = false;
        let (shared, listener) = (Arc::clone(&self.shared), TcpListener::from(socket));
        state.acceptor = Some(std::thread::spawn(move || shared.take_connections(&listener)));
    }

    /// Refuses connections from now on. Those that are there stay.
    pub fn refuse(&self) {
        let Some(acceptor) = self.stop_accepting() else { return };
        join(acceptor);
        self.shared.state().idle = Some(bind(self.address, true));
    }

    fn stop_accepting(&self) -> Option<JoinHandle<()>> {
        let mut state = self.shared.state();
        let acceptor = state.acceptor.take()?;
        state.stops_accepting = true;
        drop(state);
        // It looks when it has got one.
        drop(TcpStream::connect(self.address));
        Some(acceptor)
    }

    /// Has `inspect` decide about each frame of all connections, from now on. It is called from the
    /// server's threads, one call at a time, before the frame goes on.
    pub fn inspect(&self, inspect: impl FnMut(Toward, &Frame<'_>) -> Verdict + Send + 'static) {
        *lock(&self.shared.inspect) = Some(Box::new(inspect));
    }

    /// Ends the connection when the method of that name (`class.method`) is about to go on.
    pub fn end_at(&self, end: End, toward: Toward, name: &'static str) {
        self.inspect(move |way, frame| match way == toward && is_method(frame, name) {
            true => Verdict::End(end, 0),
            false => Verdict::Pass,
        });
    }

    /// Ends the connection when so many bytes of frames have gone on from now.
    pub fn end_after(&self, end: End, toward: Toward, bytes: usize) {
        let mut left = bytes;
        self.inspect(move |way, frame| {
            if way != toward {
                return Verdict::Pass;
            }
            let size = frame.payload.len() + crate::protocol::FRAME_OVERHEAD;
            if size > left {
                return Verdict::End(end, left);
            }
            left -= size;
            Verdict::Pass
        });
    }

    /// Ends all connections that there are.
    pub fn end(&self, end: End) {
        let links = self.shared.state().links.clone();
        links.iter().filter_map(Weak::upgrade).for_each(|link| self.shared.end(&link, end));
    }

    /// Forwards nothing that way any more, and reads nothing that is to go there.
    pub fn stall(&self, toward: Toward) {
        self.shared.state().ways[toward as usize].stalled = true;
    }

    pub fn resume(&self, toward: Toward) {
        self.shared.state().ways[toward as usize].stalled = false;
        self.shared.changed.notify_all();
    }

    pub fn pace(&self, toward: Toward, pace: Pace) {
        self.shared.state().ways[toward as usize].pace = pace;
    }

    /// Sends bytes of the test's own to all connections, between frames.
    pub fn inject(&self, toward: Toward, bytes: &[u8]) {
        let links = self.shared.state().links.clone();
        for link in links.iter().filter_map(Weak::upgrade) {
            let _turn = lock(&link.turns[toward as usize]);
            send_all(&link, toward, bytes);
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let acceptor = self.stop_accepting();
        acceptor.into_iter().for_each(join);
        let mut state = self.shared.state();
        let (pumps, links) = (std::mem::take(&mut state.pumps), state.links.clone());
        drop(state);
        for link in links.iter().filter_map(Weak::upgrade) {
            self.shared.end(&link, End::Cut);
            drop(link.client.shutdown(Shutdown::Read));
        }
        drop(links);
        pumps.into_iter().for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join()
        && !std::thread::panicking()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Takes a port, which nobody shares from then on.
fn bind(address: SocketAddr, again: bool) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(again).expect("to reuse");
    socket.bind(&address.into()).expect("a port");
    socket.set_reuse_address(false).expect("to keep");
    socket
}

/// Whether it is the method of that name (`class.method`).
pub fn is_method(frame: &Frame<'_>, name: &str) -> bool {
    frame.kind == FrameKind::Method
        && Method::decode(frame.payload).is_ok_and(|method| method.name() == name)
}

/// A client's connection, and its continuation to the broker.
struct Link {
    client: TcpStream,
    broker: TcpStream,
    ended: AtomicBool,
    /// One holds that of a way while it sends something whole.
    turns: [Mutex<()>; 2],
}

impl Link {
    fn sink(&self, toward: Toward) -> &TcpStream {
        match toward {
            Toward::Client => &self.client,
            Toward::Broker => &self.broker,
        }
    }

    fn source(&self, toward: Toward) -> &TcpStream {
        match toward {
            Toward::Client => &self.broker,
            Toward::Broker => &self.client,
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn take_connections(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let (client, _) = listener.accept().expect("a client");
            let mut state = self.state();
            if state.stops_accepting {
                return;
            }
            state.accepted += 1;
            let Ok(broker) = TcpStream::connect(self.broker) else { continue };
            for stream in [&client, &broker] {
                stream.set_nodelay(true).expect("nodelay");
                stream.set_write_timeout(Some(LOOK)).expect("a timeout");
            }
            let link = Link { client, broker, ended: false.into(), turns: Default::default() };
            let link = Arc::new(link);
            state.links.push(Arc::downgrade(&link));
            for toward in [Toward::Client, Toward::Broker] {
                let (shared, link) = (Arc::clone(self), Arc::clone(&link));
                state.pumps.push(std::thread::spawn(move || shared.pump(&link, toward)));
            }
        }
    }

    /// Ends a connection, once.
    fn end(&self, link: &Link, end: End) {
        if link.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        drop(link.broker.shutdown(Shutdown::Both));
        match end {
            // What the client still sends is read: unread, it would turn the end into a reset.
            End::Cut => drop(link.client.shutdown(Shutdown::Write)),
            End::Reset => {
                drop(SockRef::from(&link.client).set_linger(Some(Duration::ZERO)));
                // Tells nobody but the pump that reads it. Closed by both pumps, it resets.
                drop(link.client.shutdown(Shutdown::Read));
            }
        }
        drop(self.state());
        self.changed.notify_all();
    }

    /// Forwards what comes for one side until it ends.
    fn pump(&self, link: &Link, toward: Toward) {
        let mut bytes = vec![0; 64 * 1024];
        let mut waiting = Vec::new();
        loop {
            let count = match link.source(toward).read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.end(link, End::Reset);
                    break;
                }
            };
            if link.has_ended() {
                continue;
            }
            waiting.extend_from_slice(&bytes[..count]);
            while let Some(size) = whole(&waiting) {
                self.forward(link, toward, &waiting[..size]);
                waiting.drain(..size);
            }
        }
        if self.may_go_on(link, toward) {
            // Half-closed, as TCP has it: the other way may have more.
            drop(link.sink(toward).shutdown(Shutdown::Write));
        }
    }

    /// Forwards a frame, or bytes that are none.
    fn forward(&self, link: &Link, toward: Toward, bytes: &[u8]) {
        let verdict = match (Frame::parse(bytes, 0), &mut *lock(&self.inspect)) {
            (Ok(Some((frame, _))), Some(inspect)) if !link.has_ended() => inspect(toward, &frame),
            _ => Verdict::Pass,
        };
        match verdict {
            Verdict::Pass => self.send(link, toward, bytes),
            Verdict::Stall => {
                self.state().ways[toward as usize].stalled = true;
                self.send(link, toward, bytes);
            }
            Verdict::End(end, size) => {
                self.send(link, toward, &bytes[..size.min(bytes.len())]);
                self.end(link, end);
            }
        }
    }

    fn send(&self, link: &Link, toward: Toward, bytes: &[u8]) {
        if !self.may_go_on(link, toward) {
            return;
        }
        let _turn = lock(&link.turns[toward as usize]);
        let mut left = bytes;
        while !left.is_empty() {
            let pace = self.state().ways[toward as usize].pace;
            self.pause(link, pace.pause);
            let (piece, rest) = left.split_at(pace.bytes.clamp(1, left.len()));
            if !self.may_go_on(link, toward) || !send_all(link, toward, piece) {
                return;
            }
            left = rest;
        }
    }

    /// Waits while the way is stalled. Gives whether the connection still is.
    fn may_go_on(&self, link: &Link, toward: Toward) -> bool {
        let mut state = self.state();
        while state.ways[toward as usize].stalled && !link.has_ended() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !link.has_ended()
    }

    /// Waits, unless the connection ends.
    fn pause(&self, link: &Link, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.state();
        while !link.has_ended() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Sends unless the connection ends meanwhile. Gives whether all has gone.
fn send_all(link: &Link, toward: Toward, mut bytes: &[u8]) -> bool {
    let mut sink = link.sink(toward);
    while !bytes.is_empty() && !link.has_ended() {
        match sink.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_passing(&error) => {}
            // Whoever reads the other end sees why.
            Err(_) => return false,
        }
    }
    bytes.is_empty()
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// How many bytes at the front go on together: a protocol header, a frame, or what is none.
fn whole(bytes: &[u8]) -> Option<usize> {
    if bytes.first() == PROTOCOL_HEADER.first() {
        return (bytes.len() >= PROTOCOL_HEADER.len()).then_some(PROTOCOL_HEADER.len());
    }
    match Frame::parse(bytes, 0) {
        Ok(frame) => frame.map(|(_, size)| size),
        Err(_) => Some(bytes.len()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
