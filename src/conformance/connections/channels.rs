//! Requests of a channel, and its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::{
    Channel, Closed, Confirm, Error, Party, PublishOutcome, Result, ShortStr, exchange, queue,
};

use super::queues::own_queue;
use crate::conformance::stage::{Stage, assert_closed, assert_refused, close};
use crate::conformance::tools::publish;

/// pika's ends when the broker has agreed; here it also confirms.
pub(in crate::conformance) fn confirm_mode_confirms(stage: &Stage) {
    let selected = Rc::new(Cell::new(false));
    let select = Rc::clone(&selected);
    let ended = stage.on_channel(move |channel| {
        let on_confirm = |channel: &Channel, confirm: Confirm<'_>| {
            assert_eq!((confirm.sequence_number, confirm.outcome), (1, PublishOutcome::Acked));
            close(&channel.connection());
        };
        let on_selected = move |_: &Channel, agreed: Result<()>| {
            agreed.expect("the broker confirms");
            select.set(true);
        };
        channel.confirm_delivery(on_confirm, on_selected).expect("open");
        publish(channel, "nowhere", "dropped, and confirmed");
    });
    assert_closed(ended);
    assert!(selected.get());
}

/// pika's has a declare that waits for no reply between two that do. Here every request has a
/// reply: what has none is a publish and an acknowledgement.
pub(in crate::conformance) fn what_has_no_reply_stalls_no_request(stage: &Stage) {
    let ended = stage.on_channel(|channel| {
        let name = Stage::unique("exchange");
        let declare = || exchange::Declare {
            exchange: ShortStr::from(name.as_str()),
            auto_delete: true,
            ..Default::default()
        };
        let order = Rc::new(Cell::new(0));
        let reply = |place, last| {
            let order = Rc::clone(&order);
            move |channel: &Channel, declared: Result<exchange::DeclareOk>| {
                declared.expect("declared");
                assert_eq!(order.replace(place), place - 1);
                if last {
                    close(&channel.connection());
                }
            }
        };
        channel.exchange_declare(declare(), reply(1, false)).expect("open");
        let to = crate::basic::Publish { exchange: name.as_str().into(), ..Default::default() };
        channel.basic_publish(to, &Default::default(), "to nobody").expect("open");
        channel.exchange_declare(declare(), reply(2, true)).expect("open");
    });
    assert_closed(ended);
}

/// 99 requests that are waiting behind one that fails, and a `close` behind them: each is told,
/// in order, and the channel has ended for the broker's reason.
pub(in crate::conformance) fn close_behind_requests_that_fail_does_not_hang(stage: &Stage) {
    const REQUESTS: usize = 99;
    let failed = Rc::new(RefCell::new(Vec::new()));
    let fail = Rc::clone(&failed);
    let ended = stage.on_channel(move |channel| {
        for number in 0..REQUESTS {
            let queue = "no-such-queue".into();
            let declare = queue::Declare { queue, passive: true, ..Default::default() };
            let fail = Rc::clone(&fail);
            let declared = move |_: &Channel, declared: Result<_>| {
                let _: queue::DeclareOk<'_> = match declared {
                    Ok(declared) => declared,
                    Err(error) => return fail.borrow_mut().push((number, error)),
                };
                panic!("there is such a queue");
            };
            channel.queue_declare(declare, declared).expect("open");
        }
        let closed = |channel: &Channel, reason| {
            assert_refused(&reason, 404, (50, 10));
            close(&channel.connection());
        };
        channel.add_on_close_callback(closed).expect("not ended");
        channel.close(0, "Normal shutdown").expect("open");
    });
    assert_closed(ended);
    let failed = failed.take();
    assert_eq!(failed.len(), REQUESTS);
    for (place, (number, error)) in failed.iter().enumerate() {
        assert_eq!(place, *number);
        assert_refused(error, 404, (50, 10));
    }
}

pub(in crate::conformance) fn close_lets_requests_be_answered(stage: &Stage) {
    let answered = Rc::new(Cell::new(0));
    let answer = Rc::clone(&answered);
    let ended = stage.on_channel(move |channel| {
        for _ in 0..2 {
            let answer = Rc::clone(&answer);
            own_queue(channel, "", move |_, _| answer.set(answer.get() + 1));
        }
        channel.close(0, "Normal shutdown").expect("open");
        assert!(channel.is_closing());
        let closed = move |channel: &Channel, reason| {
            assert!(channel.is_closed());
            let (by, reply_text) = (Party::Client, "Normal shutdown".to_owned());
            let closed = Closed { by, reply_code: 0, reply_text, cause: (0, 0) };
            assert_eq!(reason, Error::ChannelClosed(closed));
            close(&channel.connection());
        };
        channel.add_on_close_callback(closed).expect("not ended");
    });
    assert_closed(ended);
    assert_eq!(answered.get(), 2);
}
