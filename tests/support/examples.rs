//! Examples, run as a user runs them.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Those that the examples have just been built with.
const FEATURES: [(&str, bool); 8] = [
    ("async-io", cfg!(feature = "async-io")),
    ("calloop", cfg!(feature = "calloop")),
    ("futures", cfg!(feature = "futures")),
    ("glib", cfg!(feature = "glib")),
    ("libev", cfg!(feature = "libev")),
    ("libevent", cfg!(feature = "libevent")),
    ("libuv", cfg!(feature = "libuv")),
    ("tokio", cfg!(feature = "tokio")),
];

/// The command that runs an example, which becomes the example's process.
pub fn command(example: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--example", example]);
    for (feature, is_on) in FEATURES {
        if is_on {
            cargo.args(["--features", feature]);
        }
    }
    cargo.arg("--");
    cargo
}

/// Runs an example against the broker; gives the lines that it printed.
pub fn run(example: &str) -> Vec<String> {
    run_with(example, &[])
}

pub fn run_with(example: &str, arguments: &[&str]) -> Vec<String> {
    super::broker_url(); // else its own complaint would be about something else
    let output = command(example).args(arguments).output().expect("cargo runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{printed}{complaints}", output.status);
    printed.lines().map(str::to_owned).collect()
}

/// An example that runs until it is told to end.
pub struct Running {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(example: &str, arguments: &[&str]) -> Self {
        let mut command = command(example);
        let mut process =
            command.args(arguments).stdout(Stdio::piped()).spawn().expect("cargo runs");
        let printed = process.stdout.take().expect("it is piped");
        Self { process, lines: BufReader::new(printed).lines() }
    }

    pub fn line(&mut self) -> String {
        self.lines.next().expect("one more line").expect("text")
    }

    /// Sends SIGTERM, and gives what it prints until it has ended well.
    pub fn terminate(self) -> Vec<String> {
        #[allow(unsafe_code)]
        // SAFETY: a signal to a child that has not been waited for.
        let sent = unsafe { libc::kill(self.process.id() as libc::pid_t, libc::SIGTERM) };
        assert_eq!(sent, 0);
        self.ends_well()
    }

    /// Waits until it has ended well; gives what it prints until then.
    pub fn ends_well(mut self) -> Vec<String> {
        let rest = self.lines.by_ref().map(|line| line.expect("text")).collect();
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}: {rest:?}");
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to end, if all went well.
        drop(self.process.kill());
    }
}

/// The program that there is for each loop.
pub fn publishes_by_the_timer_of_its_loop(example: &str) {
    publishes_by_a_timer(example, &["20"]);
}

pub fn publishes_by_a_timer(example: &str, arguments: &[&str]) {
    let lines = run_with(example, arguments);
    let received = (1..=10).map(|number| format!("received message {number}"));
    let end = "connection closed by this client: (200) bye".to_owned();
    let expected: Vec<_> =
        ["connected".to_owned()].into_iter().chain(received).chain([end]).collect();
    assert_eq!(lines, expected);
}
