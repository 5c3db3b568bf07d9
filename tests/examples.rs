//! The examples, run as a user runs them, and what they print.

use std::process::Command;

/// Runs an example against the broker; gives the lines that it printed.
fn run(example: &str) -> Vec<String> {
    let broker = std::env::var("AMQP_URL");
    broker.expect("AMQP_URL names no broker: run the tests by scripts/with-broker");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--example", example]);
    if cfg!(feature = "tokio") {
        // The features that the examples have just been built with.
        cargo.args(["--features", "tokio"]);
    }
    let output = cargo.output().expect("cargo runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{printed}{complaints}", output.status);
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn hello_publishes_and_consumes_ten_messages_and_closes() {
    let lines = run("hello");
    let (queue, mut others): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.starts_with("queue amq.gen-"));
    assert_eq!(queue.len(), 1);
    assert_eq!(others.pop().as_deref(), Some("connection closed by this client: (200) bye"));
    let received = (1..=10).map(|number| format!("received message {number}"));
    let expected: Vec<_> =
        ["connected", "published 10"].map(str::to_owned).into_iter().chain(received).collect();
    assert_eq!(others, expected);
}

#[test]
fn select_custom_ioloop_publishes_by_a_timer_and_closes_by_another() {
    let began = std::time::Instant::now();
    let lines = run("select_custom_ioloop");
    assert!(began.elapsed().as_secs() >= 10, "the timer closes it after ten seconds, not before");
    let published = lines.iter().filter(|line| line.starts_with("published message")).count();
    // At 0, 2, 4, 6 and 8 seconds after it was open.
    assert!((4..=5).contains(&published), "{lines:#?}");
    assert_eq!(lines[0], "connected");
    let end = ["closing", "connection closed by this client: (200) ten seconds are over"];
    assert_eq!(lines[lines.len() - 2..], end);
}
