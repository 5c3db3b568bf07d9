//! A session cut into reads in any way is the same session. And what a callback may do while it
//! runs, with the rest of the read still to come.

use std::rc::Rc;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::broker;
use super::pair::{Happened, Pair, pattern};
use crate::connection::{Counters, Input};
use crate::protocol::{ShortStr, basic, channel, queue};

/// All that a broker says in a session with a bit of everything.
fn session() -> Vec<u8> {
    let consume_ok = |number, tag: &'static str| {
        broker::method(number, &basic::ConsumeOk { consumer_tag: tag.into() })
    };
    let (large, chunked) = (pattern(50_000), pattern(10_000));
    let mut in_parts = broker::deliver_method(2, "b", 3);
    in_parts.extend(broker::content(2, &chunked, 4096));
    let mut returned = broker::method(1, &basic::Return { reply_code: 312, ..Default::default() });
    returned.extend(broker::content(1, b"unroutable", 4096));
    [
        broker::method(1, &channel::OpenOk {}),
        broker::method(2, &channel::OpenOk {}),
        broker::heartbeat(),
        broker::deliver(1, "a", 1, b"early"),
        consume_ok(1, "a"),
        broker::method(1, &queue::DeclareOk { queue: "q".into(), ..Default::default() }),
        broker::deliver(1, "a", 2, b""),
        consume_ok(2, "b"),
        in_parts,
        broker::deliver(1, "stranger", 1, b"dropped"),
        returned,
        broker::get_ok(1, b"got"),
        broker::method(1, &basic::GetEmpty {}),
        broker::deliver(2, "b", 4, &large),
        broker::deliver(9, "b", 4, b"no such channel"),
        broker::method(2, &basic::Cancel { consumer_tag: "b".into() }),
        broker::channel_close(2, 404, "gone"),
        broker::deliver(1, "a", 3, b"last"),
        broker::close(320, "forced"),
        broker::deliver(1, "a", 4, b"never seen"),
    ]
    .concat()
}

/// What happens in the session, and what the machine writes and counts, when reads are cut there.
fn play(bytes: &[u8], cuts: &[usize]) -> (Vec<Happened>, Vec<String>, Counters) {
    play_by(true, bytes, cuts)
}

fn play_by(
    short_way: bool,
    bytes: &[u8],
    cuts: &[usize],
) -> (Vec<Happened>, Vec<String>, Counters) {
    let mut pair = Pair::open();
    pair.short_way = short_way;
    let first = pair.ask_channel(None, "first").unwrap();
    let second = pair.ask_channel(None, "second").unwrap();
    // Both are asked for everything before a word of the answers has come.
    pair.feed(&bytes[..32]);
    assert_eq!(pair.happened().len(), 2);
    for (channel, tag) in [(first, "a"), (second, "b")] {
        let consumer_tag = ShortStr::from(tag);
        pair.consume(channel, basic::Consume { consumer_tag, ..Default::default() }).unwrap();
    }
    pair.declare(first, "declare");
    pair.get(first, "one").unwrap();
    pair.get(first, "two").unwrap();
    let mut from = 32;
    for cut in cuts {
        pair.feed(&bytes[from..*cut]);
        from = *cut;
    }
    pair.feed(&bytes[from..]);
    (pair.happened(), pair.sent_names(), pair.machine.counters())
}

#[test]
fn a_session_in_one_read_and_byte_by_byte_is_the_same() {
    let bytes = session();
    let whole = play(&bytes, &[]);
    assert_eq!(whole.0.len(), 15, "{:#?}", whole.0);
    // The large body apart, which has tests of its own, at every byte.
    let cuts: Vec<usize> = (32..14_000).chain(bytes.len() - 700..bytes.len()).collect();
    assert_eq!(play(&bytes, &cuts), whole);
}

#[test]
fn deliveries_that_take_the_short_way_are_the_same() {
    // Without the end: afterwards nothing is left to count.
    let bytes = session();
    let bytes = &bytes[..bytes.len() - 700];
    let short = play_by(true, bytes, &[]);
    assert_eq!(play_by(false, bytes, &[]), short);
    let counted = (short.2.messages_received, short.2.unacked);
    assert_eq!(counted, (6, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_session_in_any_cut_is_the_same(mut cuts in vec(32..64_000usize, 0..40)) {
        let bytes = session();
        cuts.iter_mut().for_each(|cut| *cut = 32 + *cut % (bytes.len() - 32));
        cuts.sort_unstable();
        prop_assert_eq!(play(&bytes, &cuts), play(&bytes, &[]));
    }
}

/// Feeds by hand up to the delivery, whose closure then runs `meanwhile`. Gives whether nobody else
/// holds the closure after that, and what has happened.
fn while_running(
    pair: &mut Pair,
    bytes: &[u8],
    meanwhile: impl FnOnce(&mut Pair),
) -> (bool, Vec<Happened>) {
    let buffer: Arc<[u8]> = Arc::from(bytes);
    let mut input = Input::new(&buffer, buffer.len());
    let arrival = pair.machine.next_delivery(&mut input).expect("a delivery");
    meanwhile(pair);
    let rest = input.rest().to_vec();
    pair.feed(&rest);
    let released = Rc::strong_count(&arrival.on_message) == 1;
    (released, pair.happened())
}

#[test]
fn a_closure_that_runs_returns_to_its_consumer_and_takes_the_next_message() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    let bytes = [broker::deliver(1, "c", 1, b"one"), broker::deliver(1, "c", 2, b"two")].concat();
    let (released, happened) = while_running(&mut pair, &bytes, |pair| {
        pair.tell(channel, &basic::Ack { delivery_tag: 1, multiple: false }).unwrap();
    });
    assert!(!released);
    assert_eq!(happened, [super::pair::delivered(1, "c", 2, b"two")]);
    assert_eq!(pair.sent_names(), ["1 basic.ack"]);
}

#[test]
fn a_consumer_that_cancels_itself_takes_no_other_message_of_the_same_read_hazard_18() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    let bytes = [broker::deliver(1, "c", 1, b"one"), broker::deliver(1, "c", 2, b"two")].concat();
    let (released, happened) = while_running(&mut pair, &bytes, |pair| {
        pair.cancel(channel, "c").unwrap();
    });
    assert!(!released, "CancelOk releases it");
    assert_eq!(happened, []);
    assert_eq!(pair.sent_names(), ["1 basic.cancel", "1 basic.reject"]);
}

#[test]
fn a_closure_whose_channel_ends_while_it_runs_is_released_hazard_18() {
    for connection_too in [false, true] {
        let (mut pair, channel) = Pair::with_channel();
        pair.consumer(channel, "c", false);
        let bytes =
            [broker::deliver(1, "c", 1, b"one"), broker::deliver(1, "c", 2, b"two")].concat();
        let (released, happened) = while_running(&mut pair, &bytes, |pair| {
            if connection_too {
                pair.machine.panicked("oops".into());
            } else {
                pair.feed(&broker::channel_close(1, 404, "gone"));
            }
        });
        assert!(released);
        assert!(!happened.iter().any(|happened| matches!(happened, Happened::Delivered(..))));
    }
}

#[test]
fn a_connection_closed_by_a_callback_delivers_nothing_more_of_the_same_read_hazard_18() {
    let (mut pair, channel) = Pair::with_channel();
    pair.consumer(channel, "c", false);
    let bytes = [broker::deliver(1, "c", 1, b"one"), broker::deliver(1, "c", 2, b"two")].concat();
    let (_, happened) = while_running(&mut pair, &bytes, |pair| pair.close("bye").unwrap());
    assert_eq!(happened, []);
    assert_eq!(pair.sent_names(), ["0 connection.close"]);
}
