//! What handlers do to descriptors whose events are in the batch under way.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use haypile::{FdKey, LoopHandle, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, Trace, readable_pair, run};

every_poller!(
    a_descriptor_removed_in_the_batch_gets_no_event,
    a_descriptor_updated_in_the_batch_gets_no_event_it_is_not_watched_for,
    an_interest_raised_in_the_batch_is_not_told_before_it_is_seen,
    a_number_used_again_in_the_batch_gets_no_stale_event,
    a_handler_may_remove_itself_and_add_the_same_descriptor_again,
    a_handler_that_removes_itself_is_dropped_when_it_has_returned,
    a_handler_may_remove_all,
);

/// Two descriptors, both ready: whichever is called first does `act` to the other, whose event is
/// in the batch under way.
fn first_acts_on_other(
    poller: Poller,
    act: impl Fn(&LoopHandle, FdKey) + Clone + 'static,
) -> usize {
    let ioloop = poller.new_loop();
    let (keys, calls) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let mut theres = Vec::new();
    for index in 0..2 {
        let (there, here) = readable_pair();
        theres.push(there);
        let (k, c, act) = (Rc::clone(&keys), Rc::clone(&calls), act.clone());
        let handler = move |ioloop: &LoopHandle, _| {
            c.set(c.get() + 1);
            let other = k.borrow()[1 - index];
            act(ioloop, other);
            ioloop.stop();
        };
        let key = ioloop.add_handler(here, Ready::READ, handler).unwrap();
        keys.borrow_mut().push(key);
    }
    run(&ioloop);
    calls.get()
}

fn a_descriptor_removed_in_the_batch_gets_no_event(poller: Poller) {
    assert_eq!(
        first_acts_on_other(poller, |ioloop, other| assert!(ioloop.remove_handler(other))),
        1
    );
}

fn a_descriptor_updated_in_the_batch_gets_no_event_it_is_not_watched_for(poller: Poller) {
    let silence = |ioloop: &LoopHandle, other| ioloop.update_handler(other, Ready::NONE).unwrap();
    assert_eq!(first_acts_on_other(poller, silence), 1);
    let to_write = |ioloop: &LoopHandle, other| ioloop.update_handler(other, Ready::WRITE).unwrap();
    assert_eq!(first_acts_on_other(poller, to_write), 1);
    assert_eq!(first_acts_on_other(poller, |_, _| ()), 2);
}

/// Regression: the event in the batch is of a descriptor that was removed and closed, whose number
/// and slot another one has got since.
fn a_number_used_again_in_the_batch_gets_no_stale_event(poller: Poller) {
    let reused = Rc::new(Cell::new(false));
    let kept = Rc::new(RefCell::new(Vec::new()));
    let (r, k) = (Rc::clone(&reused), Rc::clone(&kept));
    let calls = first_acts_on_other(poller, move |ioloop, other| {
        assert!(ioloop.remove_handler(other));
        let (there, here) = UnixStream::pair().unwrap();
        for end in [there, here] {
            let (number, k) = (end.as_raw_fd(), Rc::clone(&k));
            let key =
                ioloop.add_handler(end, Ready::READ, move |_, _| panic!("a stale event")).unwrap();
            k.borrow_mut().push((number, key));
        }
        r.set(true);
    });
    assert!(reused.get());
    assert_eq!(calls, 1);
    let kept = kept.borrow();
    assert_ne!(kept[0].0, kept[1].0);
    // The slot was given away again, with another key.
    assert_ne!(kept[0].1, kept[1].1);
}

fn a_handler_may_remove_itself_and_add_the_same_descriptor_again(poller: Poller) {
    let ioloop = poller.new_loop();
    let (_there, here) = readable_pair();
    let (here, key) = (Rc::new(here), Rc::new(Cell::new(None)));
    let (same, k, calls) = (Rc::clone(&here), Rc::clone(&key), Trace::new());
    let c = calls.clone();
    key.set(Some(
        ioloop
            .add_handler(here, Ready::READ, move |ioloop, _| {
                c.add("first");
                assert!(ioloop.remove_handler(k.get().unwrap()));
                assert!(!ioloop.remove_handler(k.get().unwrap()));
                let c = c.clone();
                ioloop
                    .add_handler(Rc::clone(&same), Ready::READ, move |ioloop, _| {
                        c.add("second");
                        ioloop.stop();
                    })
                    .unwrap();
            })
            .unwrap(),
    ));
    run(&ioloop);
    assert_eq!(calls.take(), ["first", "second"]);
    assert_eq!(ioloop.update_handler(key.get().unwrap(), Ready::READ).unwrap_err().kind(), {
        io::ErrorKind::NotFound
    });
}

/// Both can be written. The one that is called first raises the interest of the other.
fn an_interest_raised_in_the_batch_is_not_told_before_it_is_seen(poller: Poller) {
    let ioloop = poller.new_loop();
    let (keys, trace) = (Rc::new(RefCell::new(Vec::new())), Trace::new());
    let mut theres = Vec::new();
    for _ in 0..2 {
        let (there, here) = readable_pair();
        theres.push(there);
        let (k, t) = (Rc::clone(&keys), trace.clone());
        let handler = move |ioloop: &LoopHandle, ready| {
            t.add(ready);
            for &key in &*k.borrow() {
                ioloop.update_handler(key, Ready::READ | Ready::WRITE).unwrap();
            }
        };
        keys.borrow_mut().push(ioloop.add_handler(here, Ready::READ, handler).unwrap());
    }
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(trace.take(), [Ready::READ; 2]);
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(trace.take(), [Ready::READ | Ready::WRITE; 2]);
}

fn a_handler_that_removes_itself_is_dropped_when_it_has_returned(poller: Poller) {
    let ioloop = poller.new_loop();
    let (_there, here) = readable_pair();
    let (drops, key) = (Drops::default(), Rc::new(Cell::new(None)));
    let (probe, d, k) = (drops.probe(), drops.clone(), Rc::clone(&key));
    let handler = move |ioloop: &LoopHandle, _| {
        let _captured = &probe;
        assert!(ioloop.remove_handler(k.get().unwrap()));
        assert_eq!(d.count(), 0);
    };
    key.set(Some(ioloop.add_handler(here, Ready::READ, handler).unwrap()));
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(drops.count(), 1);
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
}

fn a_handler_may_remove_all(poller: Poller) {
    let ioloop = poller.new_loop();
    let (keys, calls) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let mut theres = Vec::new();
    for _ in 0..50 {
        let (there, here) = readable_pair();
        theres.push(there);
        let (k, calls) = (Rc::clone(&keys), Rc::clone(&calls));
        let handler = move |ioloop: &LoopHandle, _| {
            calls.set(calls.get() + 1);
            for key in k.take() {
                assert!(ioloop.remove_handler(key));
            }
        };
        keys.borrow_mut().push(ioloop.add_handler(here, Ready::READ, handler).unwrap());
    }
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert_eq!(calls.get(), 1);
}
