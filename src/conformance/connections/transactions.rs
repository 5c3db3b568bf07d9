//! Transactions.

use crate::{Channel, Error, Result, tx};

use super::consuming::get;
use super::queues::own_queue;
use crate::conformance::stage::{Stage, assert_closed, assert_refused, close};
use crate::conformance::tools::publish;

fn selected(channel: &Channel, then: impl FnOnce(&Channel) + 'static) {
    let selected = |channel: &Channel, selected: Result<tx::SelectOk>| {
        selected.expect("a transaction");
        then(channel);
    };
    channel.tx_select(tx::Select, selected).expect("the channel is open");
}

pub(in crate::conformance) fn select_begins_a_transaction(stage: &Stage) {
    let ended = stage.on_channel(|channel| selected(channel, |c| close(&c.connection())));
    assert_closed(ended);
}

pub(in crate::conformance) fn commit_publishes(stage: &Stage) {
    let ended = stage.on_channel(|channel| {
        selected(channel, |channel| {
            own_queue(channel, "", |channel, queue| {
                publish(channel, &queue, "committed");
                let committed = move |channel: &Channel, committed: Result<tx::CommitOk>| {
                    committed.expect("committed");
                    get(channel, &queue, |channel, body| {
                        assert_eq!(body.expect("a message"), b"committed");
                        close(&channel.connection());
                    });
                };
                channel.tx_commit(tx::Commit, committed).expect("open");
            });
        });
    });
    assert_closed(ended);
}

pub(in crate::conformance) fn rollback_publishes_nothing(stage: &Stage) {
    let ended = stage.on_channel(|channel| {
        selected(channel, |channel| {
            own_queue(channel, "", |channel, queue| {
                publish(channel, &queue, "abandoned");
                let rolled_back = move |channel: &Channel, rolled_back: Result<tx::RollbackOk>| {
                    rolled_back.expect("rolled back");
                    get(channel, &queue, |channel, body| {
                        assert_eq!(body, None);
                        close(&channel.connection());
                    });
                };
                channel.tx_rollback(tx::Rollback, rolled_back).expect("open");
            });
        });
    });
    assert_closed(ended);
}

pub(in crate::conformance) fn commit_without_select_closes_the_channel(stage: &Stage) {
    without_select(stage, (90, 20), |channel, refused| {
        channel.tx_commit(tx::Commit, |_, done| refused(done.map(drop))).expect("open");
    });
}

pub(in crate::conformance) fn rollback_without_select_closes_the_channel(stage: &Stage) {
    without_select(stage, (90, 30), |channel, refused| {
        channel.tx_rollback(tx::Rollback, |_, done| refused(done.map(drop))).expect("open");
    });
}

type Done = Box<dyn FnOnce(Result<()>)>;

fn without_select(stage: &Stage, method: (u16, u16), ask: fn(&Channel, Done)) {
    let ended = stage.on_channel(move |channel| {
        let refused = move |error: &Error| assert_refused(error, 406, method);
        let closed = move |channel: &Channel, reason| {
            refused(&reason);
            close(&channel.connection());
        };
        channel.add_on_close_callback(closed).expect("open");
        ask(channel, Box::new(move |done| refused(&done.expect_err("no transaction"))));
    });
    assert_closed(ended);
}
