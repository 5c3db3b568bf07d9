use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{FdKey, LoopHandle, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, MS, Trace, keep, raise_descriptor_limit, readable_pair, run, run_turns};

every_poller!(
    what_a_handler_leaves_unread_is_told_again,
    update_is_absolute_and_holds_for_the_turn_under_way,
    an_interest_of_none_can_be_raised_again,
    removal_drops_the_descriptor_and_the_closure,
    what_the_system_refuses_is_an_error_and_leaves_nothing,
    a_descriptor_added_twice_is_refused_where_both_are_watched,
    a_file_of_a_disk_is_refused_or_always_ready,
    a_descriptor_beyond_the_pollers_limit_is_refused,
    unknown_keys_are_refused,
    a_byte_goes_to_and_fro,
    a_reader_is_told_of_bytes_that_another_has_taken,
    a_removed_descriptor_is_silent_though_its_duplicate_lives_on,
    a_loop_without_descriptors_waits_for_its_timers,
);

fn what_a_handler_leaves_unread_is_told_again(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn update_is_absolute_and_holds_for_the_turn_under_way(poller: Poller) {
    let ioloop = poller.new_loop();
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

fn an_interest_of_none_can_be_raised_again(poller: Poller) {
    let ioloop = poller.new_loop();
    let (_there, here) = readable_pair();
    let key = ioloop.add_handler(here, Ready::NONE, |ioloop, _| ioloop.stop()).unwrap();
    run_turns(&ioloop, 3);
    ioloop.update_handler(key, Ready::READ).unwrap();
    run(&ioloop);
    assert!(ioloop.remove_handler(key));
}

fn removal_drops_the_descriptor_and_the_closure(poller: Poller) {
    let ioloop = poller.new_loop();
    let (mut there, here) = UnixStream::pair().unwrap();
    let drops = Drops::default();
    let probe = drops.probe();
    let key = ioloop.add_handler(here, Ready::READ, move |_, _| keep(&probe)).unwrap();
    assert!(ioloop.remove_handler(key));
    assert_eq!(drops.count(), 1);
    assert_eq!(there.read(&mut [0]).unwrap(), 0, "the other end is closed");
}

fn what_the_system_refuses_is_an_error_and_leaves_nothing(poller: Poller) {
    let ioloop = poller.new_loop();
    let stream = Rc::new(UnixStream::pair().unwrap().0);
    let key = ioloop.add_handler(Rc::clone(&stream), Ready::READ, |_, _| ()).unwrap();
    let drops = Drops::default();
    let probe = drops.probe();
    let again = ioloop.add_handler(Rc::clone(&stream), Ready::READ, move |_, _| keep(&probe));
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((drops.count(), Rc::strong_count(&stream)), (1, 2));
    assert!(ioloop.remove_handler(key));
    assert_eq!(Rc::strong_count(&stream), 1);
    ioloop.add_handler(stream, Ready::READ, |_, _| ()).unwrap();
}

/// Watched for nothing, it is not known to the system.
fn a_descriptor_added_twice_is_refused_where_both_are_watched(poller: Poller) {
    let ioloop = poller.new_loop();
    let (_there, here) = readable_pair();
    let (here, trace) = (Rc::new(here), Trace::new());
    let add = |number: usize| {
        let t = trace.clone();
        let handler = move |_: &LoopHandle, _| t.add(number);
        ioloop.add_handler(Rc::clone(&here), Ready::NONE, handler).unwrap()
    };
    let keys = [add(0), add(1)];
    let turn = || {
        assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
        trace.take()
    };
    assert_eq!(turn(), []);
    ioloop.update_handler(keys[0], Ready::READ).unwrap();
    let refused = ioloop.update_handler(keys[1], Ready::READ).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(turn(), [0]);
    ioloop.update_handler(keys[0], Ready::NONE).unwrap();
    ioloop.update_handler(keys[1], Ready::READ).unwrap();
    assert_eq!(turn(), [1]);
    assert!(ioloop.remove_handler(keys[0]));
    assert_eq!(turn(), [1]);
}

fn a_file_of_a_disk_is_refused_or_always_ready(poller: Poller) {
    let ioloop = poller.new_loop();
    let (drops, trace) = (Drops::default(), Trace::new());
    let (probe, t) = (drops.probe(), trace.clone());
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let handler = move |_: &LoopHandle, ready| {
        keep(&probe);
        t.add(ready);
    };
    match ioloop.add_handler(file, Ready::READ, handler) {
        Ok(_) => {
            assert!(poller.takes_files());
            assert_eq!(ioloop.run_once(None), Ok(true));
            assert_eq!(trace.take(), [Ready::READ]);
        }
        Err(error) => {
            assert!(!poller.takes_files());
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(drops.count(), 1);
        }
    }
}

/// select(2) would write beside its sets.
fn a_descriptor_beyond_the_pollers_limit_is_refused(poller: Poller) {
    let ioloop = poller.new_loop();
    let (_there, here) = readable_pair();
    raise_descriptor_limit();
    let high = rustix::io::fcntl_dupfd_cloexec(&here, 1024).unwrap();
    let number = high.as_raw_fd();
    let trace = Trace::new();
    let t = trace.clone();
    let added = ioloop.add_handler(high, Ready::READ, move |_, ready| t.add(ready));
    match poller.limit() {
        Some(limit) => {
            let error = added.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            let (limit, number) = (limit.to_string(), number.to_string());
            assert!(text.contains("select") && text.contains(&limit) && text.contains(&number));
        }
        None => {
            let key = added.unwrap();
            assert_eq!(ioloop.run_once(None), Ok(true));
            assert_eq!(trace.take(), [Ready::READ]);
            assert!(ioloop.remove_handler(key));
        }
    }
}

fn unknown_keys_are_refused(poller: Poller) {
    let ioloop = poller.new_loop();
    let key = ioloop.add_handler(readable_pair().1, Ready::READ, |_, _| ()).unwrap();
    assert!(ioloop.remove_handler(key));
    // Its slot has another one now.
    ioloop.add_handler(readable_pair().1, Ready::READ, |_, _| ()).unwrap();
    for unknown in [key, FdKey(0), FdKey(usize::MAX), FdKey(usize::MAX - 1)] {
        assert!(!ioloop.remove_handler(unknown));
        let error = ioloop.update_handler(unknown, Ready::READ).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

fn a_byte_goes_to_and_fro(poller: Poller) {
    let ioloop = poller.new_loop();
    let (one, other) = readable_pair();
    let hops = Rc::new(Cell::new(0));
    for end in [one, other] {
        let (end, hops) = (Rc::new(end), Rc::clone(&hops));
        let stream = Rc::clone(&end);
        let hop = move |ioloop: &LoopHandle, ready| {
            assert_eq!(ready, Ready::READ);
            let mut byte = [0];
            (&*stream).read_exact(&mut byte).unwrap();
            (&*stream).write_all(&byte).unwrap();
            hops.set(hops.get() + 1);
            if hops.get() == 1000 {
                ioloop.stop();
            }
        };
        ioloop.add_handler(end, Ready::READ, hop).unwrap();
    }
    run(&ioloop);
    assert_eq!(hops.get(), 1000);
}

/// Both see the bytes in one batch, and one of them takes all.
fn a_reader_is_told_of_bytes_that_another_has_taken(poller: Poller) {
    let ioloop = poller.new_loop();
    let (_there, here) = readable_pair();
    let results = Trace::new();
    for reader in [here.try_clone().unwrap(), here] {
        let reader = Rc::new(reader);
        let (fd, r) = (Rc::clone(&reader), results.clone());
        let handler = move |_: &LoopHandle, _| {
            r.add((&*reader).read(&mut [0; 8]).map_err(|error| error.kind()));
        };
        ioloop.add_handler(fd, Ready::READ, handler).unwrap();
    }
    assert_eq!(ioloop.run_once(None), Ok(true));
    assert_eq!(results.take(), [Ok(1), Err(io::ErrorKind::WouldBlock)]);
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert_eq!(results.take(), []);
}

/// Regression: epoll watches what a descriptor stands for, which lives on with the duplicate, and
/// tells it for ever, under a number that nobody can take out any more.
fn a_removed_descriptor_is_silent_though_its_duplicate_lives_on(poller: Poller) {
    let ioloop = poller.new_loop();
    let (mut there, here) = readable_pair();
    let (duplicate, trace) = (here.try_clone().unwrap(), Trace::new());
    let number = here.as_raw_fd();
    let key = ioloop.add_handler(here, Ready::READ, |_, _| panic!("removed")).unwrap();
    assert!(ioloop.remove_handler(key));
    // Whoever has the number next gets its own events only.
    let (mut other, here) = UnixStream::pair().unwrap();
    let again = rustix::io::fcntl_dupfd_cloexec(&here, number).unwrap();
    let t = trace.clone();
    ioloop.add_handler(again, Ready::READ, move |_, _| t.add("number")).unwrap();
    there.write_all(b"y").unwrap();
    let start = Instant::now();
    assert_eq!(ioloop.run_once(Some(2 * MS)), Ok(true));
    assert!(start.elapsed() >= 2 * MS, "what nobody gets ends the wait");
    assert_eq!(trace.take(), [""; 0]);
    other.write_all(b"z").unwrap();
    let t = trace.clone();
    ioloop.add_handler(duplicate, Ready::READ, move |_, _| t.add("duplicate")).unwrap();
    assert_eq!(ioloop.run_once(None), Ok(true));
    let mut told = trace.take();
    told.sort();
    assert_eq!(told, ["duplicate", "number"]);
}

fn a_loop_without_descriptors_waits_for_its_timers(poller: Poller) {
    let ioloop = poller.new_loop();
    let (handle, due) = (ioloop.handle(), Instant::now() + 2 * MS);
    ioloop.add_timeout(due, move || handle.stop());
    run(&ioloop);
    assert!(Instant::now() >= due);
    // Also after the last one is gone.
    let key = ioloop.add_handler(readable_pair().1, Ready::READ, |_, _| ()).unwrap();
    assert!(ioloop.remove_handler(key));
    let (handle, due) = (ioloop.handle(), Instant::now() + 2 * MS);
    ioloop.add_timeout(due, move || handle.stop());
    run(&ioloop);
    assert!(Instant::now() >= due);
}
