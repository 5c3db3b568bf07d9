use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use haypile::{IOLoop, Services};
use socket2::{Domain, Socket, Type};

use crate::pollers::{Poller, every_poller};
use crate::tools::{Drops, run, run_turns};

every_poller!(
    a_connected_socket_is_handed_over_non_blocking,
    a_refused_connection_is_an_error,
    an_error_at_once_is_told_later,
    a_connection_that_takes_too_long_is_timed_out,
    a_cancelled_connect_is_silent_and_leaves_nothing,
    cancelling_and_connecting_again_inside_the_callback,
);

type Outcome = Result<OwnedFd, io::ErrorKind>;

/// Connects, and gives what `done` got.
fn connect(ioloop: &IOLoop, address: SocketAddr, timeout: Option<Duration>) -> Outcome {
    let (outcome, handle) = (Rc::new(Cell::new(None)), ioloop.handle());
    let o = Rc::clone(&outcome);
    ioloop.services().connect_socket(address, timeout, move |result| {
        let earlier = o.replace(Some(result));
        assert!(earlier.is_none());
        handle.stop();
    });
    let now = outcome.take();
    assert!(now.is_none(), "called from inside the call");
    run(ioloop);
    outcome.take().unwrap().map_err(|error| error.kind())
}

/// A listener that takes no more connections, and those that fill it.
pub(crate) fn full_listener() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let fillers = (0..4)
        .map(|_| {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address);
            filler
        })
        .collect();
    (listener, fillers, address.as_socket().unwrap())
}

/// No timer, callback or watch is left: a turn finds nothing to do, ever.
fn assert_nothing_is_left(services: &Services) {
    assert_eq!(services.core().turn(), None);
}

fn a_connected_socket_is_handed_over_non_blocking(poller: Poller) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ioloop = poller.new_loop();
    let address = listener.local_addr().unwrap();
    let socket = connect(&ioloop, address, Some(Duration::from_secs(10))).unwrap();
    assert!(is_nonblocking(&socket));
    let stream = TcpStream::from(socket);
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert_nothing_is_left(ioloop.services());
    // It is no longer the loop's: it can be added like any other.
    ioloop.add_handler(stream, haypile::Ready::WRITE, |ioloop, _| ioloop.stop()).unwrap();
    run(&ioloop);
}

fn is_nonblocking(fd: &OwnedFd) -> bool {
    socket2::SockRef::from(fd).nonblocking().unwrap()
}

fn a_refused_connection_is_an_error(poller: Poller) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ioloop = poller.new_loop();
    let error = connect(&ioloop, address, Some(Duration::from_secs(10))).unwrap_err();
    assert_eq!(error, io::ErrorKind::ConnectionRefused);
    assert_nothing_is_left(ioloop.services());
}

/// `connect` itself fails, with nothing sent; the callback comes from the loop all the same.
fn an_error_at_once_is_told_later(poller: Poller) {
    let ioloop = poller.new_loop();
    connect(&ioloop, "255.255.255.255:1".parse().unwrap(), None).unwrap_err();
    assert_nothing_is_left(ioloop.services());
}

fn a_connection_that_takes_too_long_is_timed_out(poller: Poller) {
    let (_listener, _fillers, address) = full_listener();
    let ioloop = poller.new_loop();
    let timeout = Some(Duration::from_millis(5));
    assert_eq!(connect(&ioloop, address, timeout).unwrap_err(), io::ErrorKind::TimedOut);
    assert_nothing_is_left(ioloop.services());
}

fn a_cancelled_connect_is_silent_and_leaves_nothing(poller: Poller) {
    let (_listener, _fillers, slow) = full_listener();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ready = listener.local_addr().unwrap();
    let at_once = "255.255.255.255:1".parse().unwrap();
    let ioloop = poller.new_loop();
    for address in [slow, ready, at_once] {
        let drops = Drops::default();
        let probe = drops.probe();
        let done = move |_| {
            drop(probe);
            panic!("cancelled")
        };
        let timeout = Some(Duration::from_secs(3600));
        let attempt = ioloop.services().connect_socket(address, timeout, done);
        assert_eq!(drops.count(), 0);
        attempt.cancel();
        assert_eq!(drops.count(), 1);
        attempt.cancel();
    }
    run_turns(&ioloop, 3);
    assert_nothing_is_left(ioloop.services());
}

fn cancelling_and_connecting_again_inside_the_callback(poller: Poller) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ioloop = poller.new_loop();
    let attempt = Rc::new(Cell::new(None::<haypile::ConnectAttempt>));
    let (a, handle) = (Rc::clone(&attempt), ioloop.handle());
    attempt.set(Some(ioloop.services().connect_socket(address, None, move |first| {
        a.take().unwrap().cancel();
        first.unwrap();
        let h = handle.clone();
        let services = handle.services().unwrap();
        services.connect_socket(address, None, move |second| {
            second.unwrap();
            h.stop();
        });
    })));
    run(&ioloop);
}
