use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use haypile::{FdKey, IOLoop, LoopHandle, Ready};
use rustix::time::{ClockId, clock_gettime};

use crate::{Drops, Trace, keep, run, run_turns};

/// A pair of which the second has a byte to read.
fn readable_pair() -> (UnixStream, UnixStream) {
    let (mut there, here) = UnixStream::pair().unwrap();
    there.write_all(b"x").unwrap();
    (there, here)
}

#[test]
fn what_a_handler_leaves_unread_is_told_again() {
    let ioloop = IOLoop::new().unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    there.write_all(b"abc").unwrap();
    let (here, trace) = (Rc::new(here), Trace::new());
    let (reader, t) = (Rc::clone(&here), trace.clone());
    ioloop
        .add_handler(here, Ready::READ, move |ioloop, ready| {
            let mut byte = [0];
            (&*reader).read_exact(&mut byte).unwrap();
            t.add((byte[0], ready));
            if byte[0] == b'c' {
                ioloop.stop();
            }
        })
        .unwrap();
    run(&ioloop);
    let expected = [(b'a', Ready::READ), (b'b', Ready::READ), (b'c', Ready::READ)];
    assert_eq!(trace.take(), expected);
    // Nothing is left, and so nothing is told.
    run_turns(&ioloop, 5);
    assert_eq!(trace.take(), []);
}

#[test]
fn update_is_absolute_and_holds_for_the_turn_under_way() {
    let ioloop = IOLoop::new().unwrap();
    let (_there, here) = readable_pair();
    let trace = Trace::new();
    let t = trace.clone();
    let key = ioloop.add_handler(here, Ready::READ, move |_, ready| t.add(ready)).unwrap();
    let tell = |interest| {
        ioloop.update_handler(key, interest).unwrap();
        run_turns(&ioloop, 0);
        trace.take()
    };
    assert_eq!(tell(Ready::READ), [Ready::READ]);
    assert_eq!(tell(Ready::READ | Ready::WRITE), [Ready::READ | Ready::WRITE]);
    assert_eq!(tell(Ready::WRITE), [Ready::WRITE]);
    assert_eq!(tell(Ready::NONE), []);
    assert_eq!(tell(Ready::ERROR), []);
    assert_eq!(tell(Ready::READ), [Ready::READ]);
}

/// Two descriptors, both ready: whichever is called first does `act` to the other, whose event is
/// in the batch under way.
fn first_acts_on_other(act: impl Fn(&LoopHandle, FdKey) + Clone + 'static) -> usize {
    let ioloop = IOLoop::new().unwrap();
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

#[test]
fn a_descriptor_removed_in_the_batch_gets_no_event() {
    assert_eq!(first_acts_on_other(|ioloop, other| assert!(ioloop.remove_handler(other))), 1);
}

#[test]
fn a_descriptor_updated_in_the_batch_gets_no_event_it_is_not_watched_for() {
    let silence = |ioloop: &LoopHandle, other| ioloop.update_handler(other, Ready::NONE).unwrap();
    assert_eq!(first_acts_on_other(silence), 1);
    let to_write = |ioloop: &LoopHandle, other| ioloop.update_handler(other, Ready::WRITE).unwrap();
    assert_eq!(first_acts_on_other(to_write), 1);
    assert_eq!(first_acts_on_other(|_, _| ()), 2);
}

/// Regression: the event in the batch is of a descriptor that was removed and closed, whose number
/// and slot another one has got since.
#[test]
fn a_number_used_again_in_the_batch_gets_no_stale_event() {
    let reused = Rc::new(Cell::new(false));
    let kept = Rc::new(RefCell::new(Vec::new()));
    let (r, k) = (Rc::clone(&reused), Rc::clone(&kept));
    let calls = first_acts_on_other(move |ioloop, other| {
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

#[test]
fn a_handler_may_remove_itself_and_add_the_same_descriptor_again() {
    let ioloop = IOLoop::new().unwrap();
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

/// Regression: epoll tells a hang-up also to those who watch for nothing.
#[test]
fn a_hang_up_with_no_interest_does_not_spin() {
    let ioloop = IOLoop::new().unwrap();
    let (there, here) = UnixStream::pair().unwrap();
    let key = ioloop.add_handler(here, Ready::READ, |_, _| panic!("not watched")).unwrap();
    ioloop.update_handler(key, Ready::NONE).unwrap();
    let (other, here) = UnixStream::pair().unwrap();
    ioloop.add_handler(here, Ready::NONE, |_, _| panic!("not watched")).unwrap();
    drop((there, other));
    let handle = ioloop.handle();
    ioloop.call_later(Duration::from_millis(30), move || handle.stop());
    let before = clock_gettime(ClockId::ThreadCPUTime);
    run(&ioloop);
    let used = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - before).unwrap();
    assert!(used < Duration::from_millis(10), "{used:?} of work in 30 ms of waiting");
}

#[test]
fn a_hang_up_is_told_with_the_whole_interest() {
    for interest in [Ready::READ, Ready::WRITE, Ready::READ | Ready::WRITE, Ready::ERROR] {
        let ioloop = IOLoop::new().unwrap();
        let (there, here) = UnixStream::pair().unwrap();
        drop(there);
        let trace = Trace::new();
        let t = trace.clone();
        let handler = move |ioloop: &LoopHandle, ready| {
            t.add(ready);
            ioloop.stop();
        };
        ioloop.add_handler(here, interest, handler).unwrap();
        run(&ioloop);
        assert_eq!(trace.take(), [interest | Ready::ERROR]);
    }
}

#[test]
fn an_interest_of_none_can_be_raised_again() {
    let ioloop = IOLoop::new().unwrap();
    let (_there, here) = readable_pair();
    let key = ioloop.add_handler(here, Ready::NONE, |ioloop, _| ioloop.stop()).unwrap();
    run_turns(&ioloop, 3);
    ioloop.update_handler(key, Ready::READ).unwrap();
    run(&ioloop);
    assert!(ioloop.remove_handler(key));
}

#[test]
fn removal_drops_the_descriptor_and_the_closure() {
    let ioloop = IOLoop::new().unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    let drops = Drops::default();
    let probe = drops.probe();
    let key = ioloop.add_handler(here, Ready::READ, move |_, _| keep(&probe)).unwrap();
    assert!(ioloop.remove_handler(key));
    assert_eq!(drops.count(), 1);
    assert_eq!(there.read(&mut [0]).unwrap(), 0, "the other end is closed");
}

#[test]
fn what_the_system_refuses_is_an_error_and_leaves_nothing() {
    let ioloop = IOLoop::new().unwrap();
    let drops = Drops::default();
    let probe = drops.probe();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let error = ioloop.add_handler(file, Ready::READ, move |_, _| keep(&probe)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(drops.count(), 1);

    let stream = Rc::new(UnixStream::pair().unwrap().0);
    let key = ioloop.add_handler(Rc::clone(&stream), Ready::READ, |_, _| ()).unwrap();
    let error = ioloop.add_handler(Rc::clone(&stream), Ready::READ, |_, _| ()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(ioloop.remove_handler(key));
    ioloop.add_handler(stream, Ready::READ, |_, _| ()).unwrap();
}

#[test]
fn a_descriptor_always_ready_starves_neither_others_nor_timers() {
    let ioloop = IOLoop::new().unwrap();
    let (_there, busy) = readable_pair();
    ioloop.add_handler(busy, Ready::READ | Ready::WRITE, |_, _| ()).unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    ioloop.add_handler(here, Ready::READ, |ioloop, _| ioloop.stop()).unwrap();
    ioloop.call_later(Duration::from_millis(1), move || {
        there.write_all(b"x").unwrap();
    });
    run(&ioloop);
}
