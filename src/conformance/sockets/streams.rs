//! Streams. pika has them as a service of their own; here they are what connections run over, and
//! what each promises is looked at there.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::conformance::stage::{
    ON_PURPOSE, Stage, assert_closed, close, open_channel, watch, when,
};
use crate::conformance::tools::peers::{self, Peer, Wire, delivery};
use crate::conformance::tools::publish;
use crate::protocol::FrameKind;
use crate::{
    Channel, ConnectError, Connection, ConnectionCallbacks, Delivery, Error, HandshakeError, Ready,
    Services, StreamLost, basic,
};

/// Through descriptors alone, as a stream does it: an echo gives all of it back.
pub(in crate::conformance) fn a_megabyte_goes_there_and_back(stage: &Stage) {
    const SIZE: usize = 1_000_000;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let echo = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        drop(io::copy(&mut &stream, &mut &stream));
    });
    let bytes: Rc<[u8]> = (0..SIZE).map(|number| (number * 31 % 251) as u8).collect();
    let (expected, services, stop) = (Rc::clone(&bytes), stage.services(), stage.stopper());
    let received = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&received);
    stage.services().connect_socket(address, None, move |socket| {
        let socket = Rc::new(TcpStream::from(socket.expect("it listens")));
        let (key, sent) = (Rc::new(Cell::new(None)), Cell::new(0));
        let (own, stream, loops) = (Rc::clone(&key), Rc::clone(&socket), services.clone());
        let both = Ready::READ | Ready::WRITE;
        let watched = watch(&services, socket, both, move |ready| {
            let key = own.get().expect("it is set");
            let mut blocked = Ready::NONE;
            if ready.contains(Ready::WRITE) {
                blocked |= write(&stream, &bytes, &sent);
                if sent.get() == SIZE {
                    loops.modify_fd(key, Ready::READ).expect("it is watched");
                }
            }
            if ready.contains(Ready::READ) {
                blocked |= read(&stream, &mut keep.borrow_mut());
                if keep.borrow().len() == SIZE {
                    loops.remove_fd(key);
                    stop();
                }
            }
            blocked
        });
        key.set(Some(watched.expect("it can be watched")));
    });
    stage.run();
    assert!(received.take() == *expected, "not what was sent");
    echo.join().expect("the socket is closed");
}

fn write(mut stream: &TcpStream, bytes: &[u8], sent: &Cell<usize>) -> Ready {
    while sent.get() < bytes.len() {
        match stream.write(&bytes[sent.get()..]) {
            Ok(count) => sent.set(sent.get() + count),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return Ready::WRITE;
            }
        }
    }
    Ready::NONE
}

/// Once: there may be more.
fn read(mut stream: &TcpStream, received: &mut Vec<u8>) -> Ready {
    let mut space = [0; 65_536];
    match stream.read(&mut space) {
        Ok(count) => {
            assert!(count > 0, "the echo has gone");
            received.extend_from_slice(&space[..count]);
            if count < space.len() { Ready::READ } else { Ready::NONE }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            Ready::READ
        }
    }
}

/// pika's refuses it in the call; here that is told as all else is.
pub(in crate::conformance) fn a_socket_that_is_not_connected_is_an_error(stage: &Stage) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let error = over(stage, socket, |_| ());
    assert!(matches!(error, Error::Handshake(HandshakeError::Lost { .. })), "{error:?}");
}

/// Begins a connection over a socket that is not to open, and gives the error that it is told.
fn over(stage: &Stage, socket: impl Into<OwnedFd>, begun: impl FnOnce(&Connection)) -> Error {
    let (told, stop) = (Rc::new(RefCell::new(None)), stage.stopper());
    let note = Rc::clone(&told);
    let callbacks = ConnectionCallbacks::new().on_open(|_| panic!("it opens")).on_open_error(
        move |_, error| {
            assert_eq!(note.replace(Some(error)), None, "told twice");
            stop();
        },
    );
    let parameters = peers::parameters_of(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    begun(&stage.services().connect_over(socket, parameters, callbacks));
    assert!(told.borrow().is_none(), "told from inside of the call");
    stage.run();
    assert_eq!(stage.services().core().turn(), None, "something is left");
    told.take().expect("it was told")
}

/// The peer is gone, and it is a write that finds out.
pub(in crate::conformance) fn a_broken_pipe_is_told(stage: &Stage) {
    fn on_and_on(services: Services, channel: Channel) {
        if channel.is_open() {
            publish(&channel, "nowhere", "on and on");
            services.clone().call_later(Duration::from_millis(1), move || {
                on_and_on(services, channel);
            });
        }
    }
    let peer = Peer::new(|wire| {
        wire.open();
        let channel = wire.expect("channel.open").channel;
        wire.method(channel, &crate::protocol::channel::OpenOk {});
        wire.expect("basic.publish");
        wire.reset_at_end();
    });
    let services = stage.services();
    let ended = stage.session(peer.parameters(), move |connection| {
        open_channel(connection, move |channel| on_and_on(services, channel.clone()));
    });
    let Error::StreamLost(StreamLost::Io(cause)) = &ended else { panic!("{ended:?}") };
    assert!(matches!(cause.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{cause}");
    peer.join();
    stage.assert_idle();
}

pub(in crate::conformance) fn the_end_of_the_stream_is_told(stage: &Stage) {
    let peer = Peer::new(|wire| {
        wire.open();
        drop(wire.stream.shutdown(std::net::Shutdown::Write));
        // And so does this end.
        wire.read_to_end();
    });
    let ended = stage.session(peer.parameters(), |_| ());
    assert_eq!(ended, Error::StreamLost(StreamLost::EndOfStream));
    peer.join();
    stage.assert_idle();
}

pub(in crate::conformance) fn a_panic_when_a_socket_has_connected_closes_it(stage: &Stage) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    stage.services().connect_socket(address, None, |connected| {
        let _socket = connected.expect("it listens");
        panic!("{ON_PURPOSE}");
    });
    let stop = stage.stopper();
    stage.services().call_later(Duration::from_millis(30), move || stop());
    assert_eq!(stage.run_through_panics(), [ON_PURPOSE]);
    let (mut there, _) = listener.accept().expect("a client");
    assert_eq!(there.read(&mut [0]).expect("an end"), 0);
}

pub(in crate::conformance) fn a_panic_in_on_open_ends_that_connection_alone(stage: &Stage) {
    panics_in(stage, "on_open");
}

pub(in crate::conformance) fn a_panic_in_on_close_harms_nobody(stage: &Stage) {
    panics_in(stage, "on_close");
}

pub(in crate::conformance) fn a_panic_in_on_message_ends_that_connection_alone(stage: &Stage) {
    panics_in(stage, "on_message");
}

/// A peer that delivers one message, and is left in the end.
fn deliverer() -> Peer {
    Peer::new(|wire: &mut Wire| {
        wire.stream.set_nodelay(true).expect("an option");
        wire.open();
        while let Some(frame) = wire.frame() {
            let consume =
                frame.kind == FrameKind::Method && frame.method().name() == "basic.consume";
            if wire.answer(&frame) {
                break;
            }
            if consume {
                wire.send(delivery(frame.channel, "mine", 1, b"a message"));
            }
        }
        wire.read_to_end();
    })
}

/// Runs a connection with a callback that panics beside another one, which opens before and is
/// closed after.
fn panics_in(stage: &Stage, callback: &'static str) {
    let peers = [deliverer(), deliverer()];
    let (connect, stop) = (stage.connector(), stage.stopper());
    let noted = Rc::new(RefCell::new(None));
    let (note, parameters) = (Rc::clone(&noted), peers[0].parameters());
    let has_panicked = stage.has_panicked();
    let beside = ConnectionCallbacks::new()
        .on_open(move |beside| {
            let callbacks = panicking(callback, has_panicked, beside.clone(), note);
            connect(parameters.into(), callbacks);
        })
        .on_open_error(|_, error| panic!("it does not open: {error}"))
        .on_close(move |_, reason| {
            assert_closed(reason);
            stop();
        });
    stage.connect(peers[1].parameters(), beside);
    assert_eq!(stage.run_through_panics(), [ON_PURPOSE]);
    match noted.take().expect("on_close was called") {
        Error::CallbackPanicked(text) => {
            assert!(callback != "on_close" && text.contains(ON_PURPOSE), "{text}");
        }
        reason => {
            assert!(callback == "on_close" || stage.unwinds(), "{reason}");
            assert!(matches!(reason, Error::ConnectionClosed(_)), "{reason}");
        }
    }
    peers.into_iter().for_each(Peer::join);
}

/// Callbacks of which that one panics. The end of the connection ends `beside`.
fn panicking(
    callback: &'static str,
    has_panicked: impl Fn() -> bool + 'static,
    beside: Connection,
    noted: Rc<RefCell<Option<Error>>>,
) -> ConnectionCallbacks {
    let panics_if = move |name| assert!(name != callback, "{ON_PURPOSE}");
    ConnectionCallbacks::new()
        .on_open(move |connection| {
            let later = connection.clone();
            let services = connection.services().expect("the loop runs");
            // Unless the panic has: it does not where panics come out of the loop's run.
            let is_time = move || callback == "on_close" || has_panicked();
            when(&services, is_time, move || drop(later.close(200, "late")));
            consume(connection, move || panics_if("on_message"));
            panics_if("on_open");
        })
        .on_close(move |connection, reason| {
            let services = connection.services().expect("the loop runs");
            assert_eq!(noted.replace(Some(reason)), None, "told twice");
            // Not at once: the loop goes on, and the other connection with it.
            services.call_later(Duration::from_millis(1), move || close(&beside));
            panics_if("on_close");
        })
}

fn consume(connection: &Connection, on_message: impl Fn() + 'static) {
    let opened = move |channel: &Channel, opened: crate::Result<()>| {
        // Otherwise it is on_open that panics.
        if opened.is_ok() {
            let (queue, consumer_tag) = ("queue".into(), "mine".into());
            let consume = basic::Consume { queue, consumer_tag, ..Default::default() };
            let on_message = move |_: &Channel, _: &Delivery<'_>| on_message();
            channel.basic_consume(consume, on_message, |_, _| ()).expect("open");
        }
    };
    connection.channel(None, opened).expect("it is open");
}

/// pika aborts a stream that is open; here it is a handshake that is given up.
pub(in crate::conformance) fn what_is_aborted_is_closed(stage: &Stage) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let error = over(stage, ours, |connection| {
        let connection = connection.clone();
        stage.services().call_later(Duration::from_millis(5), move || close(&connection));
    });
    assert_eq!(error, ConnectError::Aborted.into());
    let mut said = Vec::new();
    theirs.read_to_end(&mut said).expect("it is closed");
    assert_eq!(said, crate::protocol::PROTOCOL_HEADER);
}

pub(in crate::conformance) fn what_is_aborted_at_once_is_closed_and_says_nothing(stage: &Stage) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    assert_eq!(over(stage, ours, close), ConnectError::Aborted.into());
    let mut said = Vec::new();
    theirs.read_to_end(&mut said).expect("it is closed");
    assert_eq!(said, []);
}
