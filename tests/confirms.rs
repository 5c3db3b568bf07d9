//! Publisher confirms against RabbitMQ, on every loop. Hazard 14.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, Closed, Confirm, ConfirmSummary, Error, FieldTable, Misuse, Party,
    PublishError, PublishOutcome, Result, basic, queue, tx,
};
use support::{Host, Log, broker, close, every_host, on_channel};

every_host!(
    each_of_a_hundred_thousand_is_confirmed_once,
    returns_are_matched_with_many_in_flight,
    messages_alike_are_matched_by_their_order,
    messages_of_one_key_are_matched_by_their_ids,
    a_full_queue_nacks,
    what_is_published_behind_the_select_counts,
    what_a_closed_channel_had_outstanding_is_lost,
    what_a_closed_connection_had_outstanding_is_told_before_its_end,
    a_transactional_channel_cannot_confirm,
    past_the_limit_a_publish_is_refused_until_there_is_room,
);

/// What became of each message, by its number.
#[derive(Clone, Default)]
struct Outcomes(Rc<RefCell<BTreeMap<u64, String>>>);

impl Outcomes {
    /// A confirm callback that notes, and finds it wrong to be told twice.
    fn noting(&self) -> impl FnMut(&Channel, Confirm<'_>) + 'static + use<> {
        let outcomes = self.clone();
        move |_, confirm| {
            let outcome = match confirm.outcome {
                PublishOutcome::Acked => "acked".to_owned(),
                PublishOutcome::Nacked => "nacked".to_owned(),
                PublishOutcome::Returned => "returned".to_owned(),
                PublishOutcome::Lost(error) => error.to_string(),
            };
            let before = outcomes.0.borrow_mut().insert(confirm.sequence_number, outcome);
            assert_eq!(before, None, "{} is told twice", confirm.sequence_number);
        }
    }

    fn of(&self, number: u64) -> String {
        self.0.borrow()[&number].clone()
    }

    fn count(&self) -> u64 {
        self.0.borrow().len() as u64
    }
}

fn done(channel: &Channel) {
    close(&channel.connection());
}

fn assert_done(ended: &Error) {
    assert_eq!(ended.to_string(), "connection closed by this client: (200) the test is done");
}

fn confirming(channel: &Channel) -> Outcomes {
    let outcomes = Outcomes::default();
    channel
        .confirm_delivery(outcomes.noting(), |_, selected| selected.expect("it is selected"))
        .expect("the channel is open");
    outcomes
}

fn name<H: Host>(topic: &str) -> String {
    format!("haypile-confirms-{topic}-{}-{}", std::process::id(), H::NAME)
}

fn declare(channel: &Channel, queue: &str, arguments: FieldTable<'_>) {
    let queue = queue.into();
    let declare = queue::Declare { queue, exclusive: true, arguments, ..Default::default() };
    channel.queue_declare(declare, |_, ok| drop(ok.expect("declared"))).expect("it is open");
}

fn delete(channel: &Channel, queue: &str) {
    let delete = queue::Delete { queue: queue.into(), ..Default::default() };
    channel.queue_delete(delete, |_, ok| assert!(ok.is_ok())).expect("it is open");
}

fn mandatory(channel: &Channel, key: &str, id: Option<&str>) -> u64 {
    let to = basic::Publish { routing_key: key.into(), mandatory: true, ..Default::default() };
    let message_id = id.map(haypile::ShortStr::from);
    let properties = BasicProperties { message_id, ..Default::default() };
    channel.basic_publish(to, &properties, "x").expect("it is open")
}

fn alike(channel: &Channel, key: &str, count: usize) {
    for _ in 0..count {
        mandatory(channel, key, None);
    }
}

/// Runs a scenario on a channel in confirm mode that publishes; when all is resolved, the summary
/// and the outcomes are looked at.
fn resolved<H: Host>(
    publish: impl FnOnce(&Channel) + 'static,
    look: impl FnOnce(ConfirmSummary, &Outcomes) + 'static,
) {
    let host = H::new();
    let ended = on_channel(&host, broker(), |channel| {
        let outcomes = confirming(channel);
        channel.add_on_return_callback(|_, _| ()).unwrap();
        publish(channel);
        let check = move |channel: &Channel, summary: Result<ConfirmSummary>| {
            look(summary.expect("all is resolved"), &outcomes);
            done(channel);
        };
        channel.when_confirmed(check).unwrap();
    });
    assert_done(&ended);
}

fn each_of_a_hundred_thousand_is_confirmed_once<H: Host>() {
    const MESSAGES: u64 = 100_000;
    fn fill(channel: &Channel, queue: &str) {
        let to = || basic::Publish { routing_key: queue.into(), ..Default::default() };
        loop {
            match channel.basic_publish(to(), &BasicProperties::default(), "x") {
                Ok(MESSAGES) => return,
                Ok(_) => {}
                Err(PublishError::TooManyUnconfirmed { limit }) => {
                    assert_eq!((limit, channel.unconfirmed()), (2_000, 2_000));
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    let host = H::new();
    let (told, result) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
    let (summary, count) = (Rc::clone(&told), Rc::clone(&result));
    let ended = on_channel(&host, broker(), move |channel| {
        let queue = name::<H>("many");
        let (numbers, mut next) = (Rc::new(Cell::new(0)), 0);
        let last = Rc::clone(&numbers);
        let on_confirm = move |channel: &Channel, confirm: Confirm<'_>| {
            // A classic queue takes transient messages in order, so confirms come in order.
            next += 1;
            assert_eq!(confirm.sequence_number, next);
            assert_eq!(confirm.outcome, PublishOutcome::Acked);
            last.set(next);
            if next == MESSAGES {
                let summary = Rc::clone(&summary);
                let all = move |channel: &Channel, all: Result<ConfirmSummary>| {
                    summary.set(all.ok());
                    done(channel);
                };
                channel.when_confirmed(all).unwrap();
            }
        };
        channel.confirm_delivery(on_confirm, |_, ok| ok.expect("selected")).unwrap();
        channel.set_max_unconfirmed(2_000).unwrap();
        declare(channel, &queue, FieldTable::new());
        let to = queue.clone();
        channel
            .add_on_writable_callback(move |channel| {
                assert!(channel.unconfirmed() <= 1_000);
                count.set(count.get() + 1);
                fill(channel, &to);
            })
            .unwrap();
        fill(channel, &queue);
        assert_eq!(numbers.get(), 0, "nothing is told from within a call");
    });
    assert_done(&ended);
    assert_eq!(told.get(), Some(ConfirmSummary { acked: MESSAGES, ..Default::default() }));
    assert!(result.get() >= 49, "the limit was reached {} times", result.get());
}

fn returns_are_matched_with_many_in_flight<H: Host>() {
    const MESSAGES: u64 = 3_000;
    let queue = name::<H>("returns");
    resolved::<H>(
        move |channel| {
            declare(channel, &queue, FieldTable::new());
            for number in 1..=MESSAGES {
                let to = if number % 3 == 0 { "nowhere-that-exists" } else { &queue };
                assert_eq!(mandatory(channel, to, None), number);
            }
        },
        |summary, outcomes| {
            let back = MESSAGES / 3;
            let expected = ConfirmSummary { acked: MESSAGES - back, nacked: 0, returned: back };
            assert_eq!(summary, expected);
            for number in 1..=MESSAGES {
                let expected = if number % 3 == 0 { "returned" } else { "acked" };
                assert_eq!(outcomes.of(number), expected, "{number}");
            }
        },
    );
}

/// Messages that nothing tells apart, of which the first have no queue yet.
fn messages_alike_are_matched_by_their_order<H: Host>() {
    let queue = name::<H>("alike");
    resolved::<H>(
        move |channel| {
            alike(channel, &queue, 500);
            declare(channel, &queue, FieldTable::new());
            alike(channel, &queue, 500);
        },
        |summary, outcomes| {
            assert_eq!(summary, ConfirmSummary { acked: 500, nacked: 0, returned: 500 });
            for number in 1..=1000 {
                let expected = if number <= 500 { "returned" } else { "acked" };
                assert_eq!(outcomes.of(number), expected, "{number}");
            }
        },
    );
}

/// The queue comes and goes between messages that only their ids tell apart.
fn messages_of_one_key_are_matched_by_their_ids<H: Host>() {
    let queue = name::<H>("ids");
    resolved::<H>(
        move |channel| {
            let mut number = 0;
            for _ in 0..10 {
                for exists in [false, true] {
                    if exists {
                        declare(channel, &queue, FieldTable::new());
                    }
                    for _ in 0..50 {
                        number += 1;
                        mandatory(channel, &queue, Some(&number.to_string()));
                    }
                }
                delete(channel, &queue);
            }
        },
        |summary, outcomes| {
            assert_eq!(summary, ConfirmSummary { acked: 500, nacked: 0, returned: 500 });
            for number in 1..=1000 {
                let expected = if (number - 1) / 50 % 2 == 0 { "returned" } else { "acked" };
                assert_eq!(outcomes.of(number), expected, "{number}");
            }
        },
    );
}

fn a_full_queue_nacks<H: Host>() {
    let queue = name::<H>("full");
    resolved::<H>(
        move |channel| {
            let arguments = FieldTable::new()
                .with("x-max-length", 3)
                .and_then(|table| table.with("x-overflow", "reject-publish"))
                .unwrap();
            declare(channel, &queue, arguments);
            alike(channel, &queue, 100);
        },
        |summary, outcomes| {
            assert!(!summary.is_all_acked());
            assert_eq!(summary.acked + summary.nacked, 100);
            // What is sent before the queue has said that it is full is taken too.
            assert!(summary.nacked > 0 && summary.acked >= 3, "{summary:?}");
            assert_eq!(outcomes.of(100), "nacked");
        },
    );
}

fn what_is_published_behind_the_select_counts<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, broker(), |channel| {
        let queue = name::<H>("behind");
        let to = || basic::Publish { routing_key: queue.as_str().into(), ..Default::default() };
        let none = BasicProperties::default();
        // On the wire; queued behind it, in this order: a publish, the select, more publishes.
        declare(channel, "", FieldTable::new());
        declare(channel, &queue, FieldTable::new());
        assert_eq!(channel.basic_publish(to(), &none, "before"), Ok(1));
        assert_eq!(channel.when_confirmed(|_, _| ()), Err(Misuse::NotConfirming.into()));
        let outcomes = confirming(channel);
        for number in 1..=10 {
            assert_eq!(channel.basic_publish(to(), &none, "behind"), Ok(number));
        }
        let again = channel.confirm_delivery(|_, _| (), |_, _| ());
        assert_eq!(again, Err(Misuse::AlreadyConfirming.into()));
        let (check, queue) = (outcomes.clone(), queue.clone());
        let all = move |channel: &Channel, summary: Result<ConfirmSummary>| {
            assert_eq!(summary, Ok(ConfirmSummary { acked: 10, ..Default::default() }));
            assert_eq!(check.count(), 10);
            let look = queue::Declare {
                queue: queue.as_str().into(),
                passive: true,
                ..Default::default()
            };
            let looked = |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| {
                assert_eq!(ok.unwrap().message_count, 11);
                done(channel);
            };
            channel.queue_declare(look, looked).unwrap();
        };
        channel.when_confirmed(all).unwrap();
    });
    assert_done(&ended);
}

fn what_a_closed_channel_had_outstanding_is_lost<H: Host>() {
    let host = H::new();
    let log = Log::default();
    let lines = log.clone();
    let ended = on_channel(&host, broker(), move |channel| {
        let outcomes = confirming(channel);
        let exchange = name::<H>("no-such-exchange");
        for _ in 0..3 {
            let exchange = exchange.as_str().into();
            let to = basic::Publish { exchange, ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), "x").unwrap();
        }
        let (told, waited) = (lines.clone(), lines.clone());
        let all = move |_: &Channel, summary: Result<ConfirmSummary>| {
            waited.add(format!("waited: {}", summary.is_err()));
        };
        channel.when_confirmed(all).unwrap();
        let closed = move |channel: &Channel, error: Error| {
            assert_eq!(channel.unconfirmed(), 0);
            for number in 1..=3 {
                assert_eq!(outcomes.of(number), error.to_string(), "told before the end is");
            }
            told.add(error);
            done(channel);
        };
        channel.add_on_close_callback(closed).unwrap();
    });
    assert_done(&ended);
    assert_eq!(log.lines()[0], "waited: true");
    assert!(log.lines()[1].contains("(404) NOT_FOUND"), "{:?}", log.lines());
}

/// It may be acknowledged or lost, but it is told, and no later than the channel's end.
fn what_a_closed_connection_had_outstanding_is_told_before_its_end<H: Host>() {
    let host = H::new();
    let told = Rc::new(Cell::new(0));
    let count = Rc::clone(&told);
    let ended = on_channel(&host, broker(), move |channel| {
        let outcomes = confirming(channel);
        let to = || basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
        for _ in 0..1_000 {
            channel.basic_publish(to(), &BasicProperties::default(), "x").unwrap();
        }
        let closed = move |_: &Channel, _: Error| count.set(outcomes.count());
        channel.add_on_close_callback(closed).unwrap();
        done(channel);
    });
    assert_done(&ended);
    assert_eq!(told.get(), 1_000);
}

fn a_transactional_channel_cannot_confirm<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, broker(), |channel| {
        channel.tx_select(tx::Select, |_, ok| assert!(ok.is_ok())).unwrap();
        let outcomes = Outcomes::default();
        let refused = |_: &Channel, selected: Result<()>| {
            let closed = Error::ChannelClosed(Closed {
                by: Party::Broker,
                reply_code: 406,
                reply_text: "PRECONDITION_FAILED - cannot switch from tx to confirm mode".into(),
                cause: (85, 10),
            });
            assert_eq!(selected, Err(closed));
        };
        channel.confirm_delivery(outcomes.noting(), refused).unwrap();
        let to = basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
        channel.basic_publish(to, &BasicProperties::default(), "x").unwrap();
        let closed = move |channel: &Channel, error: Error| {
            assert_eq!(outcomes.of(1), error.to_string());
            done(channel);
        };
        channel.add_on_close_callback(closed).unwrap();
    });
    assert_done(&ended);
}

fn past_the_limit_a_publish_is_refused_until_there_is_room<H: Host>() {
    let host = H::new();
    let ended = on_channel(&host, broker(), |channel| {
        let outcomes = confirming(channel);
        channel.set_max_unconfirmed(10).unwrap();
        let none = BasicProperties::default();
        let to = || basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
        for number in 1..=10 {
            assert_eq!(channel.basic_publish(to(), &none, "x"), Ok(number));
        }
        let refused = Err(PublishError::TooManyUnconfirmed { limit: 10 });
        assert_eq!(channel.basic_publish(to(), &none, "x"), refused);
        let writable = move |channel: &Channel| {
            assert!(channel.unconfirmed() <= 5 && outcomes.count() >= 5);
            assert_eq!(channel.basic_publish(to(), &BasicProperties::default(), "x"), Ok(11));
            done(channel);
        };
        channel.add_on_writable_callback(writable).unwrap();
    });
    assert_done(&ended);
}
