//! System calls, counted exactly by `strace`: a run of N rounds and one of 2 N differ by those of N
//! rounds. Where `strace` is missing, or may not trace, nothing is shown, and under `CI` that fails.

use std::env;
use std::process::Command;

const ROUNDS: &str = "HAYPILE_TEST_ROUNDS";

/// How many rounds a test is to do that this process was started for.
pub fn rounds() -> Option<usize> {
    env::var(ROUNDS).ok().map(|rounds| rounds.parse().unwrap())
}

/// Runs the test `child` under `strace`, and gives what `strace` wrote.
pub fn trace(child: &str, rounds: usize, options: &[&str]) -> String {
    let log = format!("{}-{}-{rounds}", child.replace("::", "-"), std::process::id());
    let log = env::temp_dir().join(log);
    let output = strace(options)
        .arg("-o")
        .arg(&log)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--include-ignored", "--test-threads=1", child])
        .env(ROUNDS, rounds.to_string())
        .output()
        .unwrap();
    let trace = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    trace
}

fn strace(options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none"]).args(options);
    strace
}

pub fn can_trace() -> bool {
    let can = strace(&[]).args(["-o", "/dev/null", "true"]).status();
    let can = can.is_ok_and(|status| status.success());
    if !can {
        // On the machine that guards main, a check that shows nothing is no check.
        assert!(env::var_os("CI").is_none(), "no strace that works");
        eprintln!("nothing is shown: no strace that works");
    }
    can
}

/// The harness may make a handful more or less, beyond the rounds.
const SAME: f64 = 0.02;

/// Fails unless a round of the test `child` is so many system calls.
pub fn assert_calls_a_round(child: &str, expected: f64) {
    if can_trace() {
        let calls = calls_a_round(child, &[]);
        assert!((calls - expected).abs() < SAME, "{calls} system calls a round");
    }
}

/// What a round in which threads meet has more when one of them is interrupted at the wrong place:
/// between GLib's flag and its wake, for example, of which the loop sees the first at once. It is the
/// machine's, and of few rounds; a call more in each is far beyond it.
const MET: f64 = 0.2;

/// Fails if a round of the test `child`, in which threads meet, is more system calls than that: some
/// may find done what they would wait for. Those of a thread that is interrupted while another one
/// wants the same are the machine's.
pub fn assert_at_most(child: &str, expected: f64) {
    if can_trace() {
        let calls = calls_a_round(child, &["-e", "trace=!futex,sched_yield"]);
        assert!(calls < expected + MET, "{calls} system calls a round");
    }
}

fn calls_a_round(child: &str, options: &[&str]) -> f64 {
    const N: usize = 1000;
    // A call that another thread's interrupts is two lines, of which one says "resumed".
    let lines = |rounds| {
        let trace = trace(child, rounds, options);
        trace.lines().filter(|line| !line.contains("resumed>")).count() as f64
    };
    (lines(2 * N) - lines(N)) / N as f64
}
