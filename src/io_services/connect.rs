//! Connecting a TCP socket to one address, on any loop.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{FdHandler, FdKey, Interest, Ready, Services, WeakServices};
use crate::connection::TcpOptions;
use crate::ioloop::TimerId;

type Done = Box<dyn FnOnce(io::Result<OwnedFd>)>;

/// A connect under way. Dropping it cancels nothing.
pub struct ConnectAttempt(Weak<Attempt>);

impl ConnectAttempt {
    /// Closes the socket and drops the callback, which is never called. Does nothing if it has been
    /// called, or the attempt was cancelled.
    pub fn cancel(&self) {
        if let Some(attempt) = self.0.upgrade() {
            drop(attempt.end());
        }
    }
}

impl fmt::Debug for ConnectAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectAttempt").finish_non_exhaustive()
    }
}

impl Services {
    /// Connects to `address` and gives `done` the socket, which is non-blocking and not inherited,
    /// and no longer known to the loop. With a `timeout`, not having connected by then is
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    ///
    /// `done` is called from the loop, exactly once, never from inside this call, whatever the
    /// outcome.
    pub fn connect_socket(
        &self,
        address: SocketAddr,
        timeout: Option<Duration>,
        done: impl FnOnce(io::Result<OwnedFd>) + 'static,
    ) -> ConnectAttempt {
        self.connect_with(address, None, timeout, done)
    }

    /// The same, with these options set on the socket.
    pub(super) fn connect_with(
        &self,
        address: SocketAddr,
        options: Option<&TcpOptions>,
        timeout: Option<Duration>,
        done: impl FnOnce(io::Result<OwnedFd>) + 'static,
    ) -> ConnectAttempt {
        let attempt = Rc::new(Attempt {
            services: self.downgrade(),
            key: Cell::new(None),
            timer: Cell::new(None),
            socket: RefCell::new(None),
            done: RefCell::new(Some(Box::new(done))),
        });
        let handle = ConnectAttempt(Rc::downgrade(&attempt));
        match begin(address, options) {
            Ok((socket, true)) => {
                attempt.socket.replace(Some(Rc::new(socket)));
                self.add_callback(move || attempt.finish(Ok(())));
            }
            Ok((socket, false)) => attempt.wait(self, socket, timeout),
            Err(error) => self.add_callback(move || attempt.finish(Err(error))),
        }
        handle
    }
}

/// A socket, and whether it is connected already.
fn begin(address: SocketAddr, options: Option<&TcpOptions>) -> io::Result<(Socket, bool)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(options) = options {
        options.apply(&socket)?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => Ok((socket, true)),
        // Interrupted, it goes on all the same.
        Err(error) if is_under_way(&error) => Ok((socket, false)),
        Err(error) => Err(error),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR))
}

/// The loop owns it, through the [`Watch`] or a posted callback.
struct Attempt {
    services: WeakServices,
    key: Cell<Option<FdKey>>,
    timer: Cell<Option<TimerId>>,
    socket: RefCell<Option<Rc<Socket>>>,
    /// `None` once it has ended.
    done: RefCell<Option<Done>>,
}

impl Attempt {
    /// Watches a socket that is connecting. It is added to the loop after `connect` was called: an
    /// unconnected socket is told as hung up, which some loops never forget.
    fn wait(self: Rc<Self>, services: &Services, socket: Socket, timeout: Option<Duration>) {
        let socket = Rc::new(socket);
        self.socket.replace(Some(Rc::clone(&socket)));
        let watch = Watch { socket, attempt: Rc::clone(&self) };
        match services.add_own_fd(Interest::WRITE, Rc::new(watch)) {
            Ok(key) => self.key.set(Some(key)),
            Err(error) => return services.add_callback(move || self.finish(Err(error))),
        }
        if let Some(timeout) = timeout {
            let attempt = Rc::downgrade(&self);
            self.timer.set(Some(services.call_later(timeout, move || {
                if let Some(attempt) = attempt.upgrade() {
                    attempt.finish(Err(io::ErrorKind::TimedOut.into()));
                }
            })));
        }
    }

    /// Leaves nothing with the loop. Gives what is left: closed and silent if dropped.
    fn end(&self) -> Option<(Done, Option<Rc<Socket>>)> {
        let done = self.done.take()?;
        if let Some(services) = self.services.upgrade() {
            if let Some(key) = self.key.take() {
                services.remove_fd(key);
            }
            if let Some(timer) = self.timer.take() {
                services.remove_timeout(timer);
            }
        }
        Some((done, self.socket.take()))
    }

    fn finish(&self, result: io::Result<()>) {
        let Some((done, socket)) = self.end() else { return };
        let result = result.and_then(|()| {
            let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
            // A host may hold the watch for as long as it dispatches, and with it the socket.
            Rc::try_unwrap(socket).or_else(|shared| shared.try_clone()).map(OwnedFd::from)
        });
        done(result);
    }
}

/// The socket while the loop watches it.
struct Watch {
    socket: Rc<Socket>,
    attempt: Rc<Attempt>,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl FdHandler for Watch {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        let result = match self.socket.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) => match self.socket.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return ready,
                connected => connected.map(drop),
            },
        };
        let Some(services) = self.attempt.services.upgrade() else { return ready };
        let attempt = Rc::clone(&self.attempt);
        // Lets go of the socket, so that `finish` can hand it over.
        drop(self);
        let core = services.core();
        let _batch = core.batch();
        drop(core.call_user(|| attempt.finish(result)));
        ready
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::*;
    use crate::IOLoop;

    #[test]
    fn the_options_are_those_of_the_socket_that_is_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut options = TcpOptions::default();
        options.set_keepalive_time(Duration::from_secs(77)).unwrap();
        for (options, keepalive) in [(Some(&options), true), (None, false)] {
            let ioloop = IOLoop::new().unwrap();
            let (connected, handle) = (Rc::new(Cell::new(None)), ioloop.handle());
            let keep = Rc::clone(&connected);
            ioloop.services().connect_with(address, options, None, move |socket| {
                keep.set(Some(socket.unwrap()));
                handle.stop();
            });
            ioloop.start().unwrap();
            let socket = connected.take().unwrap();
            let socket = SockRef::from(&socket);
            assert_eq!(socket.keepalive().unwrap(), keepalive);
            assert_eq!(socket.tcp_nodelay().unwrap(), keepalive);
            assert_eq!(socket.tcp_keepalive_time().unwrap() == Duration::from_secs(77), keepalive);
        }
    }
}
