//! What is told of a TCP connection in each of its states, those of pika's suite.

use std::cell::Cell;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;

use socket2::{Domain, Socket, Type};

use crate::Ready;
use crate::conformance::stage::Stage;

/// A connection: the end that is looked at, and its peer.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let here = TcpStream::connect(address).expect("it listens");
    (here, listener.accept().expect("a client").0)
}

/// Checks that it is told of `here`, again and again, that it can be written, if only to learn the
/// error, and whether it can be read; whatever it is watched for. A hang-up may be told beside.
fn assert_told(stage: &Stage, here: TcpStream, readable: bool) {
    let both = Ready::READ | Ready::WRITE;
    let expected = if readable { both } else { Ready::WRITE };
    here.set_nonblocking(true).expect("a socket");
    let here = Rc::new(here);
    for interest in [both, Ready::READ, Ready::WRITE] {
        let due = expected & interest;
        let (told, stop) = (Rc::new(Cell::new(Ready::NONE)), stage.stop_after(3));
        let note = Rc::clone(&told);
        // It is watched for nothing at first: some loops begin the watch only with an interest.
        let key = stage.watch(Rc::clone(&here), Ready::NONE, move |ready| {
            note.set(note.get() | ready);
            if note.get().contains(due) {
                stop();
            }
            Ready::NONE
        });
        stage.services().modify_fd(key, interest).expect("it is watched");
        if !due.is_empty() {
            stage.run();
        }
        stage.settle();
        assert_eq!(told.get() - Ready::ERROR, due, "watched for {interest:?}");
        stage.services().remove_fd(key);
    }
}

macro_rules! states {
    ($($state:ident: $readable:literal, $act:expr;)*) => {
        $(pub(in crate::conformance) fn $state(stage: &Stage) {
            let (here, peer) = connection();
            let act: fn(&TcpStream, TcpStream) -> Option<TcpStream> = $act;
            let _peer = act(&here, peer);
            assert_told(stage, here, $readable);
        })*
    };
}

states! {
    idle: false, |_, peer| Some(peer);
    with_data: true, |_, peer| Some(write(peer));
    peer_closed: true, |_, _| None;
    peer_closed_after_data: true, |_, peer| {
        write(peer);
        None
    };
    peer_reads_no_more: false, |_, peer| Some(shut(peer, Shutdown::Read));
    peer_writes_no_more: true, |_, peer| Some(shut(peer, Shutdown::Write));
    peer_writes_no_more_after_data: true, |_, peer| Some(shut(write(peer), Shutdown::Write));
    peer_shut_both: true, |_, peer| Some(shut(peer, Shutdown::Both));
    reads_no_more: true, |here, peer| {
        here.shutdown(Shutdown::Read).expect("connected");
        Some(peer)
    };
    writes_no_more: false, |here, peer| {
        here.shutdown(Shutdown::Write).expect("connected");
        Some(peer)
    };
    shut_both: true, |here, peer| {
        here.shutdown(Shutdown::Both).expect("connected");
        Some(peer)
    };
    peer_reset: true, |_, peer| {
        socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).expect("linger");
        None
    };
}

fn write(mut stream: TcpStream) -> TcpStream {
    stream.write_all(b"abc").expect("there is room");
    stream
}

fn shut(stream: TcpStream, how: Shutdown) -> TcpStream {
    stream.shutdown(how).expect("connected");
    stream
}

pub(in crate::conformance) fn refused(stage: &Stage) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = listener.local_addr().expect("an address");
    drop(listener);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("a socket");
    socket.connect(&nobody.into()).expect_err("it is refused, now or soon");
    assert_told(stage, socket.into(), true);
}
