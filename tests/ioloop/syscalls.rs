//! System calls of the default poller, counted exactly by `strace`: a run of N rounds and one of 2 N
//! differ by those of N rounds. Where `strace` is missing, or may not trace, nothing is shown, and
//! under `CI` that fails.

use std::env;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{LoopHandle, Ready};

use crate::pollers::MIO;
use crate::tools::{run, run_turns};

const ROUNDS: &str = "HAYPILE_TEST_ROUNDS";

/// Runs the ignored test `child` under `strace`, and gives what `strace` wrote.
fn trace(child: &str, rounds: usize, options: &[&str]) -> String {
    let log = env::temp_dir().join(format!("{child}-{}-{rounds}", std::process::id()));
    let output = strace(options)
        .arg("-o")
        .arg(&log)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--test-threads=1", &format!("syscalls::{child}")])
        .env(ROUNDS, rounds.to_string())
        .output()
        .unwrap();
    let trace = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(output.status.success(), "{output:?}");
    trace
}

fn strace(options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none"]).args(options);
    strace
}

fn can_trace() -> bool {
    let can = strace(&[]).args(["-o", "/dev/null", "true"]).status();
    let can = can.is_ok_and(|status| status.success());
    if !can {
        // On the machine that guards main, a check that shows nothing is no check.
        assert!(env::var_os("CI").is_none(), "no strace that works");
        eprintln!("nothing is shown: no strace that works");
    }
    can
}

/// Fails unless a round of `child` is so many system calls.
fn assert_calls_a_round(child: &str, expected: f64) {
    const N: usize = 1000;
    // A call that another thread's interrupts is two lines, of which one says "resumed".
    let count = |rounds| {
        trace(child, rounds, &[]).lines().filter(|line| !line.contains("resumed>")).count() as f64
    };
    if can_trace() {
        let calls = (count(2 * N) - count(N)) / N as f64;
        // Beyond the rounds, the harness may make a handful more or less.
        assert!((calls - expected).abs() < 0.02, "{calls} system calls a round");
    }
}

fn rounds() -> usize {
    env::var(ROUNDS).map_or(1, |rounds| rounds.parse().unwrap())
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
        let trace = trace("waits", 10, &inject);
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
