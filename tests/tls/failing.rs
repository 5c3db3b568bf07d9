//! Against servers that do what RabbitMQ does not, each with a certificate of the test's own.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use haypile::{
    BasicProperties, CertificateError, Channel, ConnectError, ConnectionCallbacks,
    ConnectionParameters, Delivery, Error, HandshakeError, Phase, StreamLost, TlsError, basic,
};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind};

use super::not_secured;
use super::support::peers::{self, Peer, Wire};
use super::support::tls::{Authority, Certificate};
use super::support::{Host, close, every_host, on_channel, refused};

every_host!(
    an_expired_certificate,
    a_certificate_that_is_not_valid_yet,
    a_certificate_that_is_not_a_servers,
    a_server_that_wants_a_client_certificate,
    a_server_of_another_protocol,
    a_server_that_answers_garbage,
    a_server_that_hangs_up_in_the_handshake,
    a_server_that_resets_in_the_handshake,
    a_server_that_stalls_in_the_handshake,
    a_server_that_stalls_after_it,
    a_close_in_the_handshake,
    a_host_that_fails_leads_to_the_next,
    a_stream_that_is_cut,
    a_server_that_ends_tls_and_not_tcp,
    a_client_that_closes_says_goodbye,
    a_start_that_comes_with_the_end_of_the_handshake,
    bytes_inside_tls_do_not_wait_for_the_socket_hazard_21,
    what_comes_byte_by_byte,
    keys_that_are_renewed_on_the_way,
    reads_go_on_while_writes_wait_hazard_21,
    a_second_connection_resumes_the_session_of_the_first,
);

fn to(peer: &Peer, authority: &Authority) -> ConnectionParameters {
    let mut parameters = peer.parameters();
    parameters.set_tls(Some(authority.trusted()));
    parameters
}

/// What a client says of a server that shows this; the server must be told as well.
fn verdict<H: Host>(
    authority: &Authority,
    certificate: &Certificate,
    alert: AlertDescription,
) -> CertificateError {
    let config = certificate.serves();
    let peer = Peer::new(move |wire| {
        let error = wire.start_tls(config).expect_err("it is refused");
        let told = error.into_inner().and_then(|error| error.downcast::<rustls::Error>().ok());
        assert_eq!(told.as_deref(), Some(&rustls::Error::AlertReceived(alert)));
    });
    let error = not_secured::<H>(to(&peer, authority));
    peer.join();
    let TlsError::Certificate(verdict) = error else { panic!("{error}") };
    verdict
}

fn an_expired_certificate<H: Host>() {
    let authority = Authority::new();
    let alert = AlertDescription::CertificateExpired;
    let verdict = verdict::<H>(&authority, &authority.expired(), alert);
    assert_eq!(verdict, CertificateError::Expired);
}

fn a_certificate_that_is_not_valid_yet<H: Host>() {
    let authority = Authority::new();
    let alert = AlertDescription::CertificateExpired;
    let verdict = verdict::<H>(&authority, &authority.not_valid_yet(), alert);
    assert_eq!(verdict, CertificateError::NotValidYet);
}

fn a_certificate_that_is_not_a_servers<H: Host>() {
    let authority = Authority::new();
    let certificate = authority.for_clients_at(&["127.0.0.1"]);
    let alert = AlertDescription::UnsupportedCertificate;
    let verdict = verdict::<H>(&authority, &certificate, alert);
    assert_eq!(verdict, CertificateError::WrongPurpose);
}

fn a_server_that_wants_a_client_certificate<H: Host>() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    for version in [&TLS12, &TLS13] {
        let config = authority.server().serves_clients_of(&authority, &[version]);
        let peer = Peer::several(3, move |wire| {
            if wire.start_tls(config.clone()).is_ok() {
                wire.open();
                wire.obey();
            }
        });
        let with = |certificate: Certificate| {
            let mut options = authority.trusted();
            options.set_client_certificate(&certificate.pem, &certificate.key_pem).unwrap();
            let mut parameters = peer.parameters();
            parameters.set_tls(Some(options));
            parameters
        };
        let alert_of = |error: Error| match error {
            Error::Tls(TlsError::Alert { code, .. }) if version.version == TLS12.version => code,
            // The client has finished when the server judges.
            Error::Handshake(HandshakeError::Lost {
                phase: Phase::Protocol,
                cause: StreamLost::Tls(TlsError::Alert { code, .. }),
            }) if version.version == TLS13.version => code,
            other => panic!("{other}"),
        };
        let ended = on_channel(&H::new(), with(authority.client()), |c| close(&c.connection()));
        assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
        let missing = alert_of(refused::<H>(to(&peer, &authority)));
        assert_eq!(missing, u8::from(AlertDescription::CertificateRequired));
        let of_another = alert_of(refused::<H>(with(strangers.client())));
        assert_eq!(of_another, u8::from(AlertDescription::UnknownCA));
        peer.join();
    }
}

fn a_server_of_another_protocol<H: Host>() {
    let answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
    let peer = Peer::new(move |wire| wire.send(answer));
    let error = not_secured::<H>(to(&peer, &Authority::new()));
    assert_eq!(error, TlsError::NotTls { received: answer[..16].into() });
    peer.join();
}

fn a_server_that_answers_garbage<H: Host>() {
    for garbage in [&b"\x16\x03\x03\0\x05\x63\0\0\x01\x07"[..], b"\x17\x03\x03\0\x01x"] {
        let peer = Peer::new(move |wire| {
            wire.send(garbage);
            wire.read_to_end();
        });
        let error = not_secured::<H>(to(&peer, &Authority::new()));
        assert!(matches!(error, TlsError::Protocol(_)), "{error:?}");
        peer.join();
    }
}

fn a_server_that_hangs_up_in_the_handshake<H: Host>() {
    let peer = Peer::new(|wire| {
        // All of it has come: else the end would be a reset.
        wire.read_some();
        wire.stream.shutdown(std::net::Shutdown::Write).unwrap();
        wire.read_to_end();
    });
    assert_eq!(not_secured::<H>(to(&peer, &Authority::new())), TlsError::Truncated);
    peer.join();
}

fn a_server_that_resets_in_the_handshake<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.read_some();
        wire.reset_at_end();
    });
    let error = not_secured::<H>(to(&peer, &Authority::new()));
    let TlsError::Io(cause) = error else { panic!("{error}") };
    assert_eq!(cause.kind(), ErrorKind::ConnectionReset);
    peer.join();
}

fn a_server_that_stalls_in_the_handshake<H: Host>() {
    const LIMIT: Duration = Duration::from_secs(1);
    let peer = Peer::new(|wire| {
        wire.read_to_end();
    });
    let mut parameters = to(&peer, &Authority::new());
    parameters.set_stack_timeout(Some(LIMIT)).unwrap();
    assert_eq!(not_secured::<H>(parameters), TlsError::TimedOut { limit: LIMIT });
    peer.join();
}

fn a_server_that_stalls_after_it<H: Host>() {
    const LIMIT: Duration = Duration::from_secs(1);
    let authority = Authority::new();
    let config = authority.server().serves();
    let peer = Peer::new(move |wire| {
        wire.start_tls(config).unwrap();
        wire.read_to_end();
    });
    let mut parameters = to(&peer, &authority);
    parameters.set_stack_timeout(Some(LIMIT)).unwrap();
    let expected = HandshakeError::TimedOut { phase: Phase::Protocol, limit: LIMIT };
    assert_eq!(refused::<H>(parameters), expected.into());
    peer.join();
}

fn a_close_in_the_handshake<H: Host>() {
    let (connected, is_connected) = mpsc::channel();
    let peer = Peer::new(move |wire| {
        wire.read_some();
        connected.send(()).unwrap();
        // Ends when the client has let go of its socket.
        wire.read_to_end();
    });
    let host = H::new();
    let (stop, told) = (host.stopper(), Rc::new(RefCell::new(None)));
    let note = Rc::clone(&told);
    let callbacks = ConnectionCallbacks::new().on_open_error(move |_, error| {
        note.replace(Some(error));
        stop();
    });
    let connection = host.connect(to(&peer, &Authority::new()), callbacks);
    let handle = connection.clone();
    host.services().call_every(Duration::from_millis(1), move || {
        if is_connected.try_recv().is_ok() {
            close(&handle);
        }
    });
    host.run();
    assert_eq!(told.take(), Some(ConnectError::Aborted.into()));
    // While the loop is still there, and does not run.
    peer.join();
    drop(host);
}

fn a_host_that_fails_leads_to_the_next<H: Host>() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (wrong, right) = (other.server().serves(), authority.server().serves());
    let first = Peer::new(move |wire| drop(wire.start_tls(wrong).expect_err("another's")));
    let second = Peer::new(move |wire| serve(wire, right, |_| ()));
    let (opened, ended) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(None)));
    let host = H::new();
    let (note, end, stop) = (Rc::clone(&opened), Rc::clone(&ended), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            note.set(true);
            close(connection);
        })
        .on_close(move |_, error| {
            end.replace(Some(error));
            stop();
        });
    drop(host.connect(vec![to(&first, &authority), to(&second, &authority)], callbacks));
    host.run();
    assert!(opened.get());
    assert!(matches!(ended.take(), Some(Error::ConnectionClosed(_))));
    first.join();
    second.join();
}

/// Opens the connection and a channel by TLS, goes on, and answers until the end.
fn serve(
    wire: &mut Wire,
    config: std::sync::Arc<rustls::ServerConfig>,
    then: impl FnOnce(&mut Wire),
) {
    wire.start_tls(config).unwrap();
    wire.open();
    then(wire);
    wire.obey();
}

/// How a connection ends whose server does this once the channel is open.
fn ended<H: Host>(then: impl FnOnce(&mut Wire) + Send + 'static) -> Error {
    let authority = Authority::new();
    let config = authority.server().serves();
    let peer = Peer::new(move |wire| {
        serve(wire, config, |wire| {
            wire.grant("channel.open");
            then(wire);
        });
    });
    let ended = on_channel(&H::new(), to(&peer, &authority), |_| ());
    peer.join();
    ended
}

fn a_stream_that_is_cut<H: Host>() {
    let ended = ended::<H>(|wire| wire.stream.shutdown(std::net::Shutdown::Write).unwrap());
    assert_eq!(ended, StreamLost::Tls(TlsError::Truncated).into());
}

fn a_server_that_ends_tls_and_not_tcp<H: Host>() {
    // Nothing but TLS tells: the socket stays open, and silent.
    let ended = ended::<H>(Wire::say_goodbye);
    assert_eq!(ended, StreamLost::EndOfStream.into());
}

fn a_client_that_closes_says_goodbye<H: Host>() {
    let authority = Authority::new();
    let config = authority.server().serves();
    let peer = Peer::new(move |wire| {
        serve(wire, config, |_| ());
        wire.read_to_end();
        assert!(wire.goodbye);
    });
    let ended = on_channel(&H::new(), to(&peer, &authority), |c| close(&c.connection()));
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    peer.join();
}

fn a_start_that_comes_with_the_end_of_the_handshake<H: Host>() {
    let authority = Authority::new();
    // By TLS 1.2 the end of the handshake is the server's.
    let config = authority.server().serves_by(&[&TLS12]);
    let peer = Peer::new(move |wire| {
        let start = peers::method_bytes(0, &peers::start());
        wire.start_tls_and_say(config, &start);
        wire.header();
        wire.expect("connection.start-ok");
        wire.method(0, &peers::tune());
        wire.expect("connection.open");
        wire.method(0, &haypile::protocol::connection::OpenOk {});
        wire.obey();
    });
    let ended = on_channel(&H::new(), to(&peer, &authority), |c| close(&c.connection()));
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    peer.join();
}

/// Answers a client until it has a channel and a consumer on it.
fn begin_to_consume(wire: &mut Wire) {
    wire.grant("channel.open");
    wire.grant("basic.consume");
}

/// Consumes `count` messages, whose bodies are their numbers in a hundred bytes, from a server that
/// sends them as `send` does.
fn consumes<H: Host>(count: u64, send: impl FnOnce(&mut Wire, Vec<u8>) + Send + 'static) {
    let authority = Authority::new();
    let config = authority.server().serves();
    let peer = Peer::new(move |wire| {
        serve(wire, config, |wire| {
            begin_to_consume(wire);
            let all = (0..count).flat_map(|number| delivery(number + 1, &body(number)));
            send(wire, all.collect());
        });
    });
    let mut next = 0;
    let received = Rc::new(Cell::new(0));
    let note = Rc::clone(&received);
    let ended = on_channel(&H::new(), to(&peer, &authority), move |channel| {
        consume(channel, move |channel, delivery| {
            assert_eq!(delivery.body(), body(next).as_bytes());
            next += 1;
            note.set(next);
            if next == count {
                close(&channel.connection());
            }
        });
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    assert_eq!(received.get(), count);
    peer.join();
}

fn body(number: u64) -> String {
    format!("{number:>100}")
}

fn delivery(tag: u64, body: &str) -> Vec<u8> {
    peers::delivery(1, "c", tag, body.as_bytes())
}

fn consume(channel: &Channel, on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static) {
    let consume = basic::Consume { consumer_tag: "c".into(), ..Default::default() };
    channel.basic_consume(consume, on_message, |_, ok| drop(ok.unwrap())).unwrap();
}

fn bytes_inside_tls_do_not_wait_for_the_socket_hazard_21<H: Host>() {
    // Many records, each of many messages, and then the server says nothing more.
    consumes::<H>(10_000, |wire, all| wire.send(all));
}

fn what_comes_byte_by_byte<H: Host>() {
    consumes::<H>(20, |wire, all| {
        for piece in all.chunks(700) {
            wire.dribble(piece);
        }
    });
}

fn keys_that_are_renewed_on_the_way<H: Host>() {
    consumes::<H>(1_000, |wire, all| {
        for piece in all.chunks(20_000) {
            wire.tls().refresh_traffic_keys().unwrap();
            wire.send(piece);
        }
    });
}

fn reads_go_on_while_writes_wait_hazard_21<H: Host>() {
    const MESSAGES: u64 = 200; // of 64 KB: more than any socket takes
    let authority = Authority::new();
    let config = authority.server().serves();
    let peer = Peer::new(move |wire| {
        serve(wire, config, |wire| {
            begin_to_consume(wire);
            // The client cannot write any more, and is to read this; it acknowledges.
            wire.send(delivery(1, "while you wait"));
            // It all comes, in order.
            for number in 0..MESSAGES {
                wire.expect("basic.publish");
                let header = wire.frame().unwrap();
                assert_eq!(header.kind, haypile::protocol::FrameKind::Header);
                let body = wire.frame().unwrap();
                assert_eq!(body.payload(), [number as u8; 64 * 1024]);
            }
            wire.expect("basic.ack");
        });
    });
    let mut parameters = to(&peer, &authority);
    parameters.set_water_marks(0, usize::MAX).unwrap();
    let ended = on_channel(&H::new(), parameters, |channel| {
        consume(channel, |channel, delivery| {
            assert_eq!(delivery.body(), b"while you wait");
            let ack = basic::Ack { delivery_tag: 1, multiple: false };
            channel.basic_ack(ack).unwrap();
            close(&channel.connection());
        });
        for number in 0..MESSAGES {
            let to = basic::Publish { routing_key: "q".into(), ..Default::default() };
            let body = vec![number as u8; 64 * 1024];
            channel.basic_publish(to, &BasicProperties::default(), body).unwrap();
        }
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    peer.join();
}

fn a_second_connection_resumes_the_session_of_the_first<H: Host>() {
    let authority = Authority::new();
    let config = authority.server().serves();
    let (tell, told) = mpsc::channel();
    let peer = Peer::several(2, move |wire| {
        serve(wire, config.clone(), |_| ());
        tell.send(wire.tls().handshake_kind()).unwrap();
    });
    let parameters = to(&peer, &authority);
    for _ in 0..2 {
        on_channel(&H::new(), parameters.clone(), |c| close(&c.connection()));
    }
    peer.join();
    let kinds: Vec<_> = told.iter().map(Option::unwrap).collect();
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}
