//! What is to be sent, and whoever sends it.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, LoopError, PublishError,
    basic,
};

use crate::scene::{Scene, names, publish};
use crate::support::allocations::Allocations;
use crate::support::peers::{delivery, tune};

/// Small ones that are copied, and large ones that go by reference.
fn publish_some(channel: &Channel) {
    for size in [3, 20_000, 0, 9000, 100, 150_000, 5] {
        publish(channel, vec![size as u8; size]);
    }
}

fn len(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}

/// Takes at most so many of them.
fn take(slices: &[IoSlice<'_>], most: usize, taken: &mut Vec<u8>) -> usize {
    let count = len(slices).min(most);
    taken.extend(slices.iter().flat_map(|slice| slice.iter().copied()).take(count));
    count
}

#[test]
fn however_little_is_taken_the_bytes_are_the_same() {
    let whole = {
        let scene = Scene::open();
        publish_some(&scene.channel());
        scene.sent()
    };
    for most in [1, 7, 1000, 40_000] {
        let scene = Scene::open();
        publish_some(&scene.channel());
        let (mut taken, mut calls) = (Vec::new(), 0);
        while scene.protocol.output_len() > 0 {
            let (before, waiting) = (taken.len(), scene.protocol.output_len());
            // It takes some, is interrupted, takes some more, and then nothing for now, either way.
            calls = 0;
            let written = scene.protocol.write_output(|slices| {
                calls += 1;
                match calls {
                    1 | 3 => Ok(take(slices, most, &mut taken)),
                    2 => Err(ErrorKind::Interrupted.into()),
                    _ if taken.len() % 2 == 0 => Ok(0),
                    _ => Err(ErrorKind::WouldBlock.into()),
                }
            });
            assert_eq!(written.expect("no error"), taken.len() - before);
            assert_eq!(scene.protocol.output_len(), waiting - (taken.len() - before));
        }
        assert!(taken == whole, "{most} bytes at a time");
        assert!(calls > 0);
    }
}

#[test]
fn what_is_not_taken_is_bounded_and_room_is_told() {
    let mut parameters = ConnectionParameters::default();
    parameters.set_water_marks(10_000, 50_000).expect("low is below high");
    let writable = Rc::new(Cell::new(0));
    let count = Rc::clone(&writable);
    let callbacks = ConnectionCallbacks::new().on_writable(move |_| count.set(count.get() + 1));
    let scene = Scene::with(parameters, callbacks);
    scene.handshake(&tune());
    let channel = scene.channel();
    let to = basic::Publish::default();
    let body = [7; 1000];
    let refused = loop {
        match channel.basic_publish(to.clone(), &BasicProperties::default(), &body[..]) {
            Ok(_) => assert!(scene.protocol.output_len() < 60_000, "without bounds"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, PublishError::Full);
    scene.process();
    scene.wakes();
    let mut taken = Vec::new();
    let mut write_some = |most: usize| {
        let mut left = most;
        let written = scene.protocol.write_output(|slices| {
            let count = take(slices, left, &mut taken);
            left -= count;
            Ok(count)
        });
        written.expect("no error")
    };
    assert_eq!(write_some(30_000), 30_000);
    scene.process();
    assert_eq!(writable.get(), 0, "there is more than the low mark");
    assert_eq!(write_some(15_000), 15_000);
    assert_eq!((scene.wakes(), writable.get()), (1, 0), "told by the next call");
    assert_eq!(scene.protocol.next_deadline(), Some(scene.now()));
    scene.process();
    assert_eq!(writable.get(), 1);
}

#[test]
fn an_error_of_the_writer_is_the_hosts() {
    let scene = Scene::open();
    publish_some(&scene.channel());
    let waiting = scene.protocol.output_len();
    let mut first = true;
    let written = scene.protocol.write_output(|_| {
        if std::mem::take(&mut first) { Ok(10) } else { Err(ErrorKind::BrokenPipe.into()) }
    });
    assert_eq!(written.expect_err("it failed").kind(), ErrorKind::BrokenPipe);
    assert_eq!(scene.protocol.output_len(), waiting - 10);
    scene.process();
    assert!(scene.protocol.is_open() && scene.ended().is_none());
}

#[test]
fn a_writer_that_has_taken_too_much_is_told_so() {
    let scene = Scene::open();
    publish_some(&scene.channel());
    let waiting = scene.protocol.output_len();
    for lie in [1, usize::MAX] {
        let lie = |slices: &[IoSlice<'_>]| Ok(len(slices).saturating_add(lie));
        scene.protocol.write_output(lie).expect_err("there is not so much");
        assert_eq!(scene.protocol.output_len(), waiting);
    }
}

#[test]
fn a_writer_may_call_what_does_not_call_back() {
    let nested = |error: &io::Error| {
        let source = error.get_ref().and_then(|source| source.downcast_ref::<LoopError>());
        assert_eq!(source, Some(&LoopError::Nested));
    };
    let scene = Scene::open();
    let channel = scene.channel();
    publish(&channel, vec![1; 20_000]);
    let (mut sent, mut calls) = (Vec::new(), 0);
    let written = scene.protocol.write_output(|slices| {
        calls += 1;
        if calls == 1 {
            publish(&channel, vec![2; 20_000]);
            let protocol = &scene.protocol;
            nested(&protocol.write_output(|_| unreachable!("nested")).expect_err("nested"));
            assert_eq!(protocol.data_received(b"?"), Err(LoopError::Nested));
            assert_eq!(protocol.process_due(), Err(LoopError::Nested));
        }
        Ok(take(slices, 6000, &mut sent))
    });
    assert_eq!(written.expect("no error"), sent.len(), "what came meanwhile too");
    assert_eq!(names(&sent), ["basic.publish", "basic.publish"]);
    assert!(scene.protocol.is_open(), "what was refused has not been taken");
    // A callback may write.
    let (protocol, wrote) = (Rc::clone(&scene.protocol), Rc::new(Cell::new(0)));
    let note = Rc::clone(&wrote);
    haypile::BaseConnection::services(&*scene.protocol).add_callback(move || {
        publish(&channel, "from a callback");
        note.set(protocol.write_output(|slices| Ok(len(slices))).expect("it may"));
    });
    scene.process();
    assert!(wrote.get() > 0 && scene.protocol.output_len() == 0);
}

#[test]
fn a_writer_that_panics_loses_nothing() {
    let scene = Scene::open();
    let channel = scene.channel();
    publish(&channel, "before");
    let waiting = scene.protocol.output_len();
    let write = || scene.protocol.write_output(|_| panic!("on purpose"));
    catch_unwind(AssertUnwindSafe(write)).expect_err("it is the host's own call");
    assert_eq!(scene.protocol.output_len(), waiting);
    publish(&channel, "behind");
    assert_eq!(scene.methods(), ["basic.publish", "basic.publish"]);
}

/// In the steady state, one that goes and one that comes.
#[test]
fn small_messages_cost_no_allocations() {
    const MESSAGES: u64 = 1000;
    let scene = Scene::open();
    let channel = scene.channel();
    let received = Rc::new(Cell::new(0));
    let count = Rc::clone(&received);
    let consume = basic::Consume { consumer_tag: "c".into(), no_ack: true, ..Default::default() };
    let on_message = move |_: &Channel, _: &haypile::Delivery<'_>| count.set(count.get() + 1);
    channel.basic_consume(consume, on_message, |_, _| ()).expect("it is open");
    scene.say(1, &basic::ConsumeOk { consumer_tag: "c".into() });
    scene.sent();
    let incoming = delivery(1, "c", 1, &[7; 100]);
    let one_each = || {
        publish(&channel, &[7; 100]);
        scene.protocol.write_output(|slices| Ok(len(slices))).expect("it takes all");
        scene.feed(&incoming);
    };
    (0..10).for_each(|_| one_each());
    let before = Allocations::now().count;
    (0..MESSAGES).for_each(|_| one_each());
    assert_eq!(Allocations::now().count - before, 0);
    assert_eq!(received.get(), MESSAGES + 10);
}
