//! No credentials in what is printed or logged, whatever happens to a connection; and what every
//! error can do.

mod support;

use haypile::protocol::connection;
use haypile::{
    ConnectionCallbacks, ConnectionParameters, Error, Misuse, PublishError, Undelivered,
};
use support::peers::{Peer, SECRET};
use support::{Host, Log, broker, every_host, logs};

every_host!(a_whole_run_tells_no_secret, a_run_on_the_broker_tells_no_secret);

/// What a secret is replaced by.
const NEXT: &str = "n3xt-s3cr3t";

#[test]
fn errors_are_values_that_cross_threads() {
    const fn is_value<T: Clone + PartialEq + Send + Sync + std::error::Error + 'static>() {}
    is_value::<Error>();
    is_value::<Misuse>();
    is_value::<PublishError>();
    is_value::<haypile::ConnectError>();
    is_value::<haypile::HandshakeError>();
    is_value::<haypile::IoError>();
    is_value::<haypile::LoopError>();
    is_value::<haypile::ParametersError>();
    is_value::<haypile::ProtocolError>();
    is_value::<haypile::StreamLost>();
}

#[track_caller]
fn assert_none(text: &str) {
    for secret in [SECRET, NEXT] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn no_text_of_a_url_shows_its_password() {
    let refused = ["h:99999", "h:x", "h?x=1", "h?heartbeat=x", "h/a/b", "h#f", "[::1", "h%ff/"];
    for rest in refused {
        for scheme in ["amqp", "amqps", "http", "amqpx"] {
            let read = format!("{scheme}://me:{SECRET}@{rest}").parse::<ConnectionParameters>();
            let error = read.expect_err("it cannot be read");
            assert_none(&format!("{error} {error:?}"));
        }
    }
    let parameters: ConnectionParameters = format!("amqp://me:{SECRET}@h").parse().unwrap();
    assert_none(&format!("{parameters:?} {:?}", parameters.credentials()));
}

#[test]
fn no_method_prints_its_secret() {
    let update = connection::UpdateSecret { new_secret: NEXT.into(), reason: "it expires".into() };
    let text = format!("{update:?}");
    assert_none(&text);
    assert!(text.contains("it expires"), "{text}");
    let response = format!("\0me\0{SECRET}").into();
    assert_none(&format!("{:?}", connection::StartOk { response, ..Default::default() }));
    let response = SECRET.into();
    assert_none(&format!("{:?}", connection::SecureOk { response }));
}

/// Opens, replaces the secret, is refused calls, is closed; notes all that is printed.
fn run<H: Host>(parameters: ConnectionParameters) {
    logs::keep();
    logs::take();
    let host = H::new();
    let texts = Log::default();
    texts.add(format!("{parameters:?}"));
    let (told, ended, stop) = (texts.clone(), texts.clone(), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            told.add(format!("{connection:?} {:?}", connection.services()));
            told.add(format!("{:?}", connection.parameters().expect("it is open")));
            let too_long = connection.update_secret(NEXT, "x".repeat(256), |_, _| ());
            told.add(format!("{too_long:?}"));
            let log = told.clone();
            let on_updated = move |connection: &haypile::Connection, updated| {
                log.add(format!("{updated:?}"));
                connection.close(200, "bye").unwrap();
                let late = connection.update_secret(NEXT, "too late", |_, _| ());
                log.add(format!("{late:?}"));
            };
            connection.update_secret(NEXT, "it expires", on_updated).unwrap();
            let undelivered: Undelivered = connection.undelivered();
            told.add(format!("{undelivered:?} {:?}", connection.counters()));
        })
        .on_close(move |connection, reason| {
            ended.add(format!("{connection:?} {reason} {reason:?}"));
            stop();
        });
    texts.add(format!("{callbacks:?}"));
    let connection = host.connect(parameters, callbacks);
    texts.add(format!("{:?}", **connection));
    host.run();
    assert!(texts.has("Ok(())"), "it was replaced: {:?}", texts.lines());
    assert_none(&format!("{:?} {:?}", texts.lines(), logs::take()));
}

fn a_whole_run_tells_no_secret<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.open();
        wire.expect("connection.update-secret");
        wire.method(0, &connection::UpdateSecretOk {});
        assert!(wire.obey());
    });
    run::<H>(peer.parameters());
    peer.join();
}

fn a_run_on_the_broker_tells_no_secret<H: Host>() {
    run::<H>(broker());
}
