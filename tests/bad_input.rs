//! Servers that are not there, are no brokers or refuse; each ends in its own error, told once and
//! at once, and the loop goes on.

mod support;

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::protocol::{DecodeError, Method, connection};
use haypile::{
    BaseConnection, ConnectError, ConnectionCallbacks, ConnectionParameters, Error, HandshakeError,
    IoError, Phase, PlainCredentials, ProtocolError, StreamLost,
};
use support::peers::{self, Peer, SECRET, Wire, dead_end, parameters_of, silent};
use support::{Host, broker, every_host, logs, refused};

every_host!(
    a_port_where_nobody_listens,
    every_address_that_was_tried_is_told,
    a_host_that_does_not_exist,
    a_wrong_password,
    an_unknown_virtual_host,
    a_server_of_another_protocol,
    a_server_of_another_version,
    a_server_that_hangs_up_at_once,
    a_server_that_hangs_up_in_each_phase,
    a_server_that_is_silent_in_each_phase,
    an_address_that_is_silent,
    a_server_that_sends_garbage_in_the_handshake,
    a_server_with_nothing_to_agree_on,
    an_error_that_no_callback_takes_is_logged_or_returned,
);

fn os_error(errno: i32) -> IoError {
    io::Error::from_raw_os_error(errno).into()
}

fn a_port_where_nobody_listens<H: Host>() {
    let address = dead_end();
    let error = refused::<H>(parameters_of(address));
    let (host, cause) = ("127.0.0.1".into(), os_error(libc::ECONNREFUSED));
    assert_eq!(error, ConnectError::Socket { host, address, cause }.into());
    assert_eq!(
        error.to_string(),
        format!("cannot connect to \"127.0.0.1\" at {address}: Connection refused (os error 111)")
    );
}

fn every_address_that_was_tried_is_told<H: Host>() {
    let address = dead_end();
    let mut parameters = parameters_of(address);
    parameters.set_host("localhost");
    let expected = ("localhost", 0).to_socket_addrs().unwrap().collect::<HashSet<_>>();
    let failures = match refused::<H>(parameters) {
        Error::Connect(ConnectError::Failed { failures }) => {
            failures.into_iter().map(|failure| (failure.host, failure.address)).collect()
        }
        // There is but one.
        Error::Connect(ConnectError::Socket { host, address, .. }) => vec![(host, Some(address))],
        other => panic!("{other:?}"),
    };
    let tried = failures.into_iter().map(|(host, tried)| {
        assert_eq!(host, "localhost");
        let mut tried = tried.expect("an address");
        assert_eq!(tried.port(), address.port());
        tried.set_port(0);
        tried
    });
    assert_eq!(tried.collect::<HashSet<_>>(), expected);
}

fn a_host_that_does_not_exist<H: Host>() {
    let error = refused::<H>(ConnectionParameters::new("no-such-host.invalid"));
    assert!(
        matches!(&error, Error::Connect(ConnectError::Resolve { host, .. })
            if host == "no-such-host.invalid"),
        "{error:?}"
    );
}

fn a_wrong_password<H: Host>() {
    let mut parameters = broker();
    parameters.set_credentials(PlainCredentials::new("nobody", SECRET));
    let error = refused::<H>(parameters);
    assert!(
        matches!(&error, Error::Handshake(HandshakeError::BadCredentials { reply_code: 403, reply_text })
            if reply_text.starts_with("ACCESS_REFUSED")),
        "{error:?}"
    );
}

fn an_unknown_virtual_host<H: Host>() {
    let mut parameters = broker();
    parameters.set_virtual_host("no-such-vhost").unwrap();
    let error = refused::<H>(parameters);
    assert!(
        matches!(&error, Error::Handshake(HandshakeError::AccessDenied { virtual_host, reply_code: 530, reply_text })
            if virtual_host == "no-such-vhost" && reply_text.starts_with("NOT_ALLOWED")),
        "{error:?}"
    );
}

/// A server that sends this once the client has sent its header, and waits for it to hang up.
fn says(bytes: &'static [u8]) -> Peer {
    Peer::new(move |wire| {
        wire.header();
        wire.send(bytes);
        assert_eq!(wire.read_to_end(), 0, "nothing was to be said to such a server");
    })
}

fn a_server_of_another_protocol<H: Host>() {
    let answers: [(&[u8], &str); 7] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad"),
        (b"SSH-2.0-x\r\n", "SSH-2.0-x\\r\\n"),
        (b"H", "H"),
        (b"AMX", "AMX"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "\\x15\\x03\\x01\\x00\\x02\\x02F"),
        (b"\0", "\\x00"),
        // It echoes, or asks for the very version that it refuses.
        (b"AMQP\x00\x00\x09\x01", "AMQP\\x00\\x00\\t\\x01"),
    ];
    for (bytes, received) in answers {
        let peer = says(bytes);
        let error = refused::<H>(peer.parameters());
        assert_eq!(error, HandshakeError::NotAmqp { received: received.into() }.into());
        peer.join();
    }
}

fn a_server_of_another_version<H: Host>() {
    let answers: [(&[u8], &str); 3] = [
        (b"AMQP\x00\x01\x00\x00", "1-0-0"),
        (b"AMQP\x03\x01\x00\x00", "1-0-0 (protocol id 3)"),
        (b"AMQP\x01\x01\x08\x00", "1-8-0 (protocol id 1)"),
    ];
    for (bytes, version) in answers {
        let peer = says(bytes);
        let error = refused::<H>(peer.parameters());
        assert_eq!(error, HandshakeError::ProtocolVersion(version.into()).into());
        peer.join();
    }
    let peer = Peer::new(|wire| {
        wire.header();
        wire.method(0, &connection::Start { version_minor: 8, ..peers::start() });
        wire.read_to_end();
    });
    let error = refused::<H>(peer.parameters());
    assert_eq!(error, HandshakeError::ProtocolVersion("0-8".into()).into());
    peer.join();
}

fn a_server_that_hangs_up_at_once<H: Host>() {
    let peer = Peer::new(|_| ());
    let error = refused::<H>(peer.parameters());
    // Whether it has seen our header or not decides between the end and a reset.
    assert!(
        matches!(
            error,
            Error::Handshake(HandshakeError::Lost { phase: Phase::Protocol, cause: _ })
        ),
        "{error:?}"
    );
    peer.join();
}

/// Goes through the handshake up to that phase, and has read all that the client sent.
fn reach(wire: &mut Wire, phase: Phase) {
    wire.header();
    if phase == Phase::Protocol {
        return;
    }
    wire.method(0, &peers::start());
    wire.expect("connection.start-ok");
    if phase == Phase::Authentication {
        return;
    }
    wire.method(0, &peers::tune());
    wire.expect("connection.open");
}

const PHASES: [Phase; 3] = [Phase::Protocol, Phase::Authentication, Phase::Open];

fn a_server_that_hangs_up_in_each_phase<H: Host>() {
    for phase in PHASES {
        let peer = Peer::new(move |wire| reach(wire, phase));
        let error = refused::<H>(peer.parameters());
        let cause = StreamLost::EndOfStream;
        assert_eq!(error, HandshakeError::Lost { phase, cause }.into());
        peer.join();

        let peer = Peer::new(move |wire| {
            reach(wire, phase);
            wire.reset_at_end();
        });
        let error = refused::<H>(peer.parameters());
        let cause = StreamLost::Io(os_error(libc::ECONNRESET));
        assert_eq!(error, HandshakeError::Lost { phase, cause }.into());
        peer.join();
    }
}

fn a_server_that_is_silent_in_each_phase<H: Host>() {
    for phase in PHASES {
        let peer = Peer::new(move |wire| {
            reach(wire, phase);
            wire.read_to_end();
        });
        // Long enough for the phases before, on a busy machine too.
        let limit = Duration::from_secs(1);
        let mut parameters = peer.parameters();
        parameters.set_stack_timeout(Some(limit)).unwrap();
        let before = Instant::now();
        let error = refused::<H>(parameters);
        assert_eq!(error, HandshakeError::TimedOut { phase, limit }.into());
        assert!(before.elapsed() >= limit);
        peer.join();
    }
}

fn an_address_that_is_silent<H: Host>() {
    let (address, short) = (silent(), Duration::from_millis(100));
    let mut parameters = parameters_of(address);
    parameters.set_socket_timeout(Some(short)).unwrap();
    let before = Instant::now();
    let error = refused::<H>(parameters);
    assert!(before.elapsed() >= short);
    let (host, cause) = ("127.0.0.1".into(), io::Error::from(ErrorKind::TimedOut).into());
    assert_eq!(error, ConnectError::Socket { host, address, cause }.into());
}

fn a_server_that_sends_garbage_in_the_handshake<H: Host>() {
    let unexpected = |channel, method| ProtocolError::UnexpectedMethod { channel, method };
    let too_large = DecodeError::FrameTooLarge { size: 4097, frame_max: 4096 };
    let truncated = DecodeError::Truncated { needed: 2, available: 0 };
    let answers: [(Vec<u8>, ProtocolError, u16); 7] = [
        (vec![9; 100], DecodeError::UnknownFrameKind(9).into(), 501),
        (vec![1, 0, 0, 0, 0, 0, 1, 7, 0], DecodeError::FrameEnd(0).into(), 501),
        (vec![1, 0, 0, 0, 0, 0x0f, 0xf9], too_large.into(), 501),
        (vec![1, 0, 0, 0, 0, 0, 0, 0xce], truncated.into(), 502),
        (peers::method_bytes(0, &peers::start()), unexpected(0, "connection.start"), 503),
        (
            peers::method_bytes(1, &haypile::protocol::channel::OpenOk {}),
            unexpected(1, "channel.open-ok"),
            503,
        ),
        (
            vec![3, 0, 1, 0, 0, 0, 1, 7, 0xce],
            ProtocolError::UnexpectedFrame { channel: 1, frame: "content body" },
            505,
        ),
    ];
    for (bytes, error, code) in answers {
        let peer = Peer::new(move |wire| {
            reach(wire, Phase::Authentication);
            wire.send(bytes);
            // It is told why, then left.
            let frame = wire.frame().expect("a method");
            match frame.method() {
                Method::Connection(connection::Method::Close(close)) => {
                    assert_eq!(close.reply_code, code);
                }
                other => panic!("{}", other.name()),
            }
            assert_eq!(wire.read_to_end(), 0);
        });
        assert_eq!(refused::<H>(peer.parameters()), Error::Protocol(error));
        peer.join();
    }
}

fn a_server_with_nothing_to_agree_on<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.header();
        let mechanisms = "EXTERNAL GSSAPI".into();
        wire.method(0, &connection::Start { mechanisms, ..peers::start() });
        wire.read_to_end();
    });
    let error = refused::<H>(peer.parameters());
    let offered = "EXTERNAL GSSAPI".into();
    assert_eq!(error, HandshakeError::NoCommonMechanism { offered }.into());
    peer.join();

    let peer = Peer::new(|wire| {
        reach(wire, Phase::Authentication);
        wire.method(0, &connection::Tune { frame_max: 4095, ..peers::tune() });
        wire.read_to_end();
    });
    let error = refused::<H>(peer.parameters());
    assert_eq!(error, HandshakeError::Tuning { broker: 4095, minimum: 4096 }.into());
    peer.join();
}

fn an_error_that_no_callback_takes_is_logged_or_returned<H: Host>() {
    fn stop_once_closed(connection: Rc<dyn BaseConnection>, stop: Rc<dyn Fn()>) {
        if connection.is_closed() {
            return stop();
        }
        let services = connection.services().clone();
        services.add_callback(move || stop_once_closed(connection, stop));
    }
    logs::keep();
    let host = H::new();
    let connection = host.connect(parameters_of(dead_end()), ConnectionCallbacks::new()).into();
    stop_once_closed(connection, host.stopper());
    let ended = host.run_until_stopped();
    let lines = logs::take();
    let logged = lines.iter().filter(|line| line.contains("ERROR: cannot connect to"));
    if H::UNWINDS {
        assert!(matches!(ended, Err(Error::Connect(ConnectError::Socket { .. }))), "{ended:?}");
        assert_eq!(logged.count(), 0, "{lines:?}");
        let stop = host.stopper();
        host.services().add_callback(move || stop());
        host.run();
    } else {
        assert_eq!(ended, Ok(()));
        assert_eq!(logged.count(), 1, "{lines:?}");
    }
}
