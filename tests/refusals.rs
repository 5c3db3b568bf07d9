//! What RabbitMQ refuses on an open connection: the request that it refuses is told, then whoever
//! watches the channel, and what is not concerned lives on.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, Closed, ConnectionCallbacks, Error, Party, Result, basic, exchange,
    queue,
};
use support::{Host, Log, broker, close, every_host};

every_host!(
    a_passive_declare_of_an_unknown_queue,
    a_declare_that_differs,
    a_publish_to_an_unknown_exchange,
    an_acknowledgement_of_an_unknown_delivery,
    what_waits_behind_a_refused_request_is_refused_with_it,
    an_exchange_of_an_unknown_type_ends_the_connection,
);

/// Runs the scenario on a channel whose end is logged, as is that of its connection. Once the
/// channel has ended, another one is opened and closes the connection; if it cannot be, the
/// connection has ended too. Gives the log.
fn ended<H: Host>(scenario: impl FnOnce(&Channel, &Log) + 'static) -> Vec<String> {
    let host = H::new();
    let log = Log::default();
    let (opened, ended, stop) = (log.clone(), log.clone(), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let on_open = move |channel: &Channel, open: Result<()>| {
                open.expect("the channel opens");
                let (first, second) = (opened.clone(), opened.clone());
                let on_close = move |channel: &Channel, error: Error| {
                    assert!(channel.is_closed() && !channel.is_open());
                    first.add(format!("channel: {}", outline(&error)));
                    let connection = channel.connection();
                    let again = move |channel: &Channel, open: Result<()>| {
                        assert_eq!(channel.channel_number(), 1, "the number is free again");
                        second.add(format!("another channel: {open:?}"));
                        close(&channel.connection());
                    };
                    drop(connection.channel(None, again));
                };
                channel.add_on_close_callback(on_close).unwrap();
                scenario(channel, &opened);
            };
            connection.channel(None, on_open).unwrap();
        })
        .on_close(move |_, error| {
            ended.add(format!("connection: {}", outline(&error)));
            stop();
        });
    host.connect(broker(), callbacks);
    host.run();
    log.lines()
}

/// What happened, with the code and the first word, which RabbitMQ keeps from version to version.
fn outline(error: &Error) -> String {
    let (what, closed) = match error {
        Error::ChannelClosed(closed) => ("channel", closed),
        Error::ConnectionClosed(closed) => ("connection", closed),
        other => return format!("{other:?}"),
    };
    let Closed { by, reply_code, reply_text, cause } = closed;
    let word = reply_text.split(' ').next().unwrap_or_default();
    let by = if *by == Party::Broker { "broker" } else { "client" };
    format!("{what} closed by {by}: {reply_code} {word} {cause:?}")
}

/// A completion that logs what it was told.
fn note<R: std::fmt::Debug>(
    log: &Log,
    name: &'static str,
) -> impl FnOnce(&Channel, Result<R>) + use<R> {
    let log = log.clone();
    move |_, reply| match reply {
        Ok(_) => log.add(format!("{name}: done")),
        Err(error) => log.add(format!("{name}: {}", outline(&error))),
    }
}

fn unknown() -> String {
    format!("haypile-unknown-{}", std::process::id())
}

const GOES_ON: [&str; 2] =
    ["another channel: Ok(())", "connection: connection closed by client: 200 the (0, 0)"];

fn a_passive_declare_of_an_unknown_queue<H: Host>() {
    let lines = ended::<H>(|channel, log| {
        let declare =
            queue::Declare { queue: unknown().into(), passive: true, ..Default::default() };
        channel.queue_declare(declare, note(log, "declare")).unwrap();
    });
    let why = "channel closed by broker: 404 NOT_FOUND (50, 10)";
    let expected = [&format!("declare: {why}"), &format!("channel: {why}"), GOES_ON[0], GOES_ON[1]];
    assert_eq!(lines, expected);
}

fn a_declare_that_differs<H: Host>() {
    let lines = ended::<H>(|channel, log| {
        let queue = format!("haypile-differs-{}-{}", std::process::id(), H::NAME);
        let first =
            queue::Declare { queue: queue.as_str().into(), exclusive: true, ..Default::default() };
        let differs = queue::Declare { auto_delete: true, ..first.clone() };
        channel.queue_declare(first, note(log, "first")).unwrap();
        channel.queue_declare(differs, note(log, "second")).unwrap();
    });
    let why = "channel closed by broker: 406 PRECONDITION_FAILED (50, 10)";
    assert_eq!(lines[..3], ["first: done", &format!("second: {why}"), &format!("channel: {why}")]);
    assert_eq!(lines[3..], GOES_ON);
}

fn a_publish_to_an_unknown_exchange<H: Host>() {
    let lines = ended::<H>(|channel, _| {
        let to = basic::Publish { exchange: unknown().into(), ..Default::default() };
        channel.basic_publish(to, &BasicProperties::default(), "lost").unwrap();
    });
    let why = "channel: channel closed by broker: 404 NOT_FOUND (60, 40)";
    assert_eq!(lines, [why, GOES_ON[0], GOES_ON[1]]);
}

fn an_acknowledgement_of_an_unknown_delivery<H: Host>() {
    let lines = ended::<H>(|channel, _| {
        channel.basic_ack(basic::Ack { delivery_tag: 7, multiple: false }).unwrap();
    });
    let why = "channel: channel closed by broker: 406 PRECONDITION_FAILED (60, 80)";
    assert_eq!(lines, [why, GOES_ON[0], GOES_ON[1]]);
}

fn what_waits_behind_a_refused_request_is_refused_with_it<H: Host>() {
    let lines = ended::<H>(|channel, log| {
        let passive =
            queue::Declare { queue: unknown().into(), passive: true, ..Default::default() };
        channel.queue_declare(passive, note(log, "passive")).unwrap();
        let get = basic::Get { queue: unknown().into(), no_ack: true };
        let got = note(log, "get");
        channel.basic_get(get, move |channel, result| got(channel, result.map(|_| ()))).unwrap();
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        channel.queue_declare(declare, note(log, "declare")).unwrap();
        let consume = basic::Consume { queue: unknown().into(), ..Default::default() };
        let silent = |_: &Channel, _: &haypile::Delivery<'_>| unreachable!("nothing is consumed");
        channel.basic_consume(consume, silent, note(log, "consume")).unwrap();
        channel.close(200, "after all of them").unwrap();
    });
    let why = "channel closed by broker: 404 NOT_FOUND (50, 10)";
    let told =
        ["passive", "get", "declare", "consume", "channel"].map(|who| format!("{who}: {why}"));
    assert_eq!(lines[..5], told);
    assert_eq!(lines[5..], GOES_ON);
}

fn an_exchange_of_an_unknown_type_ends_the_connection<H: Host>() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let idle = Rc::clone(&log);
    let lines = ended::<H>(move |channel, log| {
        let declare = exchange::Declare {
            exchange: unknown().into(),
            exchange_type: "no-such-type".into(),
            ..Default::default()
        };
        // A channel that has nothing to do with it goes down as well.
        let other = channel.connection().channel(None, |_, _| ()).unwrap();
        other.add_on_close_callback(move |_, error| idle.borrow_mut().push(error)).unwrap();
        channel.exchange_declare(declare, note(log, "declare")).unwrap();
    });
    let why = "connection closed by broker: 503 COMMAND_INVALID (40, 10)";
    assert_eq!(lines, ["declare", "channel", "connection"].map(|who| format!("{who}: {why}")));
    let [error] = &log.borrow()[..] else { panic!("{log:?}") };
    assert_eq!(outline(error), why);
}
