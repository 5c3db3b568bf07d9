//! Peers that take nothing, or are gone, while there is output for them.
//!
//! All of it runs with SIGPIPE at its default, which would end this process.

mod support;

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use haypile::protocol::FrameKind;
use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, Error, Result, StreamLost, basic, queue,
};
use rustix::time::{ClockId, clock_gettime};
use support::peers::{Peer, Wire};
use support::{Host, Log, every_host};

every_host!(
    a_peer_that_resets_while_output_waits,
    a_peer_that_hangs_up_while_output_waits,
    a_peer_that_half_closes_while_output_waits,
    a_peer_that_resets_at_rest,
    a_peer_that_half_closes_at_rest,
    a_peer_that_is_gone_when_we_write,
    a_slow_reader_gets_everything_in_order,
    a_blocked_connection_is_left_in_peace,
);

/// Rust ignores SIGPIPE from the start on, a program in C that we are part of may not.
fn let_sigpipe_kill() {
    // SAFETY: no handler is installed, so none can do harm.
    #[allow(unsafe_code)]
    let old = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(old, libc::SIG_ERR);
}

#[test]
#[ignore = "it kills its process: run by the next one"]
fn a_careless_write() {
    let_sigpipe_kill();
    let (mut here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(there);
    let _ = rustix::io::write(&mut here, b"x");
}

#[test]
fn sigpipe_kills_whom_it_reaches() {
    let mut careless = std::process::Command::new(std::env::current_exe().unwrap());
    careless.args(["--exact", "--ignored", "a_careless_write"]).stdout(std::process::Stdio::null());
    assert_eq!(careless.status().unwrap().signal(), Some(libc::SIGPIPE));
}

/// Tells the peer to go on; it has when this returns.
struct Cue(Sender<()>, Receiver<()>);

impl Cue {
    fn give(&self) {
        self.0.send(()).expect("the peer waits for it");
        let _ = self.1.recv(); // an answer, or its end
    }
}

/// A peer that opens the connection and the first channel and reads nothing more until its cue.
/// What it does then is done before `give` returns.
fn peer(then: impl FnOnce(&mut Wire) + Send + 'static) -> (Peer, Cue) {
    let (cue, wait) = mpsc::channel();
    let (done, answer) = mpsc::channel::<()>();
    let peer = Peer::new(move |wire| {
        wire.open();
        wire.grant("channel.open");
        wait.recv().expect("a cue");
        wire.after = Some(Box::new(done));
        then(wire);
    });
    (peer, Cue(cue, answer))
}

/// Runs the scenario on a channel; gives what the connection ended with, and what was told before.
fn ended<H: Host>(peer: Peer, scenario: impl FnOnce(&Channel, &Log) + 'static) -> (Error, Log) {
    let_sigpipe_kill();
    let host = H::new();
    let (log, end) = (Log::default(), Rc::new(RefCell::new(None)));
    let (told, ended, stop) = (log.clone(), Rc::clone(&end), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let opened = move |channel: &Channel, opened: Result<()>| {
                opened.unwrap();
                scenario(channel, &told);
                told.add("the scenario is through");
            };
            connection.channel(None, opened).unwrap();
        })
        .on_close(move |connection, error| {
            assert!(connection.is_closed());
            ended.replace(Some(error));
            stop();
        });
    // What waits is the point: it is not to be refused.
    let mut parameters = peer.parameters();
    parameters.set_water_marks(0, usize::MAX).unwrap();
    host.connect(parameters, callbacks);
    host.run();
    peer.join();
    let error = end.take().expect("it has ended");
    (error, log)
}

/// Publishes so much that the socket does not take it all; gives how many messages that are.
fn block(channel: &Channel) -> u64 {
    let connection = channel.connection();
    let mut published = 0;
    loop {
        for _ in 0..16 {
            publish(channel, published);
            published += 1;
        }
        let before = connection.counters();
        connection.flush();
        if connection.counters().bytes_sent == before.bytes_sent {
            return published;
        }
    }
}

fn size(number: u64) -> usize {
    // Bodies that are copied, that go by reference, and that take several frames.
    [100, 9_000, 300_000, 0][number as usize % 4]
}

fn body(number: u64) -> Vec<u8> {
    vec![(number % 251) as u8; size(number)]
}

fn publish(channel: &Channel, number: u64) {
    let published =
        channel.basic_publish(basic::Publish::default(), &BasicProperties::default(), body(number));
    assert_eq!(published, Ok(number + 1));
}

/// A request that must be completed with the connection's end.
fn ask(channel: &Channel, log: &Log) {
    let log = log.clone();
    let asked = move |_: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        log.add(format!("asked: {}", declared.unwrap_err()));
    };
    channel.queue_declare(queue::Declare::default(), asked).unwrap();
}

fn reset() -> Error {
    StreamLost::Io(io::Error::from_raw_os_error(libc::ECONNRESET).into()).into()
}

fn end_of_stream() -> Error {
    StreamLost::EndOfStream.into()
}

#[track_caller]
fn check((error, log): (Error, Log), expected: Error) {
    assert_eq!(error, expected);
    let asked = format!("asked: {expected}");
    assert_eq!(log.lines(), ["the scenario is through", &asked], "told within a call, or not once");
}

fn a_peer_that_resets_while_output_waits<H: Host>() {
    let (peer, cue) = peer(|wire| wire.reset_at_end());
    let ended = ended::<H>(peer, move |channel, log| {
        ask(channel, log);
        block(channel);
        cue.give();
    });
    check(ended, reset());
}

fn a_peer_that_hangs_up_while_output_waits<H: Host>() {
    // What it has not read makes the kernel send a reset.
    let (peer, cue) = peer(|_| ());
    let ended = ended::<H>(peer, move |channel, log| {
        ask(channel, log);
        block(channel);
        cue.give();
    });
    check(ended, reset());
}

fn a_peer_that_half_closes_while_output_waits<H: Host>() {
    let (peer, cue) = peer(|wire| {
        wire.stream.shutdown(Shutdown::Write).unwrap();
        wire.read_to_end();
    });
    let ended = ended::<H>(peer, move |channel, log| {
        ask(channel, log);
        block(channel);
        // It reads until we hang up: to wait for its end would be for ever.
        cue.0.send(()).unwrap();
    });
    check(ended, end_of_stream());
}

fn a_peer_that_resets_at_rest<H: Host>() {
    let (peer, cue) = peer(|wire| {
        wire.expect("queue.declare");
        wire.reset_at_end();
    });
    let ended = ended::<H>(peer, move |channel, log| {
        ask(channel, log);
        channel.connection().flush();
        cue.give();
    });
    check(ended, reset());
}

fn a_peer_that_half_closes_at_rest<H: Host>() {
    let (peer, cue) = peer(|wire| {
        wire.expect("queue.declare");
        wire.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(wire.read_to_end(), 0);
    });
    let ended = ended::<H>(peer, move |channel, log| {
        ask(channel, log);
        channel.connection().flush();
        cue.0.send(()).unwrap();
    });
    check(ended, end_of_stream());
}

fn a_peer_that_is_gone_when_we_write<H: Host>() {
    let (peer, cue) = peer(|wire| drop(wire.expect("queue.declare")));
    let ended = ended::<H>(peer, move |channel, log| {
        ask(channel, log);
        let connection = channel.connection();
        connection.flush();
        cue.give();
        // To the first of these its kernel answers that nobody is there.
        for number in 0..3 {
            publish(channel, number);
            connection.flush();
            assert!(connection.is_open(), "the end is told by the loop");
        }
    });
    check(ended, end_of_stream());
}

fn a_slow_reader_gets_everything_in_order<H: Host>() {
    const MESSAGES: u64 = 200; // of 15 MB
    let (peer, cue) = peer(|wire| {
        let mut number = 0;
        let mut missing = 0;
        while number < MESSAGES || missing > 0 {
            let frame = wire.frame().expect("more");
            match frame.kind {
                FrameKind::Method => {
                    assert_eq!((frame.method().name(), missing), ("basic.publish", 0))
                }
                FrameKind::Header => {
                    missing = size(number);
                    number += 1;
                }
                FrameKind::Body => {
                    let body = body(number - 1);
                    let from = body.len() - missing;
                    let part = frame.payload();
                    assert!(part == &body[from..from + part.len()], "message {number}");
                    missing -= part.len();
                }
                FrameKind::Heartbeat => unreachable!(),
            }
        }
        assert!(wire.obey());
    });
    let (error, _) = ended::<H>(peer, move |channel, _| {
        for number in block(channel)..MESSAGES {
            publish(channel, number);
        }
        channel.connection().close(200, "all is said").unwrap();
        cue.0.send(()).unwrap();
    });
    assert_eq!(error.to_string(), "connection closed by this client: (200) all is said");
}

fn a_blocked_connection_is_left_in_peace<H: Host>() {
    let (peer, cue) = peer(|wire| drop(wire.expect("queue.declare")));
    let ended = ended::<H>(peer, move |channel, log| {
        let connection = channel.connection();
        let first = block(channel);
        // What is published from now on must not each time ask the socket, that is known not to
        // take it.
        let before = connection.counters();
        for number in first..first + 1_000 {
            publish(channel, number);
        }
        assert_eq!(connection.counters().writes, before.writes);
        // Nor must the loop, for as long as the socket does not say that it takes more.
        let (channel, log) = (channel.clone(), log.clone());
        let (started, used) = (Instant::now(), cpu_time());
        connection.services().unwrap().call_later(Duration::from_millis(200), move || {
            let writes = channel.connection().counters().writes - before.writes;
            assert!(writes < 10, "{writes} attempts: the kernel's buffers grow, but not so often");
            let (used, passed) = (cpu_time() - used, started.elapsed());
            assert!(used < passed / 4, "{used:?} of {passed:?} were used");
            ask(&channel, &log);
            cue.0.send(()).unwrap();
        });
    });
    check(ended, end_of_stream());
}

/// What this thread has used of its processor.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a time")
}
