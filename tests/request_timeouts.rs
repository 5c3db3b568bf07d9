//! Requests that a broker does not answer in time: a fake one that answers late, and RabbitMQ while
//! it is paused.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use haypile::protocol::{Method, channel};
use haypile::{Channel, Connection, Error, GetMessage, Heartbeat, Misuse, Result, basic, queue};
use support::peers::{Peer, Wire, message};
use support::{BrokerControl, Host, Log, broker, close, every_host, publish, with_queue};

every_host!(
    what_comes_too_late_is_undone,
    a_channel_that_is_not_closed_in_time_ends_and_its_number_comes_back,
    a_paused_broker_times_requests_out_and_nothing_is_lost,
);

const LIMIT: Duration = Duration::from_millis(100);

fn timed_out<T: std::fmt::Debug>(reply: Result<T>, request: &'static str) {
    assert_eq!(reply.err(), Some(Error::RequestTimeout { method: request, limit: LIMIT }));
}

/// Calls `then` when it was called for all of so many.
fn after(count: usize, then: impl Fn() + 'static) -> impl Fn() + Clone + 'static {
    let (left, then) = (Rc::new(Cell::new(count)), Rc::new(then));
    move || {
        left.set(left.get() - 1);
        if left.get() == 0 {
            then();
        }
    }
}

fn requested(wire: &mut Wire, requests: &[(u16, &str)]) {
    for (channel, request) in requests {
        let received = wire.expect(request);
        assert_eq!(received.channel, *channel, "{request}");
    }
}

fn what_comes_too_late_is_undone<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.open();
        for _ in 1..=3 {
            wire.grant("channel.open");
        }
        let asked = [(1, "basic.get"), (2, "basic.consume"), (3, "queue.declare")];
        requested(wire, &asked);
        requested(wire, &[(4, "channel.open")]);
        // They have all been given up by now.
        requested(wire, &[(3, "basic.publish")]);
        wire.send(message(1, &basic::GetOk { delivery_tag: 9, ..Default::default() }, b"late"));
        match wire.expect("basic.reject").method() {
            Method::Basic(basic::Method::Reject(reject)) => {
                assert_eq!(reject, basic::Reject { delivery_tag: 9, requeue: true });
            }
            other => panic!("{}", other.name()),
        }
        wire.method(2, &basic::ConsumeOk { consumer_tag: "mine".into() });
        let cancel = wire.expect("basic.cancel");
        wire.send(support::peers::delivery(2, "mine", 5, b"late"));
        requested(wire, &[(2, "basic.reject")]);
        wire.answer(&cancel);
        wire.method(3, &queue::DeclareOk { queue: "late".into(), ..Default::default() });
        wire.method(4, &channel::OpenOk {});
        let close = wire.expect("channel.close");
        assert_eq!(close.channel, 4);
        wire.answer(&close);
        assert!(wire.obey());
    });
    let host = H::new();
    let log = Log::default();
    let lines = log.clone();
    let ended = support::on_channel(&host, peer.parameters(), move |first| {
        let (first, connection) = (first.clone(), first.connection());
        let second = connection.channel(None, |_, ok| ok.expect("it opens")).unwrap();
        // Opened in order: when the last is open, so are the others.
        let opened = move |third: &Channel, opened: Result<()>| {
            opened.expect("it opens");
            ask(&third.connection(), [&first, &second, third], lines);
        };
        connection.channel(None, opened).unwrap();
    });
    assert_eq!(ended.to_string(), "connection closed by this client: (200) the test is done");
    assert_eq!(log.lines(), ["get", "consume", "declare", "open"]);
    peer.join();
}

fn ask(connection: &Connection, [first, second, third]: [&Channel; 3], log: Log) {
    let told = after(4, {
        let third = third.clone();
        move || publish(&third, "now", "be late")
    });
    let note = |name: &'static str| {
        let (log, told) = (log.clone(), told.clone());
        move || {
            log.add(name);
            told();
        }
    };
    for channel in [first, second, third] {
        channel.set_request_timeout(LIMIT).unwrap();
    }
    let noted = note("get");
    first
        .basic_get(basic::Get::default(), move |_, got| {
            timed_out(got, "basic.get");
            noted();
        })
        .unwrap();
    let noted = note("consume");
    let consume = basic::Consume { consumer_tag: "mine".into(), ..Default::default() };
    let started = move |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
        timed_out(started, "basic.consume");
        noted();
    };
    second.basic_consume(consume, |_, _| panic!("it is late"), started).unwrap();
    let noted = note("declare");
    let declared = move |_: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        timed_out(declared, "queue.declare");
        noted();
    };
    third.queue_declare(queue::Declare::default(), declared).unwrap();
    let noted = note("open");
    connection.set_request_timeout(LIMIT).unwrap();
    let opened = move |_: &Channel, opened: Result<()>| {
        timed_out(opened, "channel.open");
        noted();
    };
    let fourth = connection.channel(None, opened).unwrap();
    fourth.add_on_close_callback(|channel, _| close(&channel.connection())).unwrap();
}

fn a_channel_that_is_not_closed_in_time_ends_and_its_number_comes_back<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.open();
        wire.grant("channel.open");
        let closing = wire.expect("channel.close");
        // The other channel has the next number.
        let open = wire.expect("channel.open");
        assert_eq!(open.channel, 2);
        wire.answer(&open);
        let declare = wire.expect("queue.declare");
        wire.answer(&closing);
        wire.answer(&declare);
        let open = wire.expect("channel.open");
        assert_eq!(open.channel, 1);
        wire.answer(&open);
        assert!(wire.obey());
    });
    let host = H::new();
    let ended = support::on_channel(&host, peer.parameters(), |channel| {
        channel.set_request_timeout(LIMIT).unwrap();
        let closed = |channel: &Channel, reason: Error| {
            timed_out::<()>(Err(reason), "channel.close");
            assert!(channel.is_closed());
            let connection = channel.connection();
            let in_use = connection.channel(1, |_, _| unreachable!("refused"));
            assert_eq!(in_use.err(), Some(Misuse::ChannelNumberInUse(1).into()));
            let opened = |channel: &Channel, opened: Result<()>| {
                opened.expect("it opens");
                with_queue(channel, |channel, _| {
                    let opened = |channel: &Channel, opened: Result<()>| {
                        opened.expect("it opens");
                        close(&channel.connection());
                    };
                    channel.connection().channel(1, opened).expect("its number is free");
                });
            };
            connection.channel(None, opened).unwrap();
        };
        channel.add_on_close_callback(closed).unwrap();
        channel.close(200, "bye").unwrap();
    });
    assert_eq!(ended.to_string(), "connection closed by this client: (200) the test is done");
    peer.join();
}

/// What was asked of RabbitMQ while it was paused is answered late: the message that was fetched is
/// back in its queue, and nobody consumes from it.
fn a_paused_broker_times_requests_out_and_nothing_is_lost<H: Host>() {
    let control = Rc::new(BrokerControl::take());
    let mut parameters = broker();
    parameters.set_heartbeat(Heartbeat::Exactly(0));
    let host = H::new();
    let ended = support::on_channel(&host, parameters, move |channel| {
        channel.confirm_delivery(|_, _| (), |_, ok| ok.expect("selected")).unwrap();
        with_queue(channel, move |channel, queue| {
            publish(channel, &queue, "precious");
            let (power, name) = (Rc::clone(&control), queue.clone());
            let published = move |channel: &Channel, summary: Result<haypile::ConfirmSummary>| {
                assert!(summary.expect("in time").is_all_acked());
                power.run("pause");
                ask_the_paused(channel, name, power);
            };
            channel.when_confirmed(published).unwrap();
        });
    });
    assert_eq!(ended.to_string(), "connection closed by this client: (200) the test is done");
}

fn ask_the_paused(channel: &Channel, queue: String, control: Rc<BrokerControl>) {
    channel.set_request_timeout(LIMIT).unwrap();
    let told = after(4, {
        let (channel, queue) = (channel.clone(), queue.clone());
        move || {
            control.run("resume");
            channel.set_request_timeout(None).unwrap();
            look(&channel, &queue);
        }
    });
    let noted = told.clone();
    let get = basic::Get { queue: queue.as_str().into(), no_ack: false };
    channel
        .basic_get(get, move |_, got: Result<Option<GetMessage<'_>>>| {
            timed_out(got, "basic.get");
            noted();
        })
        .unwrap();
    let noted = told.clone();
    let consume = basic::Consume { queue: queue.as_str().into(), ..Default::default() };
    let started = move |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
        timed_out(started, "basic.consume");
        noted();
    };
    channel.basic_consume(consume, |_, _| panic!("it is late"), started).unwrap();
    publish(channel, "nowhere", "not confirmed");
    let noted = told.clone();
    channel
        .when_confirmed(move |_, summary| {
            timed_out(summary, "basic.publish");
            noted();
        })
        .unwrap();
    // Behind both, so that it is not even sent; once more for its message to be put back.
    let get = basic::Get { queue: queue.into(), no_ack: true };
    channel
        .basic_get(get, move |_, got: Result<Option<GetMessage<'_>>>| {
            timed_out(got, "basic.get");
            told();
        })
        .unwrap();
}

fn look(channel: &Channel, queue: &str) {
    let look = queue::Declare { queue: queue.into(), passive: true, ..Default::default() };
    let looked = |channel: &Channel, looked: Result<queue::DeclareOk<'static>>| {
        assert_eq!(looked.expect("it is there").consumer_count, 0);
        // What waited for confirms too long is counted when somebody waits again.
        let confirmed = |channel: &Channel, summary: Result<haypile::ConfirmSummary>| {
            assert_eq!(summary.expect("in time").acked, 1);
            close(&channel.connection());
        };
        channel.when_confirmed(confirmed).unwrap();
    };
    // Not by the count of messages, which the broker takes before it has put those back that come.
    let get = basic::Get { queue: queue.into(), no_ack: true };
    channel
        .basic_get(get, |_, got| {
            let got = got.expect("in time").expect("it is back");
            assert_eq!((got.body(), got.method().redelivered), (&b"precious"[..], true));
        })
        .unwrap();
    channel.queue_declare(look, looked).unwrap();
}
