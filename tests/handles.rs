//! What the handles of a connection and a channel tell, and who else is told of their end.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use haypile::{
    BasicProperties, Channel, Connection, ConnectionCallbacks, ConnectionParameters, Error,
    Heartbeat, Misuse, Result, ReturnedMessage, basic,
};
use support::peers::dead_end;
use support::{Host, Log, broker, close, every_host, on_channel, with_queue};

every_host!(
    what_was_agreed_on_is_told_while_there_is_a_connection,
    several_closures_for_the_same_are_called_in_order,
    one_that_panics_does_not_keep_the_others_from_being_called,
    one_that_another_adds_is_called_the_next_time_after_it,
    the_tags_of_consumers_are_those_that_are_not_cancelled,
);

/// Host, the largest frame, the heartbeat interval.
fn agreed(connection: &Connection) -> (Option<String>, u32, Option<Duration>) {
    let parameters = connection.parameters();
    let host = parameters.as_ref().map(ConnectionParameters::host).map(str::to_owned);
    (host, connection.frame_max(), connection.heartbeat())
}

fn what_was_agreed_on_is_told_while_there_is_a_connection<H: Host>() {
    let mut down = broker();
    down.set_host("127.0.0.2").set_port(dead_end().port());
    let mut last = broker();
    last.set_frame_max(8192).unwrap().set_heartbeat(Heartbeat::Exactly(7));
    let host = H::new();
    let (log, stop) = (Rc::new(RefCell::new(Vec::new())), host.stopper());
    let (opened, closed) = (Rc::clone(&log), Rc::clone(&log));
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            opened.borrow_mut().push(agreed(connection));
            close(connection);
        })
        .on_close(move |connection, _| {
            closed.borrow_mut().push(agreed(connection));
            stop();
        });
    let name = last.host().to_owned();
    let connection = host.connect(vec![down, last], callbacks);
    assert_eq!(agreed(&connection), (None, 4096, None));
    host.run();
    let seven = Some(Duration::from_secs(7));
    assert_eq!(*log.borrow(), [(Some(name.clone()), 8192, seven), (Some(name), 8192, None)]);
    assert_eq!(agreed(&connection), (None, 0, None));
}

fn several_closures_for_the_same_are_called_in_order<H: Host>() {
    let log = Log::default();
    let note = |what: &'static str| {
        let log = log.clone();
        move |_: &Connection| log.add(what)
    };
    let note_end = |what: &'static str| {
        let log = log.clone();
        move |_: &Connection, reason: Error| {
            assert!(matches!(reason, Error::ConnectionClosed(_)), "{reason}");
            log.add(what);
        }
    };
    let host = H::new();
    let stop = host.stopper();
    let last = note_end("closed, third");
    let refused = Rc::clone(&stop);
    let callbacks = ConnectionCallbacks::new()
        .on_open(note("open, first"))
        .on_open(note("open, second"))
        .on_open(move |connection| {
            connection.add_on_close_callback(last).expect("it is open");
            let late = move |connection: &Connection, _: Error| {
                // Who comes now comes too late.
                let added = connection.add_on_close_callback(|_, _| unreachable!("too late"));
                assert_eq!(added, Err(Misuse::ConnectionNotOpen.into()));
                refused();
            };
            connection.add_on_close_callback(late).expect("it is open");
            close(connection);
        })
        .on_close(note_end("closed, first"))
        .on_close(note_end("closed, second"))
        .on_open_error(|_, error| unreachable!("{error}"));
    drop(host.connect(broker(), callbacks));
    host.run();
    let closed = ["closed, first", "closed, second", "closed, third"];
    assert_eq!(log.lines(), [&["open, first", "open, second"], &closed[..]].concat());
    drop(stop);
}

fn one_that_panics_does_not_keep_the_others_from_being_called<H: Host>() {
    let log = Log::default();
    let told = log.clone();
    let host = H::new();
    let stop = host.stopper();
    let callbacks = ConnectionCallbacks::new()
        .on_open(close)
        .on_close(|_, _| panic!("the first of them"))
        .on_close(move |_, _| {
            told.add("the second");
            stop();
        });
    drop(host.connect(broker(), callbacks));
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.run()));
    assert_eq!(run.is_err(), H::UNWINDS);
    assert_eq!(log.lines(), ["the second"]);
}

fn one_that_another_adds_is_called_the_next_time_after_it<H: Host>() {
    fn publish(channel: &Channel) {
        let to = basic::Publish {
            routing_key: "haypile-nowhere".into(),
            mandatory: true,
            ..Default::default()
        };
        channel.basic_publish(to, &BasicProperties::default(), "x").unwrap();
    }
    let log = Log::default();
    let (told, added) = (log.clone(), log.clone());
    let ended = on_channel(&H::new(), broker(), move |channel| {
        let mut late = Some(move |channel: &Channel, _: &ReturnedMessage<'_>| {
            added.add("the other");
            close(&channel.connection());
        });
        let first = move |channel: &Channel, _: &ReturnedMessage<'_>| {
            told.add("the one");
            if let Some(late) = late.take() {
                channel.add_on_return_callback(late).unwrap();
                publish(channel);
            }
        };
        channel.add_on_return_callback(first).unwrap();
        publish(channel);
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
    assert_eq!(log.lines(), ["the one", "the one", "the other"]);
}

fn the_tags_of_consumers_are_those_that_are_not_cancelled<H: Host>() {
    fn tags(channel: &Channel) -> Vec<String> {
        let mut tags: Vec<_> = channel.consumer_tags().iter().map(ToString::to_string).collect();
        tags.sort();
        tags
    }
    let ended = on_channel(&H::new(), broker(), |channel| {
        assert!(channel.consumer_tags().is_empty());
        with_queue(channel, |channel, queue| {
            for tag in ["one", "other"] {
                let queue = queue.as_str().into();
                let consume =
                    basic::Consume { queue, consumer_tag: tag.into(), ..Default::default() };
                channel.basic_consume(consume, |_, _| (), |_, ok| drop(ok.unwrap())).unwrap();
            }
            assert_eq!(tags(channel), ["one", "other"], "known before they are started");
            let cancelled = |channel: &Channel, cancelled: Result<basic::CancelOk<'static>>| {
                assert_eq!(cancelled.unwrap().consumer_tag, "one");
                assert_eq!(tags(channel), ["other"]);
                close(&channel.connection());
            };
            channel.basic_cancel(basic::Cancel { consumer_tag: "one".into() }, cancelled).unwrap();
            assert_eq!(tags(channel), ["other"]);
        });
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
}
