//! System calls, counted exactly by `strace`: a run of N rounds and one of 2 N differ by those of N
//! rounds. Where `strace` is missing, or may not trace, nothing is shown.

use std::env;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use haypile::{IOLoop, LoopHandle, Ready};

use crate::{run, run_turns};

const ROUNDS: &str = "HAYPILE_TEST_ROUNDS";

/// The system calls of one round of the ignored test `child`; `None` without `strace`.
fn calls_a_round(child: &str) -> Option<f64> {
    const N: usize = 1000;
    let count = |rounds: usize| {
        let log = env::temp_dir().join(format!("{child}-{}-{rounds}", std::process::id()));
        let status = Command::new("strace")
            .args(["-f", "-qq", "-e", "signal=none", "-o"])
            .arg(&log)
            .arg(env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--test-threads=1", &format!("syscalls::{child}")])
            .env(ROUNDS, rounds.to_string())
            .status();
        let trace = std::fs::read_to_string(&log).ok();
        let _ = std::fs::remove_file(&log);
        // A call that another thread's interrupts is two lines, of which one says "resumed".
        let calls = |trace: String| trace.lines().filter(|line| !line.contains("resumed>")).count();
        match status {
            Ok(status) if status.success() => Some(calls(trace.unwrap()) as f64),
            Ok(status) => panic!("strace: {status}"),
            Err(error) => {
                eprintln!("nothing is shown: strace: {error}");
                None
            }
        }
    };
    Some((count(2 * N)? - count(N)?) / N as f64)
}

fn rounds() -> usize {
    env::var(ROUNDS).unwrap().parse().unwrap()
}

#[test]
fn an_idle_turn_is_one_system_call() {
    if let Some(calls) = calls_a_round("idle_turns") {
        // Beyond the turns, the harness may do a handful more or less.
        assert!((calls - 1.0).abs() < 0.02, "{calls}");
    }
}

/// With a timer that is far and a descriptor that is silent.
#[test]
#[ignore = "run by the test above, under strace"]
fn idle_turns() {
    let ioloop = IOLoop::new().unwrap();
    let (_there, here) = UnixStream::pair().unwrap();
    ioloop.add_handler(here, Ready::READ, |_, _| ()).unwrap();
    ioloop.call_later(Duration::from_secs(3600), || ());
    run_turns(&ioloop, rounds());
}

#[test]
fn a_hop_over_a_socket_pair_is_three_system_calls() {
    if let Some(calls) = calls_a_round("hops") {
        assert!((calls - 3.0).abs() < 0.02, "{calls}");
    }
}

/// A byte that goes to and fro, a hop a round.
#[test]
#[ignore = "run by the test above, under strace"]
fn hops() {
    let ioloop = IOLoop::new().unwrap();
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
    if let Some(calls) = calls_a_round("timers_come_and_go") {
        assert!((calls - 1.0).abs() < 0.02, "{calls}");
    }
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
    let ioloop = IOLoop::new().unwrap();
    ioloop.call_later(Duration::from_secs(3600), || ());
    next(&ioloop.handle(), rounds());
    run(&ioloop);
}
