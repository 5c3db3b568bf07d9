//! Exchanges.

use crate::{Channel, Result, exchange};

use crate::conformance::stage::{Stage, assert_closed, assert_refused, close};

/// Declares an exchange, and goes on with its name.
fn declare(
    channel: &Channel,
    name: String,
    exchange_type: &str,
    then: impl FnOnce(&Channel, Result<String>) + 'static,
) {
    let declare = exchange::Declare {
        exchange: name.as_str().into(),
        exchange_type: exchange_type.into(),
        ..Default::default()
    };
    let declared = {
        let name = name.clone();
        move |channel: &Channel, declared: Result<_>| {
            then(channel, declared.map(|exchange::DeclareOk {}| name));
        }
    };
    channel.exchange_declare(declare, declared).expect("the channel is open");
}

fn delete(channel: &Channel, name: &str, then: impl FnOnce(&Channel) + 'static) {
    let delete = exchange::Delete { exchange: name.into(), if_unused: false };
    let deleted = |channel: &Channel, deleted: Result<exchange::DeleteOk>| {
        deleted.expect("the exchange is deleted");
        then(channel);
    };
    channel.exchange_delete(delete, deleted).expect("the channel is open");
}

pub(in crate::conformance) fn declare_and_delete_an_exchange(stage: &Stage) {
    let ended = stage.on_channel(|channel| {
        declare(channel, Stage::unique("exchange"), "direct", |channel, declared| {
            let name = declared.expect("the exchange is declared");
            delete(channel, &name, |channel| close(&channel.connection()));
        });
    });
    assert_closed(ended);
}

pub(in crate::conformance) fn an_exchange_declared_differently_closes_the_channel(stage: &Stage) {
    let ended = stage.on_channel(|channel| {
        declare(channel, Stage::unique("exchange"), "direct", |channel, declared| {
            let name = declared.expect("the exchange is declared");
            let left = name.clone();
            let closed = move |channel: &Channel, reason| {
                assert_refused(&reason, 406, (40, 10));
                // The connection lives, and takes away what was declared.
                crate::conformance::stage::open_channel(&channel.connection(), move |channel| {
                    delete(channel, &left, |channel| close(&channel.connection()));
                });
            };
            channel.add_on_close_callback(closed).expect("open");
            declare(channel, name, "fanout", |_, declared| {
                assert_refused(&declared.expect_err("it differs"), 406, (40, 10));
            });
        });
    });
    assert_closed(ended);
}
