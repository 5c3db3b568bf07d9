//! How it ends, by the clock of the test.

use std::io;
use std::time::Duration;

use haypile::protocol::{FrameKind, Method, connection};
use haypile::{
    Closed, ConnectError, ConnectionCallbacks, ConnectionParameters, Error, HandshakeError, Party,
    Phase, ProtocolError, StreamLost, TlsError,
};

use crate::scene::{Ended, Scene, publish};
use crate::support::peers::{method_bytes, start, tune};

const SECOND: Duration = Duration::from_secs(1);

fn closed_by(by: Party, reply_code: u16, reply_text: &str) -> Error {
    Error::ConnectionClosed(Closed { by, reply_code, reply_text: reply_text.into(), cause: (0, 0) })
}

#[test]
fn what_is_not_amqp_is_told() {
    let scene = Scene::new();
    scene.feed(b"HTTP/1.1 400 Bad Request\r\n");
    let Error::Handshake(HandshakeError::NotAmqp { received }) = scene.failure() else {
        panic!("another error");
    };
    assert!(received.starts_with("HTTP/1.1"), "{received}");
    assert!(scene.protocol.is_closed());
}

#[test]
fn a_violation_is_told_and_the_peer_is_told_too() {
    let scene = Scene::open();
    let mut bytes = method_bytes(0, &connection::Unblocked {});
    *bytes.last_mut().expect("a frame's end") = 0;
    scene.feed(&bytes);
    let Error::Protocol(error @ ProtocolError::Decode(_)) = scene.reason() else {
        panic!("another reason");
    };
    // Its last words.
    let sent = scene.sent();
    let (frame, _) =
        haypile::protocol::Frame::parse(&sent, 0).expect("a frame").expect("all of it");
    assert_eq!(frame.kind, FrameKind::Method);
    let Ok(Method::Connection(connection::Method::Close(close))) = Method::decode(frame.payload)
    else {
        panic!("another method");
    };
    assert_eq!(close.reply_code, error.reply_code());
}

/// Any bytes: no panic, and an end is told once.
#[test]
fn garbage_ends_it_or_waits_for_more() {
    let mut state = 1_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let mut ends = 0;
    for round in 0..400 {
        let scene = if round % 2 == 0 { Scene::new() } else { Scene::open() };
        let garbage: Vec<u8> = (0..64).map(|_| random()).collect();
        garbage.chunks(usize::from(random() % 9) + 1).for_each(|some| scene.feed(some));
        let ended = scene.ended();
        assert_eq!(ended.is_some(), scene.protocol.is_closed(), "{garbage:?}");
        ends += u32::from(ended.is_some());
    }
    assert!(ends > 300, "{ends}");
}

#[test]
fn the_end_of_the_stream_in_the_handshake_tells_how_far_it_was() {
    let scripts = [
        (Phase::Protocol, vec![]),
        (Phase::Authentication, vec![method_bytes(0, &start())]),
        (Phase::Open, vec![method_bytes(0, &start()), method_bytes(0, &tune())]),
    ];
    for (phase, said) in scripts {
        let scene = Scene::new();
        said.iter().for_each(|said| scene.feed(said));
        scene.protocol.connection_lost(StreamLost::EndOfStream).expect("not nested");
        let cause = StreamLost::EndOfStream;
        assert_eq!(scene.failure(), HandshakeError::Lost { phase, cause }.into());
        assert_eq!(scene.protocol.output_len(), 0, "nobody can be told anything");
    }
}

#[test]
fn the_end_of_the_stream_ends_an_open_connection() {
    for cause in [StreamLost::EndOfStream, StreamLost::Tls(TlsError::Truncated)] {
        let scene = Scene::open();
        scene.protocol.connection_lost(cause.clone()).expect("not nested");
        assert_eq!(scene.reason(), cause.into());
    }
}

/// All was said, only the answer is missing.
#[test]
fn the_end_of_the_stream_ends_a_closing_connection_in_order() {
    let scene = Scene::open();
    scene.protocol.close(200, "bye").expect("it is open");
    assert_eq!(scene.methods(), ["connection.close"]);
    scene.protocol.connection_lost(StreamLost::EndOfStream).expect("not nested");
    assert_eq!(scene.reason(), closed_by(Party::Client, 200, "bye"));
}

#[test]
fn what_comes_after_the_end_is_nothing() {
    let scene = Scene::open();
    scene.protocol.close(200, "bye").expect("it is open");
    assert_eq!(scene.methods(), ["connection.close"]);
    let closed_ok = method_bytes(0, &connection::CloseOk {});
    scene.feed(&[closed_ok, b"and more".to_vec()].concat());
    assert_eq!(scene.reason(), closed_by(Party::Client, 200, "bye"));
    scene.feed(b"and more");
    scene.protocol.connection_lost(StreamLost::EndOfStream).expect("not nested");
    scene.process();
    assert_eq!(scene.ended(), None);
    assert_eq!((scene.sent().len(), scene.protocol.next_deadline()), (0, None));
}

#[test]
fn a_failed_transport_is_told_with_what_never_left() {
    let scene = Scene::open();
    let channel = scene.channel();
    (0..3).for_each(|_| publish(&channel, vec![7; 20_000]));
    let waiting = scene.protocol.output_len();
    let reset = || io::Error::from_raw_os_error(libc::ECONNRESET);
    scene.protocol.connection_lost(reset()).expect("not nested");
    let Some(Ended::Closed(reason, undelivered)) = scene.ended() else { panic!("another end") };
    assert_eq!(reason, StreamLost::Io(reset().into()).into());
    assert_eq!((undelivered.unsent_messages, undelivered.unsent_bytes), (3, waiting as u64));
    assert_eq!(scene.sent(), b"");
}

/// What it says then is sent after its end; that counts as unsent until it is.
#[test]
fn a_close_of_the_brokers_is_answered_after_the_end() {
    let scene = Scene::open();
    let channel = scene.channel();
    publish(&channel, "never sent before");
    let close = connection::Close {
        reply_code: 320,
        reply_text: "maintenance".into(),
        ..Default::default()
    };
    scene.say(0, &close);
    let Some(Ended::Closed(reason, undelivered)) = scene.ended() else { panic!("another end") };
    assert_eq!(reason, closed_by(Party::Broker, 320, "maintenance"));
    assert_eq!(undelivered.unsent_messages, 1);
    assert_eq!(scene.methods(), ["basic.publish", "connection.close-ok"]);
    // Unless the stream has ended meanwhile.
    let scene = Scene::open();
    scene.say(0, &close);
    assert!(scene.protocol.output_len() > 0);
    scene.protocol.connection_lost(StreamLost::EndOfStream).expect("not nested");
    assert_eq!(scene.sent(), b"");
    assert_eq!(scene.reason(), closed_by(Party::Broker, 320, "maintenance"));
}

#[test]
fn what_is_given_up_before_it_is_open_is_told_by_the_next_call() {
    let scene = Scene::new();
    scene.protocol.close(200, "never mind").expect("it is not closed");
    assert_eq!(scene.ended(), None, "told from inside the call");
    assert_eq!(scene.protocol.next_deadline(), Some(scene.now()));
    scene.process();
    assert_eq!(scene.failure(), ConnectError::Aborted.into());
}

#[test]
fn a_handshake_has_its_time_from_the_start() {
    let limit = 15 * SECOND;
    let scene = Scene::new();
    scene.process();
    let deadline = scene.now() + limit;
    scene.pass(10 * SECOND);
    scene.say(0, &start());
    assert_eq!(scene.protocol.next_deadline(), Some(deadline));
    scene.pass(5 * SECOND - Duration::from_nanos(1));
    scene.process();
    assert_eq!(scene.ended(), None);
    scene.pass(Duration::from_nanos(1));
    scene.process();
    let timed_out = HandshakeError::TimedOut { phase: Phase::Authentication, limit };
    assert_eq!(scene.failure(), timed_out.into());
}

/// Its time counts from the call, whenever the host was last here.
#[test]
fn a_close_that_nobody_answers_ends_by_its_deadline() {
    let scene = Scene::open();
    scene.pass(3600 * SECOND);
    scene.protocol.close(200, "bye").expect("it is open");
    scene.process();
    assert_eq!(scene.methods(), ["connection.close"]);
    assert_eq!(scene.protocol.next_deadline(), Some(scene.now() + 15 * SECOND));
    scene.pass(15 * SECOND);
    scene.process();
    assert_eq!(scene.reason(), closed_by(Party::Client, 200, "bye"));
}

#[test]
fn heartbeats_leave_and_a_silent_broker_is_found() {
    let scene = Scene::with(ConnectionParameters::default(), ConnectionCallbacks::new());
    let interval = 10 * SECOND;
    scene.handshake(&connection::Tune { heartbeat: 10, ..tune() });
    let heartbeat = [8, 0, 0, 0, 0, 0, 0, 0xCE];
    let begun = scene.now();
    let (mut sent, mut heard) = (0, begun);
    while scene.now() < begun + 100 * SECOND {
        let deadline = scene.protocol.next_deadline().expect("a heartbeat is due some time");
        assert!(deadline > scene.now() && deadline <= scene.now() + interval);
        scene.pass(deadline - scene.now());
        scene.process();
        let said = scene.methods();
        assert!(said.iter().all(|name| *name == "heartbeat"), "{said:?}");
        sent += said.len();
        if scene.now() >= heard + interval {
            scene.feed(&heartbeat);
            heard = scene.now();
        }
    }
    assert!((10..=21).contains(&sent), "{sent} heartbeats in ten intervals");
    assert_eq!(scene.ended(), None);
    while !scene.protocol.is_closed() {
        let deadline = scene.protocol.next_deadline().expect("somebody looks for the broker");
        scene.pass(deadline - scene.now());
        scene.process();
    }
    assert_eq!(scene.reason(), Error::HeartbeatTimeout { interval });
    let silence = scene.now() - heard;
    assert!(silence > interval * 14 / 10 && silence <= 2 * interval + interval / 2, "{silence:?}");
}
