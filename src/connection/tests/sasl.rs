//! Authentication of several steps, by credentials that take their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::broker;
use super::pair::{Happened, Pair};
use crate::connection::{Challenge, ConnectionParameters, Credentials, SaslAnswer};
use crate::error::{HandshakeError, Phase, ProtocolError};
use crate::protocol::{Frame, Method, connection};

/// RabbitMQ's RABBIT-CR-DEMO: the user name first, the password when asked.
struct TwoSteps;

impl Credentials for TwoSteps {
    fn mechanism(&self) -> &str {
        "TWO-STEPS"
    }

    fn start(&self, answer: SaslAnswer) {
        answer.respond_and_then("me", |challenge, answer| {
            let challenge = String::from_utf8_lossy(challenge).into_owned();
            answer.respond(format!("{challenge} My password is it"));
        });
    }
}

fn pair_with(credentials: impl Credentials) -> Pair {
    let mut parameters = ConnectionParameters::default();
    parameters.set_credentials(credentials);
    let mut pair = Pair::with(parameters);
    pair.connect();
    pair.sent();
    pair
}

fn secure(challenge: &str) -> Vec<u8> {
    broker::method(0, &connection::Secure { challenge: challenge.into() })
}

fn closed(error: impl Into<crate::Error>) -> [Happened; 1] {
    [Happened::Closed { error: error.into(), was_open: false }]
}

#[test]
fn several_steps() {
    let mut pair = pair_with(TwoSteps);
    pair.feed(&broker::start_offering("PLAIN TWO-STEPS"));
    let sent = pair.sent();
    let (frame, _) = Frame::parse(&sent, 0).unwrap().unwrap();
    let Ok(Method::Connection(connection::Method::StartOk(start_ok))) =
        Method::decode(frame.payload)
    else {
        panic!("no StartOk");
    };
    assert_eq!(start_ok.mechanism.as_bytes(), b"TWO-STEPS");
    assert_eq!(start_ok.response.as_bytes(), b"me");
    pair.feed(&secure("Yes?"));
    let sent = pair.sent();
    let (frame, _) = Frame::parse(&sent, 0).unwrap().unwrap();
    let Ok(Method::Connection(connection::Method::SecureOk(secure_ok))) =
        Method::decode(frame.payload)
    else {
        panic!("no SecureOk");
    };
    assert_eq!(secure_ok.response.as_bytes(), b"Yes? My password is it");
    pair.feed(&broker::tune(0, 0));
    pair.feed(&broker::open_ok());
    assert_eq!(pair.happened(), [Happened::Opened]);
}

/// A broker that goes on before it has its answer breaks the protocol; one that gives up does not.
#[test]
fn while_the_credentials_take_their_time() {
    let waiting = || {
        let mut pair = pair_with(TwoSteps);
        pair.patient = true;
        pair.feed(&broker::start_offering("TWO-STEPS"));
        assert_eq!((pair.sent(), pair.happened()), (vec![], vec![]));
        assert!(pair.machine.awaits_response());
        pair
    };
    let mut pair = waiting();
    pair.answer(Challenge::Start);
    assert_eq!(pair.sent_names(), ["0 connection.start-ok"]);
    assert!(!pair.machine.awaits_response());

    for (method, bytes) in
        [("connection.tune", broker::tune(0, 0)), ("connection.secure", secure("?"))]
    {
        let mut pair = waiting();
        pair.feed(&bytes);
        let error = ProtocolError::UnexpectedMethod { channel: 0, method };
        assert_eq!(pair.happened(), closed(error));
        assert!(!pair.machine.awaits_response());
        pair.machine.respond(b"late".to_vec());
        assert_eq!(pair.sent_names(), ["0 connection.close"]);
    }

    let mut pair = waiting();
    pair.feed(&broker::close(403, "ACCESS_REFUSED"));
    let (reply_code, reply_text) = (403, "ACCESS_REFUSED".into());
    assert_eq!(pair.happened(), closed(HandshakeError::BadCredentials { reply_code, reply_text }));

    let mut pair = waiting();
    pair.wait(std::time::Duration::from_secs(15));
    let (phase, limit) = (Phase::Authentication, std::time::Duration::from_secs(15));
    assert_eq!(pair.happened(), closed(HandshakeError::TimedOut { phase, limit }));
}

/// A mechanism with no name that could be sent is not offered, whatever the broker says.
#[test]
fn a_mechanism_that_is_too_long_to_be_named() {
    struct Long(String);
    impl Credentials for Long {
        fn mechanism(&self) -> &str {
            &self.0
        }
        fn start(&self, _: SaslAnswer) {
            unreachable!("it cannot be chosen")
        }
    }
    let name = "X".repeat(256);
    let mut pair = pair_with(Long(name.clone()));
    pair.feed(&broker::start_offering(&name));
    assert_eq!(pair.happened(), closed(HandshakeError::NoCommonMechanism { offered: name }));
}

#[test]
fn credentials_can_be_shared() {
    struct Counted(AtomicUsize);
    impl Credentials for Counted {
        fn mechanism(&self) -> &str {
            "PLAIN"
        }
        fn start(&self, answer: SaslAnswer) {
            self.0.fetch_add(1, Ordering::Relaxed);
            answer.respond("");
        }
    }
    let counted = Arc::new(Counted(AtomicUsize::new(0)));
    for _ in 0..2 {
        pair_with(Arc::clone(&counted)).feed(&broker::start());
    }
    assert_eq!(counted.0.load(Ordering::Relaxed), 2);
}
