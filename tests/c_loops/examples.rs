//! The examples, run as a user runs them.

#[cfg(feature = "libuv")]
use std::io::{BufRead, BufReader, Write};
#[cfg(feature = "libuv")]
use std::net::TcpStream;
use std::process::Command;
#[cfg(feature = "libuv")]
use std::process::Stdio;

/// The command that runs an example, with the features that it has just been built with.
fn command(example: &str) -> Command {
    std::env::var("AMQP_URL")
        .expect("AMQP_URL names no broker: run the tests by scripts/with-broker");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--example", example]);
    for (feature, is_on) in [
        ("futures", cfg!(feature = "futures")),
        ("glib", cfg!(feature = "glib")),
        ("libev", cfg!(feature = "libev")),
        ("libevent", cfg!(feature = "libevent")),
        ("libuv", cfg!(feature = "libuv")),
        ("tokio", cfg!(feature = "tokio")),
    ] {
        if is_on {
            cargo.args(["--features", feature]);
        }
    }
    cargo.arg("--");
    cargo
}

/// The program that there is for each loop.
fn publishes_by_the_loops_timer(example: &str) {
    let output = command(example).arg("20").output().expect("cargo runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{complaints}", output.status);
    let received: String = (1..=10).map(|number| format!("received message {number}\n")).collect();
    let end = "connection closed by this client: (200) bye\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("connected\n{received}{end}"));
}

#[cfg(feature = "glib")]
#[test]
fn glib() {
    publishes_by_the_loops_timer("glib");
}

#[cfg(feature = "libev")]
#[test]
fn libev() {
    publishes_by_the_loops_timer("libev");
}

#[cfg(feature = "libevent")]
#[test]
fn libevent() {
    publishes_by_the_loops_timer("libevent");
}

#[cfg(feature = "libuv")]
#[test]
fn libuv() {
    publishes_by_the_loops_timer("libuv");
}

#[cfg(feature = "libuv")]
#[test]
fn libuv_host_serves_clients_beside_the_connection() {
    let mut host = command("libuv_host").stdout(Stdio::piped()).spawn().expect("cargo runs");
    let printed = BufReader::new(host.stdout.take().expect("it is piped"));
    let mut lines = printed.lines().map(|line| line.expect("text"));
    let listening = lines.next().expect("a line");
    let address = listening.strip_prefix("listening on ").expect("the address");
    let mut anna = TcpStream::connect(address).expect("it listens");
    let mut bela = TcpStream::connect(address).expect("it listens");
    anna.write_all(b"from Anna\n").unwrap();
    let mut next = |what: &str| lines.find(|line| line == what).expect("it is printed");
    next("from the broker: from Anna");
    next("published so far: 1");
    bela.write_all(b"from Bela\n").unwrap();
    next("from the broker: from Bela");
    bela.write_all(b"stop\n").unwrap();
    next("from the broker: stop");
    next("connection closed by this client: (200) bye");
    drop((anna, bela));
    assert!(host.wait().expect("it ends").success(), "nothing is left in its loop");
}
