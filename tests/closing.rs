//! How a connection ends over real sockets, whatever the broker does (hazards 12 and 16).

mod support;

use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::protocol::connection;
use haypile::{Closed, ConnectionCallbacks, Error, Party, queue};
use support::peers::{Peer, Wire, method_bytes};
use support::{Host, Log, broker, every_host};

every_host!(
    close_ok_is_the_last_word_though_more_was_to_read,
    closes_that_cross_are_both_answered,
    a_broker_that_does_not_answer_close_is_left,
    a_broker_that_dribbles_its_answer_is_left,
    a_broker_that_hangs_up_amid_its_answer_has_answered,
    everything_asked_for_is_answered_before_close,
    a_secret_is_replaced,
);

fn closed(by: Party, reply_code: u16, reply_text: &str) -> Error {
    Error::ConnectionClosed(Closed { by, reply_code, reply_text: reply_text.into(), cause: (0, 0) })
}

/// Opens a connection to a broker that does this, closes it if told so, and gives how it ended and
/// how long that took.
fn ended<H: Host>(
    close: bool,
    limit: Option<Duration>,
    script: impl FnOnce(&mut Wire) + Send + 'static,
) -> (Error, Duration) {
    let peer = Peer::new(|wire| {
        wire.open();
        script(wire);
    });
    let host = H::new();
    let mut parameters = peer.parameters();
    parameters.set_stack_timeout(limit).unwrap();
    let (end, begun) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(None)));
    let (note, begin, stop) = (Rc::clone(&end), Rc::clone(&begun), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            begin.set(Some(Instant::now()));
            if close {
                connection.close(200, "bye").unwrap();
            }
        })
        .on_close(move |_, reason| {
            note.set(Some(reason));
            stop();
        });
    drop(host.connect(parameters, callbacks));
    host.run();
    let took = begun.get().expect("it was open").elapsed();
    // What the peer still has to read is there, whatever becomes of the loop.
    drop(host);
    peer.join();
    (end.take().expect("it has ended"), took)
}

/// What comes until the end of the stream, which is not a reset.
fn rest(wire: &mut Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire.stream.read_to_end(&mut bytes).expect("an end in order");
    bytes
}

/// A broker's close.
fn forced() -> Vec<u8> {
    let (reply_code, reply_text) = (320, "forced".into());
    method_bytes(0, &connection::Close { reply_code, reply_text, class_id: 0, method_id: 0 })
}

fn close_ok_is_the_last_word_though_more_was_to_read<H: Host>() {
    let (error, _) = ended::<H>(false, None, |wire| {
        // More than one read takes.
        let mut bytes = forced();
        bytes.resize(400_000, 0);
        wire.send(bytes);
        assert_eq!(rest(wire), method_bytes(0, &connection::CloseOk {}));
    });
    assert_eq!(error, closed(Party::Broker, 320, "forced"));
}

fn closes_that_cross_are_both_answered<H: Host>() {
    let (error, _) = ended::<H>(true, None, |wire| {
        wire.expect("connection.close");
        // As one, so that we have got both.
        wire.send([forced(), method_bytes(0, &connection::CloseOk {})].concat());
        assert_eq!(rest(wire), method_bytes(0, &connection::CloseOk {}));
    });
    assert_eq!(error, closed(Party::Broker, 320, "forced"));
}

const LIMIT: Duration = Duration::from_millis(300);

fn a_broker_that_does_not_answer_close_is_left<H: Host>() {
    let (error, took) = ended::<H>(true, Some(LIMIT), |wire| {
        wire.expect("connection.close");
        assert_eq!(rest(wire), []);
    });
    assert_eq!(error, closed(Party::Client, 200, "bye"));
    assert!(took >= LIMIT, "{took:?}");
}

fn a_broker_that_dribbles_its_answer_is_left<H: Host>() {
    let (error, took) = ended::<H>(true, Some(LIMIT), |wire| {
        wire.expect("connection.close");
        assert!(
            !wire.send_slowly(method_bytes(0, &connection::CloseOk {}), LIMIT / 4),
            "nobody left"
        );
    });
    assert_eq!(error, closed(Party::Client, 200, "bye"));
    assert!(took >= LIMIT, "{took:?}");
}

fn a_broker_that_hangs_up_amid_its_answer_has_answered<H: Host>() {
    let (error, _) = ended::<H>(true, None, |wire| {
        wire.expect("connection.close");
        wire.send(&method_bytes(0, &connection::CloseOk {})[..5]);
    });
    assert_eq!(error, closed(Party::Client, 200, "bye"));
}

fn everything_asked_for_is_answered_before_close<H: Host>() {
    const REQUESTS: usize = 500;
    let log = Log::default();
    let told = log.clone();
    let host = H::new();
    let error = support::on_channel(&host, broker(), move |channel| {
        for _ in 0..REQUESTS {
            let told = told.clone();
            let declare = queue::Declare { exclusive: true, ..Default::default() };
            let declared = move |_: &_, reply: haypile::Result<_>| told.add(reply.is_ok());
            channel.queue_declare(declare, declared).unwrap();
        }
        channel.connection().close(200, "bye").unwrap();
    });
    assert_eq!(error, closed(Party::Client, 200, "bye"));
    assert_eq!(log.lines(), vec!["true"; REQUESTS]);
}

fn a_secret_is_replaced<H: Host>() {
    let log = Log::default();
    let told = log.clone();
    let host = H::new();
    let error = support::on_channel(&host, broker(), move |channel| {
        let connection = channel.connection();
        for secret in ["one", "two"] {
            let told = told.clone();
            let on_updated = move |connection: &haypile::Connection,
                                   updated: haypile::Result<()>| {
                told.add(format!("{secret} {updated:?}"));
                if secret == "two" {
                    connection.close(200, "bye").unwrap();
                }
            };
            connection.update_secret(secret, "a test", on_updated).unwrap();
        }
    });
    assert_eq!(error, closed(Party::Client, 200, "bye"));
    assert_eq!(log.lines(), ["one Ok(())", "two Ok(())"]);
}
