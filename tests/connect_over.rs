//! Connections over sockets that the user has connected.

mod support;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{
    Channel, ConnectError, ConnectionCallbacks, ConnectionParameters, Error, HandshakeError, Phase,
    Result, StreamLost,
};
use socket2::{Domain, Socket, Type};
use support::{Host, broker, close, every_host};

every_host!(
    over_a_tcp_socket,
    over_a_unix_socket,
    a_peer_that_has_gone,
    a_socket_that_is_not_connected,
    a_peer_that_is_silent,
    what_is_given_up_is_closed,
);

/// Runs until the connection has ended; gives whether a channel was open, and the reason.
fn run<H: Host>(stream: impl Into<OwnedFd>, parameters: ConnectionParameters) -> (bool, Error) {
    let host = H::new();
    let told = Rc::new(RefCell::new(None));
    let (failed, closed) = (Rc::clone(&told), Rc::clone(&told));
    let (stop, stop_too) = (host.stopper(), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let opened = |channel: &Channel, opened: Result<()>| {
                opened.expect("the channel opens");
                close(&channel.connection());
            };
            connection.channel(None, opened).expect("it is open");
        })
        .on_open_error(move |_, error| {
            failed.replace(Some((false, error)));
            stop();
        })
        .on_close(move |_, reason| {
            closed.replace(Some((true, reason)));
            stop_too();
        });
    let services = host.services();
    services.connect_over(stream, parameters, callbacks);
    assert!(told.borrow().is_none(), "told from inside the call");
    host.run();
    assert_eq!(services.core().turn(), None, "something is left");
    told.take().expect("it has ended")
}

fn over_a_tcp_socket<H: Host>() {
    let parameters = broker();
    let stream = TcpStream::connect((parameters.host(), parameters.port())).expect("the broker");
    let (opened, reason) = run::<H>(stream, parameters);
    assert!(opened && matches!(reason, Error::ConnectionClosed(_)), "{reason}");
}

/// Somebody carries what is said to the broker.
fn over_a_unix_socket<H: Host>() {
    let parameters = broker();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let stream = TcpStream::connect((parameters.host(), parameters.port())).expect("the broker");
    let (mut to, mut from) = (stream.try_clone().expect("a clone"), stream);
    let (mut there, mut back) = (theirs.try_clone().expect("a clone"), theirs);
    let outward = std::thread::spawn(move || {
        drop(io::copy(&mut there, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
    let inward = std::thread::spawn(move || drop(io::copy(&mut from, &mut back)));
    let (opened, reason) = run::<H>(ours, parameters);
    assert!(opened && matches!(reason, Error::ConnectionClosed(_)), "{reason}");
    outward.join().expect("no panic");
    inward.join().expect("no panic");
}

fn a_peer_that_has_gone<H: Host>() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    drop(theirs);
    let mut parameters = broker();
    // There is nothing else to try.
    parameters.set_connection_attempts(5).expect("in range");
    let (_, error) = run::<H>(ours, parameters);
    let Error::Handshake(HandshakeError::Lost { phase: Phase::Protocol, cause }) = &error else {
        panic!("{error:?}");
    };
    let broken = io::Error::from_raw_os_error(libc::EPIPE).into();
    assert!([StreamLost::EndOfStream, StreamLost::Io(broken)].contains(cause), "{cause:?}");
}

fn a_socket_that_is_not_connected<H: Host>() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let (_, error) = run::<H>(socket, broker());
    assert!(matches!(error, Error::Handshake(HandshakeError::Lost { .. })), "{error:?}");
}

fn a_peer_that_is_silent<H: Host>() {
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let limit = Duration::from_millis(200);
    let mut parameters = broker();
    parameters.set_stack_timeout(Some(limit)).expect("not zero");
    let before = Instant::now();
    let (_, error) = run::<H>(ours, parameters);
    assert!(before.elapsed() >= limit);
    assert_eq!(error, HandshakeError::TimedOut { phase: Phase::Protocol, limit }.into());
}

/// At once, and in the handshake; by `close`, and because the loop goes.
fn what_is_given_up_is_closed<H: Host>() {
    for (closes, at_once) in [(true, true), (true, false), (false, true), (false, false)] {
        let host = H::new();
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let told = Rc::new(RefCell::new(Vec::new()));
        let note = Rc::clone(&told);
        let callbacks =
            ConnectionCallbacks::new().on_open_error(move |_, error| note.borrow_mut().push(error));
        let connection = host.services().connect_over(ours, broker(), callbacks);
        if !at_once {
            let stop = host.stopper();
            support::once_sent(connection.clone(), move || stop());
            host.run();
        }
        if closes {
            close(&connection);
            let stop = host.stopper();
            host.services().call_later(Duration::from_millis(1), move || stop());
            host.run();
            assert_eq!(told.take(), [ConnectError::Aborted.into()]);
        } else {
            drop(host);
        }
        let mut said = Vec::new();
        theirs.read_to_end(&mut said).expect("it is closed");
        assert_eq!(said.is_empty(), at_once);
        theirs.write_all(b"?").expect_err("nobody is there");
        assert_eq!(told.take(), []);
    }
}
