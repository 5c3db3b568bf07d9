//! A scripted fake broker, for what a real one never does.

#[cfg(feature = "tls")]
mod tls;

use std::any::Any;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::protocol::{
    BasicProperties, EncodeMethod, Frame, FrameKind, Method, PROTOCOL_HEADER, basic, channel,
    confirm, connection, encode_body_frame, encode_content_header, encode_method, queue,
};
use crate::{ConnectionParameters, FieldTable, PlainCredentials};
#[cfg(feature = "tls")]
use rustls::ServerConnection;
use socket2::{Domain, Socket, Type};

/// No script waits longer for its client, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(30);

/// A server that takes one connection and does with it what its script says, in a thread.
pub struct Peer {
    address: SocketAddr,
    script: JoinHandle<()>,
}

impl Peer {
    pub fn new(script: impl FnOnce(&mut Wire) + Send + 'static) -> Self {
        let mut script = Some(script);
        Self::several(1, move |wire| script.take().expect("one client")(wire))
    }

    /// One that takes so many connections, one after another.
    pub fn several(clients: usize, mut script: impl FnMut(&mut Wire) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = std::thread::spawn(move || {
            for _ in 0..clients {
                let (stream, _) = listener.accept().expect("a client");
                stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
                script(&mut Wire {
                    stream,
                    #[cfg(feature = "tls")]
                    tls: None,
                    #[cfg(feature = "tls")]
                    goodbye: false,
                    received: Vec::new(),
                    after: None,
                });
            }
        });
        Self { address, script }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to connect to it. No time is limited: what is told must not come by a timeout.
    pub fn parameters(&self) -> ConnectionParameters {
        parameters_of(self.address)
    }

    /// Waits for the script's end. Panics if it did.
    pub fn join(self) {
        if let Err(panic) = self.script.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The password that peers are told, and that nobody else may see.
pub const SECRET: &str = "s3cr3t-pw";

/// How to connect to an address, with no limit of time.
pub fn parameters_of(address: SocketAddr) -> ConnectionParameters {
    let mut parameters = ConnectionParameters::new(address.ip().to_string());
    parameters.set_port(address.port());
    parameters.set_credentials(PlainCredentials::new("me", SECRET));
    parameters.set_socket_timeout(None).expect("no limit");
    parameters.set_stack_timeout(None).expect("no limit");
    parameters
}

/// The peer's end of the connection.
pub struct Wire {
    pub stream: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<ServerConnection>,
    /// The client has ended TLS in order.
    #[cfg(feature = "tls")]
    pub goodbye: bool,
    received: Vec<u8>,
    /// Dropped when the stream is closed.
    pub after: Option<Box<dyn Any + Send>>,
}

/// A frame that the client sent.
pub struct Received {
    pub kind: FrameKind,
    pub channel: u16,
    payload: Vec<u8>,
}

impl Received {
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub fn method(&self) -> Method<'_> {
        assert_eq!(self.kind, FrameKind::Method);
        Method::decode(&self.payload).expect("a method")
    }
}

impl Wire {
    /// Reads once, whatever comes.
    pub fn read_some(&mut self) {
        assert!(self.fill(), "the client hung up");
    }

    /// Reads the client's protocol header.
    pub fn header(&mut self) {
        while self.received.len() < PROTOCOL_HEADER.len() {
            assert!(self.fill(), "the client hung up");
        }
        let rest = self.received.split_off(PROTOCOL_HEADER.len());
        assert_eq!(self.received, PROTOCOL_HEADER);
        self.received = rest;
    }

    /// The next frame, or none at the end of the stream.
    pub fn frame(&mut self) -> Option<Received> {
        loop {
            if let Some((frame, size)) = Frame::parse(&self.received, 0).expect("a frame") {
                let Frame { kind, channel, payload } = frame;
                let received = Received { kind, channel, payload: payload.to_vec() };
                self.received.drain(..size);
                return Some(received);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads up to the method of that name (`class.method`). Panics if the stream ends before.
    pub fn expect(&mut self, name: &str) -> Received {
        loop {
            let frame = self.frame().unwrap_or_else(|| panic!("no {name} came"));
            if frame.kind == FrameKind::Method && frame.method().name() == name {
                return frame;
            }
        }
    }

    /// Reads until the client's end of the stream is closed, and gives how many bytes came.
    pub fn read_to_end(&mut self) -> usize {
        let mut count = std::mem::take(&mut self.received).len();
        while self.fill() {
            count += std::mem::take(&mut self.received).len();
        }
        count
    }

    /// Whether the client has closed its end, as far as is known.
    pub fn has_gone(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let read = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        match read {
            Ok(count) => count == 0,
            Err(error) => is_hang_up(&error),
        }
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 65536];
        match self.read(&mut bytes) {
            Ok(0) => {
                #[cfg(feature = "tls")]
                {
                    self.goodbye = self.tls.is_some();
                }
                false
            }
            Ok(count) => {
                self.received.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if is_hang_up(&error) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return rustls::Stream::new(tls, &mut self.stream).read(space);
        }
        self.stream.read(space)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return rustls::Stream::new(tls, &mut self.stream).write_all(bytes);
        }
        self.stream.write_all(bytes)
    }

    /// Sends bytes, at once, so that one read takes them if they are few. That the client has hung
    /// up is seen by reading.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.write(bytes.as_ref()) {
            Err(error) if is_hang_up(&error) => {}
            sent => sent.expect("to send"),
        }
    }

    /// Sends bytes one by one, with a pause behind each: what is slow is so by the clock. Gives
    /// whether the client has waited for all of them.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> bool {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            std::thread::sleep(pause);
            if self.has_gone() {
                return false;
            }
        }
        true
    }

    pub fn method(&mut self, channel: u16, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, 0, channel, method).expect("it can be encoded");
        self.send(bytes);
    }

    /// Goes through the handshake.
    pub fn open(&mut self) {
        self.header();
        self.method(0, &start());
        self.expect("connection.start-ok");
        self.method(0, &tune());
        self.expect("connection.open");
        self.method(0, &connection::OpenOk {});
    }

    /// Answers what a client asks, until the client has closed the connection or hung up. Gives
    /// whether it was closed.
    pub fn obey(&mut self) -> bool {
        while let Some(frame) = self.frame() {
            if self.answer(&frame) {
                return true;
            }
        }
        false
    }

    /// Reads up to the method of that name, and answers it.
    pub fn grant(&mut self, name: &str) {
        let asked = self.expect(name);
        self.answer(&asked);
    }

    /// Answers one frame, if it is a method that wants it. Gives whether it was the last.
    pub fn answer(&mut self, frame: &Received) -> bool {
        if frame.kind != FrameKind::Method {
            return false;
        }
        let number = frame.channel;
        match frame.method() {
            Method::Connection(connection::Method::Close(_)) => {
                self.method(0, &connection::CloseOk {});
                return true;
            }
            Method::Connection(connection::Method::CloseOk(_)) => return true,
            Method::Channel(channel::Method::Open(_)) => self.method(number, &channel::OpenOk {}),
            Method::Channel(channel::Method::Close(_)) => self.method(number, &channel::CloseOk {}),
            Method::Queue(queue::Method::Declare(declare)) => {
                let queue = declare.queue;
                let declared = queue::DeclareOk { queue, message_count: 0, consumer_count: 0 };
                self.method(number, &declared);
            }
            Method::Confirm(confirm::Method::Select(_)) => {
                self.method(number, &confirm::SelectOk {});
            }
            Method::Basic(basic::Method::Consume(consume)) => {
                let consumer_tag = consume.consumer_tag;
                self.method(number, &basic::ConsumeOk { consumer_tag });
            }
            Method::Basic(basic::Method::Cancel(cancel)) => {
                let consumer_tag = cancel.consumer_tag;
                self.method(number, &basic::CancelOk { consumer_tag });
            }
            Method::Basic(basic::Method::Get(_)) => self.method(number, &basic::GetEmpty {}),
            _ => {}
        }
        false
    }

    /// Has the script's end reset the connection instead of closing it in order.
    pub fn reset_at_end(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }
}

/// An address where nobody accepts and no more connections fit into the backlog: it never answers.
pub fn silent() -> SocketAddr {
    static SILENT: OnceLock<(Socket, Vec<TcpStream>)> = OnceLock::new();
    let (listener, _) = SILENT.get_or_init(|| {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).expect("a port");
        listener.listen(0).expect("to listen");
        let mut backlog = Vec::new();
        loop {
            match TcpStream::connect_timeout(&address_of(&listener), Duration::from_millis(200)) {
                Ok(stream) => backlog.push(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => return (listener, backlog),
                Err(error) => panic!("{error}"),
            }
            assert!(backlog.len() < 100, "the backlog is never full");
        }
    });
    address_of(listener)
}

fn address_of(listener: &Socket) -> SocketAddr {
    let address = listener.local_addr().expect("an address");
    address.as_socket().expect("an IP address")
}

/// An address where nobody listens, nor ever will: its port stays taken.
pub fn dead_end() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let address = address_of(&socket);
    std::mem::forget(socket);
    address
}

fn is_hang_up(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | BrokenPipe | UnexpectedEof)
}

pub fn start() -> connection::Start<'static> {
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: FieldTable::new(),
        mechanisms: "AMQPLAIN PLAIN".into(),
        locales: "en_US".into(),
    }
}

pub fn tune() -> connection::Tune {
    connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 0 }
}

/// A whole message for a consumer.
pub fn delivery(channel: u16, consumer_tag: &str, delivery_tag: u64, body: &[u8]) -> Vec<u8> {
    let consumer_tag = consumer_tag.into();
    let deliver = basic::Deliver { consumer_tag, delivery_tag, ..Default::default() };
    message(channel, &deliver, body)
}

/// A content method with its content.
pub fn message(channel: u16, method: &impl EncodeMethod, body: &[u8]) -> Vec<u8> {
    let mut bytes = method_bytes(channel, method);
    let properties = BasicProperties::default();
    let size = body.len() as u64;
    encode_content_header(&mut bytes, 0, channel, size, &properties).expect("it can be encoded");
    if !body.is_empty() {
        encode_body_frame(&mut bytes, channel, body);
    }
    bytes
}

pub fn method_bytes(channel: u16, method: &impl EncodeMethod) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_method(&mut bytes, 0, channel, method).expect("it can be encoded");
    bytes
}
