//! What networks do to a connection, with a real broker behind: [`Forward`] does it, at a frame.

mod support;

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use haypile::protocol::FrameKind;
use haypile::{
    BasicProperties, Channel, ConnectError, ConnectionCallbacks, ConnectionParameters, Delivery,
    Error, GetMessage, HandshakeError, Heartbeat, IoError, Phase, Result, StreamLost, basic, queue,
};
use support::forward::{End, Forward, Pace, Toward, Verdict};
use support::{Host, Lag, broker, close, every_host, publish, with_queue};

every_host!(
    a_connection_that_ends_in_the_handshake,
    a_connection_that_ends_at_rest,
    a_connection_that_ends_in_a_delivery,
    a_connection_that_ends_in_a_publish,
    a_half_open_connection_at_rest,
    a_half_open_connection_that_publishes,
    a_slow_network,
    a_network_that_stalls_for_a_while,
    a_handshake_that_dribbles,
    a_network_that_refuses,
);

const ENDS: [End; 2] = [End::Cut, End::Reset];

/// How the client is told of an end.
fn lost(end: End) -> StreamLost {
    match end {
        End::Cut => StreamLost::EndOfStream,
        End::Reset => {
            let reset = std::io::Error::from_raw_os_error(libc::ECONNRESET);
            StreamLost::Io(IoError::from(reset))
        }
    }
}

fn through(forward: &Forward) -> ConnectionParameters {
    forward.parameters(broker())
}

/// Connects to what never becomes a connection; gives the reason.
fn failure<H: Host>(parameters: ConnectionParameters) -> Error {
    let host = H::new();
    let failure = Rc::new(RefCell::new(None));
    let (note, stop) = (Rc::clone(&failure), host.stopper());
    let callbacks = ConnectionCallbacks::new().on_open(|_| panic!("it opens")).on_open_error(
        move |_, error| {
            note.replace(Some(error));
            stop();
        },
    );
    drop(host.connect(parameters, callbacks));
    host.run();
    failure.take().expect("it was told")
}

fn a_connection_that_ends_in_the_handshake<H: Host>() {
    let answers = [
        ("connection.start", Phase::Protocol),
        ("connection.tune", Phase::Authentication),
        ("connection.open-ok", Phase::Open),
    ];
    for (answer, phase) in answers {
        for end in ENDS {
            let forward = Forward::to(&broker());
            forward.end_at(end, Toward::Client, answer);
            let expected = HandshakeError::Lost { phase, cause: lost(end) };
            assert_eq!(failure::<H>(through(&forward)), expected.into(), "{end:?} at {answer}");
        }
    }
    // Within the first frame that the broker sends.
    let forward = Forward::to(&broker());
    forward.end_after(End::Cut, Toward::Client, 100);
    let cause = StreamLost::EndOfStream;
    let expected = HandshakeError::Lost { phase: Phase::Protocol, cause };
    assert_eq!(failure::<H>(through(&forward)), expected.into());
}

fn a_connection_that_ends_at_rest<H: Host>() {
    for end in ENDS {
        let forward = Forward::to(&broker());
        let parameters = through(&forward);
        let ended = support::on_channel(&H::new(), parameters, move |_| forward.end(end));
        assert_eq!(ended, lost(end).into());
    }
}

/// A queue that outlives connections, for as long as the scenario.
struct Queue(String);

impl Queue {
    fn declare<H: Host>() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("haypile-network-{}-{number}", std::process::id());
        let queue = name.clone();
        support::on_channel(&H::new(), broker(), move |channel| {
            let declare = queue::Declare { queue: queue.into(), ..Default::default() };
            let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
                declared.expect("declared");
                close(&channel.connection());
            };
            channel.queue_declare(declare, declared).expect("open");
        });
        Self(name)
    }

    /// Deletes it, once so many messages are in it.
    fn delete_with<H: Host>(self, count: u32) {
        support::on_channel(&H::new(), broker(), move |channel| {
            let name = self.0.clone();
            when_it_has(channel, self.0, count, |channel| {
                let delete = queue::Delete { queue: name.into(), ..Default::default() };
                let deleted = |channel: &Channel, deleted: Result<queue::DeleteOk>| {
                    deleted.expect("deleted");
                    close(&channel.connection());
                };
                channel.queue_delete(delete, deleted).expect("open");
            });
        });
    }
}

/// Asks again and again, until that many messages are in a queue.
fn when_it_has(channel: &Channel, name: String, count: u32, then: impl FnOnce(&Channel) + 'static) {
    let declare =
        queue::Declare { queue: name.clone().into(), passive: true, ..Default::default() };
    let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let messages = declared.expect("declared").message_count;
        assert!(messages <= count, "{messages} messages");
        match messages == count {
            true => then(channel),
            false => when_it_has(channel, name, count, then),
        }
    };
    channel.queue_declare(declare, declared).expect("open");
}

/// Ends the connection in the middle of a body frame: of that number, of those that go that way.
fn end_in_body(forward: &Forward, end: End, toward: Toward, number: usize) {
    let mut bodies = 0;
    forward.inspect(move |way, frame| {
        bodies += usize::from(way == toward && frame.kind == FrameKind::Body);
        if bodies == number {
            return Verdict::End(end, 7 + frame.payload.len() / 2);
        }
        Verdict::Pass
    });
}

/// Half a message is none. Whatever was not acknowledged is in the queue again.
fn a_connection_that_ends_in_a_delivery<H: Host>() {
    for end in ENDS {
        let queue = Queue::declare::<H>();
        let name = queue.0.clone();
        let forward = Forward::to(&broker());
        end_in_body(&forward, end, Toward::Client, 5);
        let told = Rc::new(Cell::new(0));
        let tell = Rc::clone(&told);
        let ended = support::on_channel(&H::new(), through(&forward), move |channel| {
            (0..10).for_each(|number| publish(channel, &name, format!("message {number}")));
            let consume = basic::Consume { queue: name.as_str().into(), ..Default::default() };
            let on_message = move |_: &Channel, delivery: &Delivery<'_>| {
                let number = tell.get();
                assert_eq!(delivery.body(), format!("message {number}").as_bytes());
                tell.set(number + 1);
            };
            let started = |_: &Channel, started: Result<_>| {
                let _: basic::ConsumeOk<'_> = started.expect("consuming");
            };
            channel.basic_consume(consume, on_message, started).expect("open");
        });
        assert_eq!(ended, lost(end).into());
        assert_eq!(told.get(), 4);
        queue.delete_with::<H>(10);
    }
}

fn a_connection_that_ends_in_a_publish<H: Host>() {
    for end in ENDS {
        let queue = Queue::declare::<H>();
        let name = queue.0.clone();
        let forward = Forward::to(&broker());
        end_in_body(&forward, end, Toward::Broker, 5);
        let ended = support::on_channel(&H::new(), through(&forward), move |channel| {
            (0..4).for_each(|_| publish(channel, &name, "whole"));
            // They are there; the next one never is.
            let queue = name.clone();
            when_it_has(channel, queue, 4, move |channel| publish(channel, &name, "cut"));
        });
        assert_eq!(ended, lost(end).into());
        queue.delete_with::<H>(4);
    }
}

/// Nothing goes to and fro any more, and nothing says so.
fn half_open<H: Host>(work: impl Fn(&Channel) + 'static) {
    let interval = Duration::from_secs(1);
    let host = H::new();
    let forward = Rc::new(Forward::to(&broker()));
    let mut parameters = through(&forward);
    parameters.set_heartbeat(Heartbeat::Exactly(1));
    let stalled = Rc::new(Cell::new(None));
    let (note, network, services) = (Rc::clone(&stalled), Rc::clone(&forward), host.services());
    let lag = Lag::watch(&services);
    let ended = support::on_channel(&host, parameters, move |channel| {
        network.stall(Toward::Client);
        network.stall(Toward::Broker);
        note.set(Some(Instant::now()));
        let channel = channel.clone();
        services.call_every(Duration::from_millis(100), move || work(&channel));
    });
    assert_eq!(ended, Error::HeartbeatTimeout { interval });
    lag.assert_within(2 * interval, stalled.get().expect("it was open"), Instant::now());
}

fn a_half_open_connection_at_rest<H: Host>() {
    half_open::<H>(|_| ());
}

/// Its buffers fill, and it can write no more. What is refused for that, or for the end, is so.
fn a_half_open_connection_that_publishes<H: Host>() {
    let body = vec![0; 1 << 20];
    half_open::<H>(move |channel| {
        let to = basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
        drop(channel.basic_publish(to, &BasicProperties::default(), &body[..]));
    });
}

fn a_slow_network<H: Host>() {
    let paces = [
        Pace::dribble(Duration::ZERO),
        Pace::delay(Duration::from_millis(5)),
        Pace::throttle(50_000),
    ];
    for pace in paces {
        let forward = Forward::to(&broker());
        forward.pace(Toward::Client, pace);
        forward.pace(Toward::Broker, pace);
        let ended = support::on_channel(&H::new(), through(&forward), |channel| {
            with_queue(channel, |channel, queue| {
                let body = "slow ".repeat(1000);
                publish(channel, &queue, body.as_str());
                let get = basic::Get { queue: queue.into(), no_ack: true };
                let got = move |channel: &Channel, got: Result<Option<GetMessage<'_>>>| {
                    let got = got.expect("an answer").expect("a message");
                    assert_eq!(got.body(), body.as_bytes());
                    close(&channel.connection());
                };
                channel.basic_get(get, got).expect("open");
            });
        });
        assert!(matches!(ended, Error::ConnectionClosed(_)), "{pace:?}: {ended}");
    }
}

fn a_network_that_stalls_for_a_while<H: Host>() {
    let host = H::new();
    let forward = Rc::new(Forward::to(&broker()));
    let (network, services) = (Rc::clone(&forward), host.services());
    let ended = support::on_channel(&host, through(&forward), move |channel| {
        with_queue(channel, move |channel, queue| {
            let both = [Toward::Client, Toward::Broker];
            both.into_iter().for_each(|way| network.stall(way));
            let stalled = Rc::new(Cell::new(true));
            let goes_on = Rc::clone(&stalled);
            services.call_later(Duration::from_millis(200), move || {
                goes_on.set(false);
                both.into_iter().for_each(|way| network.resume(way));
            });
            publish(channel, &queue, "late");
            let get = basic::Get { queue: queue.into(), no_ack: true };
            let got = move |channel: &Channel, got: Result<Option<GetMessage<'_>>>| {
                assert!(!stalled.get());
                assert_eq!(got.expect("an answer").expect("a message").body(), b"late");
                close(&channel.connection());
            };
            channel.basic_get(get, got).expect("open");
        });
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
}

/// Bytes come all the time, and the limit holds all the same.
fn a_handshake_that_dribbles<H: Host>() {
    let forward = Forward::to(&broker());
    forward.pace(Toward::Client, Pace::dribble(Duration::from_millis(50)));
    let mut parameters = through(&forward);
    let limit = Duration::from_millis(300);
    parameters.set_stack_timeout(Some(limit)).expect("not zero");
    let expected = HandshakeError::TimedOut { phase: Phase::Protocol, limit };
    assert_eq!(failure::<H>(parameters), expected.into());
}

fn a_network_that_refuses<H: Host>() {
    let forward = Forward::refusing(&broker());
    let refused = || {
        let failure = failure::<H>(through(&forward));
        let Error::Connect(ConnectError::Socket { address, cause, .. }) = failure else {
            panic!("{failure:?}");
        };
        assert_eq!((address, cause.kind()), (forward.address(), ErrorKind::ConnectionRefused));
    };
    refused();
    forward.accept();
    let ended = support::on_channel(&H::new(), through(&forward), |channel| {
        close(&channel.connection());
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    assert_eq!(forward.accepted(), 1);
    forward.refuse();
    refused();
}
