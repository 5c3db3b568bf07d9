//! From the protocol header to OpenOk, and every way not to get there.

use super::broker;
use super::pair::{Happened, Pair};
use crate::connection::{ConnectionParameters, PlainCredentials};
use crate::error::{
    Closed, ConnectError, Error, HandshakeError, Misuse, Party, Phase, ProtocolError, StreamLost,
};
use crate::protocol::{
    FieldTable, FieldValue, Frame, Method, PROTOCOL_HEADER, ShortStr, basic, channel, connection,
    queue,
};

/// Header sent, Start answered, Tune answered: how far the broker goes before the test's own turn.
fn up_to(phase: Phase) -> Pair {
    let mut pair = Pair::connected();
    if phase != Phase::Protocol {
        pair.feed(&broker::start());
    }
    if phase == Phase::Open {
        pair.feed(&broker::tune(0, 0));
    }
    pair.sent();
    pair
}

const PHASES: [Phase; 3] = [Phase::Protocol, Phase::Authentication, Phase::Open];

fn not_opened(error: impl Into<Error>) -> [Happened; 1] {
    [Happened::Closed { error: error.into(), was_open: false }]
}

fn start_ok(bytes: &[u8]) -> connection::StartOk<'_> {
    let (frame, size) = Frame::parse(bytes, 0).unwrap().unwrap();
    assert_eq!(size, bytes.len(), "StartOk is sent alone");
    match Method::decode(frame.payload).unwrap() {
        Method::Connection(connection::Method::StartOk(start_ok)) => start_ok,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_opens_and_closes_with_exactly_these_bytes() {
    let mut pair = Pair::connected();
    assert_eq!(pair.sent(), PROTOCOL_HEADER);

    pair.feed(&broker::start());
    let sent = pair.sent();
    let answer = start_ok(&sent);
    assert_eq!(
        (answer.mechanism.as_bytes(), answer.locale.as_bytes()),
        (&b"PLAIN"[..], &b"en_US"[..])
    );
    assert_eq!(answer.response.as_bytes(), b"\0guest\0guest");

    pair.feed(&broker::tune(2047, 131_072));
    let mut expected = b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0\xce".to_vec();
    expected.extend(b"\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce");
    assert_eq!(pair.sent(), expected);
    assert_eq!(pair.happened(), []);

    pair.feed(&broker::open_ok());
    assert_eq!(pair.happened(), [Happened::Opened]);
    assert!(pair.machine.is_open());
    assert!(pair.sent().is_empty());
    assert_eq!(pair.machine.server_properties().get("product"), Ok(Some("fake".into())));

    pair.close("bye").unwrap();
    assert!(pair.machine.is_closing());
    assert_eq!(pair.sent(), b"\x01\0\0\0\0\0\x0e\0\x0a\0\x32\0\xc8\x03bye\0\0\0\0\xce");
    pair.feed(&broker::close_ok());
    let error = Error::ConnectionClosed(Closed {
        by: Party::Client,
        reply_code: 200,
        reply_text: "bye".into(),
        cause: (0, 0),
    });
    assert_eq!(pair.happened(), [Happened::Closed { error, was_open: true }]);
    assert!(pair.machine.is_closed() && pair.sent().is_empty());
}

#[test]
fn the_users_client_properties_replace_ours_by_name_and_join_the_others() {
    let mut parameters = ConnectionParameters::default();
    let capabilities = FieldTable::new().with("mine", true).unwrap();
    let users = FieldTable::new()
        .with("connection_name", "me")
        .and_then(|table| table.with("product", "theirs"))
        .and_then(|table| table.with("capabilities", capabilities.clone()))
        .unwrap();
    parameters.set_client_properties(users);
    let mut pair = Pair::with(parameters);
    pair.connect();
    pair.sent();
    pair.feed(&broker::start());
    let sent = pair.sent();
    let properties = start_ok(&sent).client_properties;
    let entry = |name| properties.get(name).unwrap();
    assert_eq!(entry("connection_name"), Some("me".into()));
    assert_eq!(entry("product"), Some("theirs".into()));
    assert_eq!(entry("capabilities"), Some(FieldValue::Table(capabilities)));
    assert_eq!(entry("version"), Some(env!("CARGO_PKG_VERSION").into()));
    let mut names: Vec<_> = properties.iter().map(|entry| entry.unwrap().0.to_string()).collect();
    names.sort();
    assert_eq!(names, ["capabilities", "connection_name", "platform", "product", "version"]);
}

#[test]
fn the_connection_name_is_a_client_property_that_the_users_own_replaces() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_connection_name("this one");
    let users = FieldTable::new().with("connection_name", "that one").unwrap();
    for (users, expected) in [(FieldTable::new(), "this one"), (users, "that one")] {
        parameters.set_client_properties(users);
        let mut pair = Pair::with(parameters.clone());
        pair.connect();
        pair.sent();
        pair.feed(&broker::start());
        let sent = pair.sent();
        let properties = start_ok(&sent).client_properties;
        let names =
            properties.iter().map(Result::unwrap).filter(|(key, _)| key == "connection_name");
        let names: Vec<_> = names.map(|(_, name)| name).collect();
        assert_eq!(names, [FieldValue::from(expected)]);
    }
}

#[test]
fn by_default_the_broker_is_told_what_the_client_understands() {
    let mut pair = Pair::connected();
    pair.sent();
    pair.feed(&broker::start());
    let sent = pair.sent();
    let properties = start_ok(&sent).client_properties;
    let Some(FieldValue::Table(capabilities)) = properties.get("capabilities").unwrap() else {
        panic!("no capabilities: {properties:?}");
    };
    for name in ["authentication_failure_close", "basic.nack", "consumer_cancel_notify"] {
        assert_eq!(capabilities.get(name), Ok(Some(true.into())), "{name}");
    }
}

#[test]
fn a_long_password_fits_before_tune_hazard_3() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_credentials(PlainCredentials::new("token", "x".repeat(10_000)));
    let mut pair = Pair::with(parameters);
    pair.connect();
    pair.sent();
    pair.feed(&broker::start());
    assert_eq!(start_ok(&pair.sent()).response.len(), 10_007);
}

#[test]
fn credentials_are_never_printed() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_credentials(PlainCredentials::new("me", "hunter2"));
    assert!(!format!("{parameters:?} {:?}", parameters.credentials()).contains("hunter2"));

    let mut pair = Pair::with(parameters);
    pair.connect();
    pair.sent();
    pair.feed(&broker::start());
    let sent = pair.sent();
    assert_eq!(start_ok(&sent).response.as_bytes(), b"\0me\0hunter2");
    assert!(!format!("{:?}", start_ok(&sent)).contains("hunter2"));
    pair.feed(&broker::close(403, "no"));
    assert!(!format!("{:?}", pair.happened()).contains("hunter2"));
}

#[test]
fn another_version_in_start_is_told() {
    let mut pair = Pair::connected();
    let start = connection::Start { version_major: 8, ..Default::default() };
    pair.feed(&broker::method(0, &start));
    assert_eq!(pair.happened(), not_opened(HandshakeError::ProtocolVersion("8-0".into())));
    assert_eq!(pair.sent_names(), ["AMQP"], "no credentials go there");
}

#[test]
fn a_protocol_header_in_reply_is_another_version_whatever_the_reads() {
    for size in 1..=8 {
        let mut pair = Pair::connected();
        pair.dribble(b"AMQP\0\x01\0\0", size);
        assert_eq!(pair.happened(), not_opened(HandshakeError::ProtocolVersion("1-0-0".into())));
    }
    let mut pair = Pair::connected();
    pair.feed(b"AMQP\x03\x01\0\0");
    let version = "1-0-0 (protocol id 3)".to_owned();
    assert_eq!(pair.happened(), not_opened(HandshakeError::ProtocolVersion(version)));
}

#[test]
fn a_server_of_another_protocol_is_told_apart() {
    for (reply, received) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "HTTP/1.1 400 Bad"),
        (b"\x15\x03\x01\0\x02\x02\x28", "\\x15\\x03\\x01\\x00\\x02\\x02("),
        (b"AMPQ....", "AMPQ...."),
        (b"\x08\0\0\0\0\0\0\xce", "\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\xce"),
    ] {
        let mut pair = Pair::connected();
        pair.feed(reply);
        let received = received.to_owned();
        assert_eq!(pair.happened(), not_opened(HandshakeError::NotAmqp { received }));
        assert_eq!(pair.sent_names(), ["AMQP"]);
    }
}

#[test]
fn a_server_of_another_protocol_is_told_apart_by_its_first_byte() {
    let mut pair = Pair::connected();
    pair.dribble(b"HTTP/1.1 400 Bad Request\r\n", 1);
    let received = "H".to_owned();
    assert_eq!(pair.happened(), not_opened(HandshakeError::NotAmqp { received }));
    assert!(pair.unparsed.is_empty());
}

#[test]
fn a_broker_without_our_mechanism_gets_no_credentials() {
    // A mechanism is a whole word of the list.
    for offered in ["", "EXTERNAL", "XPLAIN PLAINX plain", "AMQPLAIN"] {
        let mut pair = Pair::connected();
        pair.feed(&broker::start_offering(offered));
        let offered = offered.to_owned();
        assert_eq!(pair.happened(), not_opened(HandshakeError::NoCommonMechanism { offered }));
        assert_eq!(pair.sent_names(), ["AMQP"]);
    }
}

#[test]
fn a_refusal_of_the_credentials_is_told_and_answered() {
    let mut pair = up_to(Phase::Authentication);
    pair.feed(&broker::close(403, "ACCESS_REFUSED - Login was refused"));
    let reply_text = "ACCESS_REFUSED - Login was refused".to_owned();
    let error = HandshakeError::BadCredentials { reply_code: 403, reply_text };
    assert_eq!(pair.happened(), not_opened(error));
    assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
}

#[test]
fn a_refusal_of_the_virtual_host_is_told_and_answered() {
    for reply_code in [402, 403, 530] {
        let mut pair = up_to(Phase::Open);
        pair.feed(&broker::close(reply_code, "vhost / not found"));
        let (virtual_host, reply_text) = ("/".to_owned(), "vhost / not found".to_owned());
        let error = HandshakeError::AccessDenied { virtual_host, reply_code, reply_text };
        assert_eq!(pair.happened(), not_opened(error));
        assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
    }
}

#[test]
fn any_other_close_in_the_handshake_is_the_brokers_own_words() {
    for phase in PHASES {
        let mut pair = up_to(phase);
        pair.feed(&broker::close(541, "oops"));
        let reply_text = "oops".to_owned();
        let closed = Closed { by: Party::Broker, reply_code: 541, reply_text, cause: (0, 0) };
        assert_eq!(pair.happened(), not_opened(Error::ConnectionClosed(closed)), "{phase:?}");
        assert_eq!(pair.sent_names(), ["0 connection.close-ok"]);
    }
}

#[test]
fn the_end_of_the_stream_tells_the_phase() {
    for phase in PHASES {
        let mut pair = up_to(phase);
        // A frame that is cut off changes nothing.
        pair.feed(&broker::open_ok()[..5]);
        pair.lose();
        let cause = StreamLost::EndOfStream;
        assert_eq!(pair.happened(), not_opened(HandshakeError::Lost { phase, cause }));
        assert!(pair.machine.is_closed());
    }
}

#[test]
fn what_an_earlier_attempt_left_is_nothing_to_one_that_waits_for_its_stream() {
    let mut pair = Pair::with(ConnectionParameters::default());
    pair.feed(&broker::start());
    pair.feed(b"HTTP/1.1 400 Bad Request");
    pair.lose();
    assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    pair.unparsed.clear();
    pair.connect();
    pair.feed(&broker::start());
    assert_eq!(pair.sent_names(), ["AMQP", "0 connection.start-ok"]);
}

#[test]
fn a_close_by_the_user_ends_the_handshake_at_once() {
    let unconnected = Pair::with(ConnectionParameters::default());
    for mut pair in PHASES.map(up_to).into_iter().chain([unconnected]) {
        pair.close("bye").unwrap();
        assert_eq!(pair.close("bye"), Err(Misuse::ConnectionNotOpen));
        pair.settle();
        assert_eq!(pair.happened(), not_opened(ConnectError::Aborted));
        pair.feed(&broker::open_ok());
        pair.lose();
        assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
        assert_eq!(pair.machine.deadline(), None);
    }
}

#[test]
fn nothing_can_be_opened_before_the_connection_is() {
    for phase in PHASES {
        let mut pair = up_to(phase);
        assert_eq!(pair.ask_channel(None, "early"), Err(Misuse::ConnectionNotOpen));
        assert_eq!((pair.happened(), pair.sent()), (vec![], vec![]));
    }
}

#[test]
fn a_method_out_of_turn_is_503() {
    let tag = ShortStr::from("x");
    let out_of_turn: [(&str, Vec<u8>); 7] = [
        ("connection.start", broker::start()),
        ("connection.tune", broker::tune(0, 0)),
        ("connection.open-ok", broker::open_ok()),
        ("connection.close-ok", broker::close_ok()),
        ("connection.secure", broker::method(0, &connection::Secure::default())),
        ("connection.unblocked", broker::method(0, &connection::Unblocked {})),
        ("basic.cancel", broker::method(0, &basic::Cancel { consumer_tag: tag })),
    ];
    for phase in PHASES {
        for (method, bytes) in &out_of_turn {
            let in_turn = matches!(
                (phase, *method),
                (Phase::Protocol, "connection.start")
                    | (Phase::Authentication, "connection.tune" | "connection.secure")
                    | (Phase::Open, "connection.open-ok")
            );
            if in_turn {
                continue;
            }
            let mut pair = up_to(phase);
            pair.feed(bytes);
            assert_eq!(
                pair.happened(),
                not_opened(ProtocolError::UnexpectedMethod { channel: 0, method }),
                "{phase:?}"
            );
            let closes: Vec<u16> =
                broker::closes(&pair.sent()).into_iter().map(|(code, _)| code).collect();
            // A server that has not shown that it speaks AMQP is told nothing.
            let expected: &[u16] = if phase == Phase::Protocol { &[] } else { &[503] };
            assert_eq!(closes, expected, "{phase:?} {method}");
        }
    }
}

#[test]
fn channels_and_contents_have_no_place_in_the_handshake() {
    for phase in PHASES {
        let mut pair = up_to(phase);
        pair.feed(&broker::method(1, &channel::OpenOk {}));
        let method = "channel.open-ok";
        let error = ProtocolError::UnexpectedMethod { channel: 1, method };
        assert_eq!(pair.happened(), not_opened(error), "{phase:?}");
    }
    for phase in [Phase::Authentication, Phase::Open] {
        for (bytes, frame) in
            [(broker::header(1, 5), "content header"), (broker::body(1, b"x"), "content body")]
        {
            let mut pair = up_to(phase);
            pair.feed(&bytes);
            let error = ProtocolError::UnexpectedFrame { channel: 1, frame };
            assert_eq!(pair.happened(), not_opened(error), "{phase:?}");
            assert_eq!(broker::closes(&pair.sent())[0].0, 505);
        }
        let mut pair = up_to(phase);
        pair.feed(&broker::method(1, &queue::DeclareOk::default()));
        let method = "queue.declare-ok";
        let error = ProtocolError::UnexpectedMethod { channel: 1, method };
        assert_eq!(pair.happened(), not_opened(error), "{phase:?}");
    }
}

#[test]
fn heartbeats_are_taken_once_the_server_has_spoken() {
    let mut pair = up_to(Phase::Authentication);
    pair.feed(&broker::heartbeat());
    pair.feed(&broker::tune(0, 0));
    pair.feed(&broker::heartbeat());
    pair.feed(&broker::open_ok());
    pair.feed(&broker::heartbeat());
    assert_eq!(pair.happened(), [Happened::Opened]);
    assert_eq!(pair.sent_names(), ["0 connection.tune-ok", "0 connection.open"]);
    assert!(pair.unparsed.is_empty());
}

#[test]
fn the_whole_handshake_in_one_read_opens_and_what_follows_is_seen() {
    let mut pair = Pair::connected();
    let mut all = broker::start();
    all.extend(broker::tune(0, 0));
    all.extend(broker::open_ok());
    all.extend(broker::raw(9, 0, b""));
    pair.feed(&all);
    let error = Error::Protocol(crate::protocol::DecodeError::UnknownFrameKind(9).into());
    assert_eq!(pair.happened(), [Happened::Opened, Happened::Closed { error, was_open: true }]);
}
