//! Calls that are wrong: each is refused with its own error, before anything is sent, and the
//! closures that came with it are dropped uncalled.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use haypile::protocol::EncodeError;
use haypile::{
    BasicProperties, Channel, Connection, ConnectionCallbacks, Counters, Delivery, Error,
    GetMessage, Misuse, Result, Services, basic, exchange, queue, tx,
};
use support::peers::Peer;
use support::{Host, Probes, every_host};

every_host!(
    calls_with_wrong_arguments,
    calls_on_a_channel_that_is_opening,
    calls_on_a_closing_and_a_closed_channel,
    calls_on_a_connection_that_is_not_open_yet,
    calls_on_a_closing_and_a_closed_connection,
);

/// Counts the closures that were given to refused calls: none may be called, none may be kept.
#[derive(Clone, Default)]
struct Refused(Probes);

impl Refused {
    fn reply<R>(&self) -> impl FnOnce(&Channel, R) + use<R> {
        let probe = self.0.probe();
        move |_, _| {
            probe.touch();
            unreachable!("the call was refused")
        }
    }

    fn got(&self) -> impl FnOnce(&Channel, Result<Option<GetMessage<'_>>>) + use<> {
        let probe = self.0.probe();
        move |_, _| {
            probe.touch();
            unreachable!("the call was refused")
        }
    }

    fn message(&self) -> impl FnMut(&Channel, &Delivery<'_>) + use<> {
        let probe = self.0.probe();
        move |_, _| {
            probe.touch();
            unreachable!("the call was refused")
        }
    }

    #[track_caller]
    fn with<T: std::fmt::Debug>(&self, result: Result<T>, misuse: Misuse) {
        assert_eq!(result.unwrap_err(), Error::Misuse(misuse));
        assert_eq!(self.0.live(), 0, "a closure of a refused call is kept");
    }
}

/// Runs a scenario on an open channel of a peer that does what it is asked.
fn on_channel<H: Host>(scenario: impl FnOnce(&Channel) + 'static) {
    let host = H::new();
    let peer = Peer::new(|wire| {
        wire.open();
        assert!(wire.obey(), "the connection was not closed");
    });
    let ended = support::on_channel(&host, peer.parameters(), scenario);
    assert!(ended.to_string().ends_with("by this client: (200) done"), "{ended}");
    peer.join();
}

/// Goes on when the loop has written what there was, in its next turn but one.
fn later(services: &Services, then: impl FnOnce() + 'static) {
    let again = services.clone();
    services.add_callback(move || again.add_callback(then));
}

/// Closes the connection after it has been seen that nothing was sent since `before`.
fn done_if_silent(connection: &Connection, before: Counters) {
    let services = connection.services().unwrap();
    let connection = connection.clone();
    later(&services, move || {
        assert_eq!(connection.counters().bytes_sent, before.bytes_sent);
        connection.close(200, "done").unwrap();
    });
}

fn too_long(length: usize) -> Misuse {
    EncodeError::ShortStringTooLong { length }.into()
}

fn calls_with_wrong_arguments<H: Host>() {
    on_channel::<H>(|channel| {
        let consume = basic::Consume { consumer_tag: "mine".into(), ..Default::default() };
        let connection = channel.connection();
        channel
            .basic_consume(
                consume,
                |_, _| (),
                |channel, _| {
                    let connection = channel.connection();
                    later(&connection.services().unwrap(), {
                        let channel = channel.clone();
                        move || wrong_arguments(&channel)
                    });
                },
            )
            .unwrap();
        connection.flush();
    });
}

fn wrong_arguments(channel: &Channel) {
    let refused = Refused::default();
    let connection = channel.connection();
    let before = connection.counters();
    let long = "x".repeat(300);

    let queue = || long.as_str().into();
    let declare = queue::Declare { queue: queue(), ..Default::default() };
    refused.with(channel.queue_declare(declare, refused.reply()), too_long(300));
    let get = basic::Get { queue: queue(), no_ack: true };
    refused.with(channel.basic_get(get, refused.got()), too_long(300));
    let consume = basic::Consume { queue: queue(), ..Default::default() };
    let consumed = channel.basic_consume(consume, refused.message(), refused.reply());
    refused.with(consumed, too_long(300));
    let declare = exchange::Declare { exchange_type: queue(), ..Default::default() };
    refused.with(channel.exchange_declare(declare, refused.reply()), too_long(300));
    refused.with(channel.close(200, long.as_str()), too_long(300));
    refused.with(connection.close(200, long.as_str()), too_long(300));

    let to = basic::Publish { routing_key: queue(), ..Default::default() };
    let published = channel.basic_publish(to, &BasicProperties::default(), "x");
    refused.with(published.map_err(misuse), too_long(300));
    let properties = BasicProperties { message_id: Some(queue()), ..Default::default() };
    let published = channel.basic_publish(basic::Publish::default(), &properties, "x");
    refused.with(published.map_err(misuse), too_long(300));

    let consume = basic::Consume { consumer_tag: "mine".into(), ..Default::default() };
    let consumed = channel.basic_consume(consume, refused.message(), refused.reply());
    refused.with(consumed, Misuse::ConsumerTagInUse("mine".into()));
    for unknown in ["not mine", "", "ctag1.0.0", &long] {
        let cancel = basic::Cancel { consumer_tag: unknown.into() };
        let cancelled = channel.basic_cancel(cancel, refused.reply());
        refused.with(cancelled, Misuse::UnknownConsumerTag(unknown.into()));
    }

    refused.with(channel.when_confirmed(refused.reply()), Misuse::NotConfirming);

    assert_eq!(connection.channel_max(), 2047);
    for number in [0, 2048, u16::MAX] {
        let opened = connection.channel(number, refused.reply());
        let channel_max = 2047;
        refused.with(opened, Misuse::ChannelNumberOutOfRange { number, channel_max });
    }
    refused.with(connection.channel(1, refused.reply()), Misuse::ChannelNumberInUse(1));

    assert!(channel.is_open() && connection.is_open());
    done_if_silent(&connection, before);
}

fn misuse(error: haypile::PublishError) -> Error {
    match error {
        haypile::PublishError::Misuse(misuse) => misuse.into(),
        other => other.into(),
    }
}

/// Every call that needs an open channel.
fn all_calls(channel: &Channel, refused: &Refused) {
    macro_rules! each {
        ($($name:ident($method:expr),)*) => {
            $(refused.with(channel.$name($method, refused.reply()), Misuse::ChannelNotOpen);)*
        };
    }
    assert!(!channel.is_open());
    each!(
        basic_qos(basic::Qos::default()),
        basic_recover(basic::Recover::default()),
        basic_cancel(basic::Cancel::default()),
        exchange_declare(exchange::Declare::default()),
        exchange_delete(exchange::Delete::default()),
        exchange_bind(exchange::Bind::default()),
        exchange_unbind(exchange::Unbind::default()),
        flow(haypile::protocol::channel::Flow { active: true }),
        queue_declare(queue::Declare::default()),
        queue_bind(queue::Bind::default()),
        queue_unbind(queue::Unbind::default()),
        queue_purge(queue::Purge::default()),
        queue_delete(queue::Delete::default()),
        tx_select(tx::Select {}),
        tx_commit(tx::Commit {}),
        tx_rollback(tx::Rollback {}),
    );
    let got = channel.basic_get(basic::Get::default(), refused.got());
    refused.with(got, Misuse::ChannelNotOpen);
    let consume = basic::Consume::default();
    let consumed = channel.basic_consume(consume, refused.message(), refused.reply());
    refused.with(consumed, Misuse::ChannelNotOpen);
    let published =
        channel.basic_publish(basic::Publish::default(), &BasicProperties::default(), "x");
    refused.with(published.map_err(misuse), Misuse::ChannelNotOpen);
    let probe = refused.0.probe();
    let asked = channel.confirm_delivery(move |_, _| probe.touch(), refused.reply());
    refused.with(asked, Misuse::ChannelNotOpen);
    refused.with(channel.when_confirmed(refused.reply()), Misuse::ChannelNotOpen);
    refused.with(channel.basic_ack(basic::Ack::default()), Misuse::ChannelNotOpen);
    refused.with(channel.basic_nack(basic::Nack::default()), Misuse::ChannelNotOpen);
    refused.with(channel.basic_reject(basic::Reject::default()), Misuse::ChannelNotOpen);
}

fn calls_on_a_channel_that_is_opening<H: Host>() {
    on_channel::<H>(|channel| {
        let connection = channel.connection();
        let opened = |channel: &Channel, opened: Result<()>| {
            opened.unwrap();
            channel.connection().close(200, "done").unwrap();
        };
        let opening = connection.channel(None, opened).unwrap();
        connection.flush();
        let before = connection.counters();
        all_calls(&opening, &Refused::default());
        connection.flush();
        assert_eq!(connection.counters(), before);
    });
}

fn calls_on_a_closing_and_a_closed_channel<H: Host>() {
    fn check(channel: &Channel, refused: &Refused) {
        all_calls(channel, refused);
        refused.with(channel.close(200, "again"), Misuse::ChannelNotOpen);
    }
    on_channel::<H>(|channel| {
        let connection = channel.connection();
        let closed = |channel: &Channel, _: Error| {
            let refused = Refused::default();
            let before = channel.connection().counters();
            assert!(channel.is_closed() && !channel.is_closing());
            check(channel, &refused);
            let added = channel.add_on_close_callback(refused.reply());
            refused.with(added, Misuse::ChannelNotOpen);
            let (probe, late) = (refused.0.probe(), refused.0.probe());
            let added = channel.add_on_return_callback(move |_, _| probe.touch());
            drop(late);
            refused.with(added, Misuse::ChannelNotOpen);
            let probe = refused.0.probe();
            let added = channel.add_on_cancel_callback(move |_, _| probe.touch());
            refused.with(added, Misuse::ChannelNotOpen);
            done_if_silent(&channel.connection(), before);
        };
        channel.add_on_close_callback(closed).unwrap();
        channel.close(200, "over").unwrap();
        connection.flush();
        let before = connection.counters();
        assert!(channel.is_closing() && !channel.is_closed());
        check(channel, &Refused::default());
        connection.flush();
        assert_eq!(connection.counters(), before);
    });
}

fn calls_on_a_connection_that_is_not_open_yet<H: Host>() {
    let host = H::new();
    let peer = Peer::new(|wire| {
        wire.header();
        assert_eq!(wire.read_to_end(), 0);
    });
    let stop = host.stopper();
    let callbacks = ConnectionCallbacks::new().on_open_error(move |_, error| {
        assert_eq!(error, haypile::ConnectError::Aborted.into());
        stop();
    });
    let connection = host.connect(peer.parameters(), callbacks);
    let refused = Refused::default();
    refused.with(connection.channel(None, refused.reply()), Misuse::ConnectionNotOpen);
    assert_eq!(connection.counters(), Counters::default());
    assert_eq!(connection.channel_max(), 0);

    // Once more when the handshake has begun.
    fn once_sent(connection: Connection) {
        let services = connection.services().unwrap();
        if connection.counters().bytes_sent == 0 {
            return services.add_callback(move || once_sent(connection));
        }
        let refused = Refused::default();
        refused.with(connection.channel(None, refused.reply()), Misuse::ConnectionNotOpen);
        connection.flush();
        assert_eq!(connection.counters().bytes_sent, 8);
        assert_eq!(connection.close(200, "no more"), Ok(()));
        refused.with(connection.close(200, "again"), Misuse::ConnectionNotOpen);
        refused.with(connection.channel(None, refused.reply()), Misuse::ConnectionNotOpen);
    }
    once_sent((**connection).clone());
    host.run();
    peer.join();
    refused.with(connection.close(200, "again"), Misuse::ConnectionNotOpen);
}

fn calls_on_a_closing_and_a_closed_connection<H: Host>() {
    fn check(connection: &Connection, channel: &Channel) {
        let refused = Refused::default();
        assert!(!connection.is_open());
        refused.with(connection.close(200, "again"), Misuse::ConnectionNotOpen);
        refused.with(connection.channel(None, refused.reply()), Misuse::ConnectionNotOpen);
        refused.with(connection.channel(7, refused.reply()), Misuse::ConnectionNotOpen);
        all_calls(channel, &refused);
        refused.with(channel.close(200, "again"), Misuse::ChannelNotOpen);
    }
    let kept = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&kept);
    on_channel::<H>(move |channel| {
        let connection = channel.connection();
        keep.replace(Some((connection.clone(), channel.clone())));
        let closed = |channel: &Channel, _: Error| check(&channel.connection(), channel);
        channel.add_on_close_callback(closed).unwrap();
        connection.close(200, "done").unwrap();
        connection.flush();
        let before = connection.counters();
        check(&connection, channel);
        connection.flush();
        assert_eq!(connection.counters(), before);
    });
    // After all of it has gone, the loop too.
    let (connection, channel) = kept.take().unwrap();
    assert!(connection.is_closed() && channel.is_closed());
    check(&connection, &channel);
    assert_eq!(connection.counters(), Counters::default());
    connection.flush();
}
