//! The examples, run as a user runs them, and what they print.

mod support;

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;

use haypile::ConnectionParameters;
use support::broker_url;
use support::examples::*;
use support::forward::{End, Forward};

#[test]
fn poll_loop_runs_a_connection_on_a_loop_of_its_own() {
    let told = ["received Hello, poll!", "connection closed by this client: (200) bye"];
    assert_eq!(run("poll_loop"), told);
}

#[test]
fn confirms_knows_of_every_message() {
    let told = [
        "published 10000",
        "10000 are safe, 0 were refused, 0 came back",
        "connection closed by this client: (200) bye",
    ];
    assert_eq!(run("confirms"), told);
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

#[cfg(all(feature = "futures", feature = "tokio"))]
#[test]
fn async_await_publishes_and_consumes_by_futures() {
    publishes_by_the_timer_of_its_loop("async_await");
}

#[test]
fn protocol_connection_publishes_by_its_timer() {
    publishes_by_the_timer_of_its_loop("protocol_connection");
}

#[test]
fn any_loop_publishes_by_the_timer_of_the_loop_that_it_is_given() {
    publishes_by_the_timer_of_its_loop("any_loop");
    if cfg!(feature = "tokio") {
        publishes_by_a_timer("any_loop", &["20", "tokio"]);
    }
}

#[cfg(feature = "async-io")]
#[test]
fn async_io_publishes_by_its_timer() {
    publishes_by_the_timer_of_its_loop("async_io");
}

#[cfg(feature = "calloop")]
#[test]
fn calloop_publishes_by_its_timer() {
    publishes_by_the_timer_of_its_loop("calloop");
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_publishes_by_its_timer() {
    publishes_by_the_timer_of_its_loop("tokio");
}

#[cfg(feature = "calloop")]
#[test]
fn calloop_host_consumes_all_that_a_thread_reads() {
    let lines = run("calloop_host");
    assert_eq!(lines.iter().filter(|line| *line == "all is read").count(), 1, "{lines:?}");
    let end = ["20 of 20 consumed", "connection closed by this client: (200) bye"];
    assert_eq!(lines[lines.len() - 2..], end);
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

#[test]
fn several_hosts_finds_the_one_that_works_and_tells_of_those_that_do_not() {
    let broker = broker_url();
    let dead = ["amqp://no-such-host.invalid", "amqp://127.0.0.1:1"];
    let mut lucky = Running::start("several_hosts", &[dead[0], dead[1], &broker]);
    assert_eq!(lucky.line(), "connected");
    assert_eq!(lucky.line(), "connection closed by this client: (200) bye");
    let mut unlucky = Running::start("several_hosts", &dead);
    assert_eq!(unlucky.line(), "none of them took the connection:");
    let told = [unlucky.line(), unlucky.line()];
    assert!(told[0].starts_with("- cannot resolve host \"no-such-host.invalid\": "), "{told:?}");
    assert!(told[0].ends_with(" (3 times)"), "{told:?}");
    let refused = "- cannot connect to \"127.0.0.1\" at 127.0.0.1:1: Connection refused";
    assert!(told[1].starts_with(refused), "{told:?}");
}

#[test]
fn reconnect_comes_back_when_its_connection_is_lost() {
    let url = broker_url();
    let broker: ConnectionParameters = url.parse().expect("a URL");
    let forward = Forward::to(&broker);
    let port = |port: u16| format!(":{port}");
    let through = url.replace(&port(broker.port()), &port(forward.address().port()));
    assert_ne!(through, url, "the broker's URL tells its port");
    let mut consumer = Running::start("reconnect", &[&through]);
    for _ in 0..2 {
        assert_eq!(consumer.line(), "connected");
        assert_eq!(consumer.line(), "consuming");
        forward.end(End::Cut);
        assert_eq!(consumer.line(), "connection lost: the peer closed the stream");
    }
    assert_eq!(consumer.line(), "connected");
}

#[test]
fn worker_threads_does_every_job_once_and_acknowledges_it() {
    let mut lines = run("worker_threads");
    let end = "connection closed by this client: (200) all is done";
    assert_eq!(lines.pop().as_deref(), Some(end));
    lines.sort();
    let mut jobs: Vec<_> = (1..=20).map(|number| format!("done: job {number}")).collect();
    jobs.sort();
    assert_eq!(lines, jobs);
}

#[test]
fn graceful_stop_cancels_and_closes_at_a_signal() {
    broker_url();
    let mut worker = Running::start("graceful_stop", &[]);
    assert_eq!(worker.line(), "working as ctag1.0.0");
    let end = "connection closed by this client: (200) stopped";
    assert_eq!(worker.terminate(), ["stopping", "cancelled ctag1.0.0", end]);
}

#[cfg(feature = "tls")]
#[test]
fn tls_trusts_whom_it_is_told_to_and_logs_in_by_certificate() {
    let variable = |name| std::env::var(name).expect("set by scripts/with-broker");
    let url = variable("AMQPS_URL");
    let file = |name: &str| format!("{}/{name}", variable("AMQP_TLS_DIR"));
    let certificate = [file("ca.pem"), file("client.pem"), file("client.key")];
    let printed = ["connected", "received sealed", "connection closed by this client: (200) bye"];
    for files in [&certificate[..1], &certificate[..]] {
        let output = command("tls").arg(&url).args(files).output().expect("cargo runs");
        let [said, complaint] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert_eq!(said.lines().collect::<Vec<_>>(), printed, "{complaint}");
    }
    // Without a file it is the platform, which may know the authority, or not.
    let none = std::env::temp_dir().join(format!("haypile-no-roots-{}", std::process::id()));
    std::fs::create_dir(&none).expect("an empty folder");
    let by_platform = |authorities: &str| {
        let mut command = command("tls");
        command.env("SSL_CERT_FILE", authorities).env("SSL_CERT_DIR", &none);
        let output = command.arg(&url).output().expect("cargo runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(by_platform(&file("ca.pem")), (true, String::new()));
    let (connected, complaint) = by_platform(&file("other-ca.pem"));
    assert!(!connected && complaint.contains("UnknownIssuer"), "{complaint}");
    let (connected, complaint) = by_platform(&file("server.key"));
    assert!(!connected && complaint.contains("NoRoots"), "{complaint}");
    std::fs::remove_dir(&none).expect("still empty");
}

#[test]
fn chat_server_passes_lines_on_and_sends_silent_clients_away() {
    let mut server = Running::start("chat_server", &["127.0.0.1:0", "1.5"]);
    let listening = server.line();
    let address = listening.strip_prefix("listening on ").expect("the address");
    let mut join = || {
        let stream = TcpStream::connect(address).expect("it listens");
        let name = stream.local_addr().expect("an address").to_string();
        assert_eq!(server.line(), format!("{name} has joined"));
        (BufReader::new(stream.try_clone().expect("a clone")).lines(), stream, name)
    };
    let (mut anna_hears, mut anna, anna_is) = join();
    let (mut bela_hears, mut bela, bela_is) = join();
    let hear = |lines: &mut Lines<BufReader<TcpStream>>| lines.next().expect("a line").unwrap();
    assert_eq!(hear(&mut anna_hears), format!("* {bela_is} has joined"));

    anna.write_all(b"good morn").unwrap();
    anna.write_all(b"ing\nwho is there?\n").unwrap();
    assert_eq!(hear(&mut bela_hears), format!("{anna_is}: good morning"));
    assert_eq!(hear(&mut bela_hears), format!("{anna_is}: who is there?"));

    // Anna says no more. Bela does, each time he hears that he must.
    bela.write_all(b"Bela\n").unwrap();
    assert_eq!(hear(&mut anna_hears), format!("{bela_is}: Bela"));
    let silence = std::time::Instant::now();
    let gone = loop {
        bela.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        match bela_hears.next() {
            Some(Ok(line)) => break line,
            _ => bela.write_all(b"still here\n").unwrap(),
        }
        assert!(silence.elapsed().as_secs() < 30, "nobody is sent away");
    };
    assert_eq!(gone, format!("* {anna_is} has left: too silent"));
    assert!(anna_hears.last().is_some(), "what was said before, then the end");

    let end = server.terminate();
    assert_eq!(end, [format!("{anna_is} has left: too silent"), "stopping".into()]);
    assert_eq!(hear(&mut bela_hears), "* the server stops");
}
