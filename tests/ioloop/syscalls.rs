//! System calls of the default poller, counted exactly.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{LoopHandle, Ready};

use crate::pollers::MIO;
use crate::strace::{self, can_trace, trace};
use crate::tools::{run, run_turns};

/// In a child, how many rounds it is to do.
fn rounds() -> usize {
    strace::rounds().unwrap_or(1)
}

/// Fails unless a round of the ignored test `child` is so many system calls.
fn assert_calls_a_round(child: &str, expected: f64) {
    strace::assert_calls_a_round(&format!("syscalls::{child}"), expected);
}

#[test]
fn an_idle_turn_is_one_system_call() {
    assert_calls_a_round("idle_turns", 1.0);
}

/// With a timer that is far and a descriptor that is silent.
#[test]
#[ignore = "run by the test above, under strace"]
fn idle_turns() {
    let ioloop = MIO.new_loop();
    let (_there, here) = UnixStream::pair().unwrap();
    ioloop.add_handler(here, Ready::READ, |_, _| ()).unwrap();
    ioloop.call_later(Duration::from_secs(3600), || ());
    run_turns(&ioloop, rounds());
}

#[test]
fn a_hop_over_a_socket_pair_is_three_system_calls() {
    assert_calls_a_round("hops", 3.0);
}

/// A byte that goes to and fro, a hop a round.
#[test]
#[ignore = "run by the test above, under strace"]
fn hops() {
    let ioloop = MIO.new_loop();
    ioloop.call_later(Duration::from_secs(3600), || ());
    let (one, other) = UnixStream::pair().unwrap();
    (&one).write_all(b"x").unwrap();
    let left = Rc::new(std::cell::Cell::new(rounds()));
    for end in [one, other] {
        let (end, left) = (Rc::new(end), Rc::clone(&left));
        let stream = Rc::clone(&end);
        let hop = move |ioloop: &LoopHandle, _| {
            let mut byte = [0];
            (&*stream).read_exact(&mut byte).unwrap();
            (&*stream).write_all(&byte).unwrap();
            left.set(left.get() - 1);
            if left.get() == 0 {
                ioloop.stop();
            }
        };
        ioloop.add_handler(end, Ready::READ, hop).unwrap();
    }
    run(&ioloop);
}

/// A request's deadline that is set and removed in each turn, beside a nearer one, is not told to
/// the kernel.
#[test]
fn a_timer_set_and_removed_is_no_system_call() {
    assert_calls_a_round("timers_come_and_go", 1.0);
}

#[test]
#[ignore = "run by the test above, under strace"]
fn timers_come_and_go() {
    fn next(ioloop: &LoopHandle, left: usize) {
        let request = ioloop.call_later(Duration::from_secs(7200), || ());
        let handle = ioloop.clone();
        ioloop.add_callback(move || {
            assert!(handle.remove_timeout(request));
            match left {
                0 => handle.stop(),
                _ => next(&handle, left - 1),
            }
        });
    }
    let ioloop = MIO.new_loop();
    ioloop.call_later(Duration::from_secs(3600), || ());
    next(&ioloop.handle(), rounds());
    run(&ioloop);
}

/// However many posts there are in a turn, the first of them wakes the loop.
#[test]
fn a_hundred_posts_are_one_wake() {
    assert_calls_a_round("posts_in_each_turn", 2.0);
}

#[test]
#[ignore = "run by the test above, under strace"]
fn posts_in_each_turn() {
    fn post(ioloop: &LoopHandle, left: usize) {
        let remote = ioloop.remote();
        (0..100).for_each(|_| remote.add_callback(|| ()).unwrap());
        let handle = ioloop.clone();
        // This one comes with the wait after, whose only cause is the wake.
        ioloop.call_later(Duration::ZERO, move || match left {
            0 => handle.stop(),
            _ => post(&handle, left - 1),
        });
    }
    let ioloop = MIO.new_loop();
    post(&ioloop.handle(), rounds());
    run(&ioloop);
}

#[test]
fn an_interrupted_wait_goes_on_to_the_same_deadline() {
    if can_trace() {
        let inject = ["-e", "inject=epoll_wait,epoll_pwait:error=EINTR:when=1+2"];
        let trace = trace("syscalls::waits", 10, &inject);
        assert!(trace.contains("INJECTED"), "{trace}");
        // Not at all for a deadline that has passed when the wait begins, on a busy machine.
        let set = trace.matches("timerfd_settime").count();
        assert!((1..=10).contains(&set), "set {set} times: again after an interrupt");
    }
}

#[test]
#[ignore = "run by the test above, under strace"]
fn waits() {
    let ioloop = MIO.new_loop();
    for _ in 0..rounds() {
        let (handle, due) = (ioloop.handle(), Instant::now() + Duration::from_millis(2));
        ioloop.add_timeout(due, move || {
            assert!(Instant::now() >= due);
            handle.stop();
        });
        ioloop.start().unwrap();
    }
}
