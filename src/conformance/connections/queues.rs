//! Queues.

use crate::{Channel, Result, queue};

use crate::conformance::stage::{Stage, assert_closed, assert_refused, close};

/// Declares a queue of this connection's own, and goes on with its name: the broker's if `name` is
/// empty.
pub(in crate::conformance) fn own_queue(
    channel: &Channel,
    name: &str,
    then: impl FnOnce(&Channel, String) + 'static,
) {
    let declare = queue::Declare { queue: name.into(), exclusive: true, ..Default::default() };
    let name = name.to_owned();
    let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let declared = declared.expect("the queue is declared");
        assert_eq!((declared.message_count, declared.consumer_count), (0, 0));
        assert!(if name.is_empty() { !declared.queue.is_empty() } else { declared.queue == *name });
        then(channel, declared.queue.to_string());
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

fn declare_and_delete(stage: &Stage, name: String) {
    let ended = stage.on_channel(move |channel| {
        own_queue(channel, &name, |channel, name| {
            let delete = queue::Delete { queue: name.as_str().into(), ..Default::default() };
            let deleted = |channel: &Channel, deleted: Result<queue::DeleteOk>| {
                assert_eq!(deleted.expect("deleted").message_count, 0);
                close(&channel.connection());
            };
            channel.queue_delete(delete, deleted).expect("open");
        });
    });
    assert_closed(ended);
}

pub(in crate::conformance) fn declare_and_delete_an_unnamed_queue(stage: &Stage) {
    declare_and_delete(stage, String::new());
}

pub(in crate::conformance) fn declare_and_delete_a_named_queue(stage: &Stage) {
    declare_and_delete(stage, Stage::unique("queue"));
}

pub(in crate::conformance) fn a_queue_declared_differently_closes_the_channel(stage: &Stage) {
    let ended = stage.on_channel(|channel| {
        let name = Stage::unique("queue");
        own_queue(channel, &name, |channel, name| {
            let closed = |channel: &Channel, reason| {
                assert_refused(&reason, 406, (50, 10));
                close(&channel.connection());
            };
            channel.add_on_close_callback(closed).expect("open");
            let queue = name.as_str().into();
            let differently =
                queue::Declare { queue, exclusive: true, auto_delete: true, ..Default::default() };
            let declared = |_: &Channel, declared: Result<queue::DeclareOk<'static>>| {
                assert_refused(&declared.expect_err("it differs"), 406, (50, 10));
            };
            channel.queue_declare(differently, declared).expect("open");
        });
    });
    assert_closed(ended);
}
