//! Hang-ups, errors and the ends of a stream.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use haypile::{LoopHandle, Ready};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

use crate::pollers::{Poller, every_poller};
use crate::tools::{Trace, run};

every_poller!(
    a_hang_up_with_no_interest_does_not_spin,
    a_hang_up_is_told_with_the_whole_interest,
    a_pipe_that_nobody_reads_fails_its_writer,
    each_state_of_a_socket_is_told_whatever_the_interest_was_before,
);

/// Regression: epoll tells a hang-up also to those who watch for nothing.
fn a_hang_up_with_no_interest_does_not_spin(poller: Poller) {
    let ioloop = poller.new_loop();
    let (there, here) = UnixStream::pair().unwrap();
    let key = ioloop.add_handler(here, Ready::READ, |_, _| panic!("not watched")).unwrap();
    ioloop.update_handler(key, Ready::NONE).unwrap();
    let (other, here) = UnixStream::pair().unwrap();
    ioloop.add_handler(here, Ready::NONE, |_, _| panic!("not watched")).unwrap();
    drop((there, other));
    let handle = ioloop.handle();
    ioloop.call_later(Duration::from_millis(30), move || handle.stop());
    let before = clock_gettime(ClockId::ThreadCPUTime);
    run(&ioloop);
    let used = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - before).unwrap();
    assert!(used < Duration::from_millis(10), "{used:?} of work in 30 ms of waiting");
}

fn a_hang_up_is_told_with_the_whole_interest(poller: Poller) {
    for interest in [Ready::READ, Ready::WRITE, Ready::READ | Ready::WRITE, Ready::ERROR] {
        let ioloop = poller.new_loop();
        let (there, here) = UnixStream::pair().unwrap();
        drop(there);
        let trace = Trace::new();
        let t = trace.clone();
        ioloop.add_handler(here, interest, move |_, ready| t.add(ready)).unwrap();
        assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
        // Of errors alone, select cannot tell.
        let expected = Some(poller.hang_up(interest)).filter(|told| !told.is_empty());
        assert_eq!(trace.take(), Vec::from_iter(expected));
    }
}

fn a_pipe_that_nobody_reads_fails_its_writer(poller: Poller) {
    let ioloop = poller.new_loop();
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    let trace = Trace::new();
    let t = trace.clone();
    let fd = writer.try_clone().unwrap();
    ioloop.add_handler(fd, Ready::WRITE, move |_, ready| t.add(ready)).unwrap();
    assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
    assert_eq!(trace.take(), [poller.hang_up(Ready::WRITE)]);
    assert_eq!(writer.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

/// A TCP connection: the end that is looked at, and its peer.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (here, listener.accept().unwrap().0)
}

fn refused() -> TcpStream {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect(&closed.into()).unwrap_err();
    socket.into()
}

/// What has happened, whether it can be read, and whether that is a hang-up or an error. It can be
/// written in all of them, if only to learn the error.
type State = (&'static str, fn() -> (TcpStream, Option<TcpStream>), bool, bool);

/// Those of pika's suite, and a reset.
const STATES: [State; 13] = [
    ("idle", || made(|_, _| ()), false, false),
    ("with data", || made(|_, peer| write(peer)), true, false),
    ("refused", || (refused(), None), true, true),
    ("peer closed", || gone(|_| ()), true, false),
    ("peer closed after data", || gone(write), true, false),
    ("peer reset", || gone(reset), true, true),
    ("peer reads no more", || made(|_, peer| shut(peer, Shutdown::Read)), false, false),
    ("peer writes no more", || made(|_, peer| shut(peer, Shutdown::Write)), true, false),
    ("peer writes no more after data", || made(|_, peer| write_and_shut(peer)), true, false),
    ("peer shut both", || made(|_, peer| shut(peer, Shutdown::Both)), true, false),
    ("reads no more", || made(|here, _| shut(here, Shutdown::Read)), true, false),
    ("writes no more", || made(|here, _| shut(here, Shutdown::Write)), false, false),
    ("shut both", || made(|here, _| shut(here, Shutdown::Both)), true, true),
];

fn made(act: fn(&TcpStream, &TcpStream)) -> (TcpStream, Option<TcpStream>) {
    let (here, peer) = connection();
    act(&here, &peer);
    (here, Some(peer))
}

fn gone(act: fn(&TcpStream)) -> (TcpStream, Option<TcpStream>) {
    let (here, peer) = connection();
    act(&peer);
    (here, None)
}

fn write(mut stream: &TcpStream) {
    stream.write_all(b"x").unwrap();
}

fn shut(stream: &TcpStream, how: Shutdown) {
    stream.shutdown(how).unwrap();
}

fn write_and_shut(stream: &TcpStream) {
    write(stream);
    shut(stream, Shutdown::Write);
}

fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn each_state_of_a_socket_is_told_whatever_the_interest_was_before(poller: Poller) {
    let both = Ready::READ | Ready::WRITE;
    for (state, make, readable, hangs_up) in STATES {
        let (here, _peer) = make();
        let ready = if readable { both } else { Ready::WRITE };
        // What the peer did is on its way.
        let flags = if readable { PollFlags::IN } else { PollFlags::OUT };
        assert_eq!(poll(&mut [PollFd::new(&here, flags)], None), Ok(1));
        let ioloop = poller.new_loop();
        let trace = Trace::new();
        let t = trace.clone();
        let handler = move |_: &LoopHandle, ready| t.add(ready);
        let key = ioloop.add_handler(here, Ready::NONE, handler).unwrap();
        let (read, write, none) = (Ready::READ, Ready::WRITE, Ready::NONE);
        for interest in [read, none, write, read, both, none, both, write] {
            ioloop.update_handler(key, interest).unwrap();
            let expected = match ready & interest {
                told if hangs_up && !interest.is_empty() => poller.hang_up(told),
                told => told,
            };
            let expected = Vec::from_iter(Some(expected).filter(|told| !told.is_empty()));
            // Again in each turn, for as long as it is so.
            for _ in 0..2 {
                assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
                assert_eq!(trace.take(), expected, "{state}, watched for {interest:?}");
            }
        }
    }
}
