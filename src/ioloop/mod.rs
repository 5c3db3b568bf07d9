//! The crate's own event loop, and the core that it shares with every other.

mod batch;
mod buffers;
mod core;
mod fds;
mod handle;
mod handler;
mod inner;
mod keyed;
mod panics;
mod pollers;
mod remote;
mod timer_callback;
mod timers;
#[cfg(test)]
pub(crate) mod wakes;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use self::core::LoopCore;
pub(crate) use self::core::{LookupKey, SessionKey};
pub use self::handle::{LoopHandle, Stopper};
pub(crate) use self::panics::call_each;
pub use self::pollers::PollerKind;
#[cfg(feature = "libevent")]
pub(crate) use self::pollers::WakePair;
pub use self::remote::Remote;
pub(crate) use self::timer_callback::TimerCallback;
pub(crate) use self::timers::Period;
pub use self::timers::TimerId;

use self::inner::Inner;
use crate::error::Result;
use crate::io_services::{FdKey, Interest, IoServices, Ready, Services, TimerServices};

/// An event loop of one thread: timers, callbacks and descriptors (pika's `IOLoop`).
///
/// It owns all that runs on it. To drop it drops every callback, timer and handler, with nothing
/// borrowed, and abandons its connections; a [`handle`](Self::handle) outlives it and does nothing
/// any more. Callbacks may call everything, on this loop too, but not run it.
///
/// A turn writes what connections have to send, waits (unless there is something to do already),
/// calls the handlers of descriptors that are ready, then the callbacks posted so far, then the
/// timers that are due, and writes again. So no descriptor, callback or timer starves the others.
///
/// A panic in a callback comes out of [`start`](Self::start) and loses only that call: all the rest
/// runs at the next `start`, and a handler that panicked is called again.
///
/// # Portability
///
/// A program that keeps to these rules runs alike on every system and by every [`PollerKind`]:
///
/// - **Level-triggered.** A handler is called in each turn in which its descriptor is ready. It need
///   not read all there is, and should not: the others wait.
/// - **Spurious readiness.** A handler may be called for nothing. Let descriptors be non-blocking,
///   and take [`WouldBlock`](io::ErrorKind::WouldBlock) for an answer.
/// - **Hang-ups and errors** come with the whole interest, so that a read or a write learns which it
///   was. Whether [`Ready::ERROR`] says so too differs: select(2) cannot tell, and kqueue tells it
///   with the filter that is watched. Act on what the read or write says.
/// - **What can be watched** differs: epoll refuses regular files, by
///   [`PermissionDenied`](io::ErrorKind::PermissionDenied), where poll(2) and select(2) call them
///   always ready. select(2) refuses descriptors from 1,024 on.
/// - **One watch a descriptor.** A second `add_handler` of the same one is
///   [`AlreadyExists`](io::ErrorKind::AlreadyExists), except on kqueue, where it would replace the
///   first. A duplicate (`try_clone`) is another descriptor.
/// - **Removed before closed.** The loop owns what it watches, which sees to that. A descriptor whose
///   duplicate lives on elsewhere hangs up only when that is closed too.
/// - **Time** is monotonic. Whether it goes on while the machine is suspended differs (not on
///   Linux). Deadlines are exact to what the system can do, and never early.
/// - **Signals** do not end a wait, and are no events: turn them into bytes on a socket, as the
///   example `graceful_stop` does.
/// - **Fork.** A loop is of the process that made it: the child must not use it, which is checked
///   where debug assertions are on. It may drop it, which leaves the parent's as it is.
/// - **Descriptors used** by an idle loop: by mio on Linux 4 (the selector twice, its waker, a
///   timer), by polling 3, by poll and select 2.
///
/// The crate is developed and tested on Linux. For macOS and the BSDs it is written and compiled,
/// not yet run.
///
/// ```
/// use haypile::IOLoop;
/// use std::time::Duration;
///
/// let ioloop = IOLoop::new()?;
/// let handle = ioloop.handle();
/// ioloop.call_later(Duration::from_millis(2), move || handle.stop());
/// ioloop.add_callback(|| println!("first"));
/// ioloop.start()?;
/// # Ok::<(), haypile::Error>(())
/// ```
///
/// It stays on its thread; see [`remote`](Self::remote) for the way in from others:
///
/// ```compile_fail,E0277
/// let ioloop = haypile::IOLoop::new().unwrap();
/// std::thread::spawn(move || ioloop.start());
/// ```
pub struct IOLoop {
    inner: Rc<Inner>,
    services: Services,
    handle: LoopHandle,
}

impl IOLoop {
    /// Makes a loop (pika's `IOLoop()`), which does nothing before [`start`](Self::start). It waits
    /// by the poller that the environment names in [`PollerKind::VARIABLE`], else by the default.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): the process has no descriptors left, or the like.
    /// [`Error::Parameters`](crate::Error::Parameters): the environment names no poller.
    pub fn new() -> Result<Self> {
        Self::with_poller(PollerKind::of_process()?)
    }

    /// Makes a loop that waits by this poller.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): the process has no descriptors left, or the like, or the
    /// system has no such poller.
    pub fn with_poller(kind: PollerKind) -> Result<Self> {
        let inner = Inner::new(kind)?;
        let services = Services::from(Rc::clone(&inner) as Rc<dyn IoServices>);
        let handle = LoopHandle { inner: Rc::downgrade(&inner), remote: services.remote() };
        Ok(Self { inner, services, handle })
    }

    /// Runs the loop until [`stop`](Self::stop). It may be started again.
    ///
    /// # Errors
    /// An error that no callback took, such as that of a connection without `on_open_error`, stops
    /// the loop and is given here, once. [`LoopError::Nested`](crate::LoopError::Nested): called
    /// from inside a callback. [`Error::Io`](crate::Error::Io): the system refused to wait.
    pub fn start(&self) -> Result<()> {
        self.inner.start()
    }

    /// Ends [`start`](Self::start) after the turn under way, whose other callbacks still run.
    /// Before `start`, [`run_once`](Self::run_once) or [`process_due`](Self::process_due), the next
    /// of them returns at once and runs nothing. From another thread, use
    /// [`stopper`](Self::stopper).
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Runs one turn, which waits at most so long: for a program that has a loop of its own. `None`
    /// waits until there is something to do. It may return earlier, with nothing done. False if [`stop`](Self::stop) was called, in the turn
    /// or before it; in the latter case it has not waited, and nothing ran.
    ///
    /// To sleep in another poll instead, give that [`poll_fd`](Self::poll_fd) to watch for reading
    /// and [`time_to_deadline`](Self::time_to_deadline) to wait at most, then call this with a
    /// timeout of zero:
    ///
    /// ```
    /// use rustix::event::{PollFd, PollFlags, Timespec, poll};
    /// use std::{cell::Cell, rc::Rc, time::Duration};
    ///
    /// let ioloop = haypile::IOLoop::new()?;
    /// let fired = Rc::new(Cell::new(false));
    /// let fires = Rc::clone(&fired);
    /// ioloop.call_later(Duration::from_millis(2), move || fires.set(true));
    /// while !fired.get() {
    ///     let left = ioloop.time_to_deadline().expect("a timer is pending");
    ///     let left = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
    ///     let fd = ioloop.poll_fd().expect("the default poller has one");
    ///     // The program's own descriptors go here too.
    ///     let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    ///     poll(&mut fds, Some(&left)).map_err(std::io::Error::from)?;
    ///     ioloop.run_once(Some(Duration::ZERO))?;
    /// }
    /// # Ok::<(), haypile::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn run_once(&self, timeout: Option<Duration>) -> Result<bool> {
        self.inner.run_once(timeout)
    }

    /// Calls the callbacks posted so far and the timers that are due (pika's `process_timeouts`),
    /// and writes what connections have to send. It looks at no descriptor. False as of
    /// [`run_once`](Self::run_once).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn process_due(&self) -> Result<bool> {
        self.inner.process_due()
    }

    /// How long a wait may take: until the first deadline, or not at all while there is something
    /// to do. `None`: until a descriptor is ready or another thread posts something.
    pub fn time_to_deadline(&self) -> Option<Duration> {
        self.inner.time_to_deadline()
    }

    /// A descriptor that is readable when one of the loop's is ready or another thread has posted
    /// something, perhaps also when a deadline has come, so that the loop can be nested in any other. `None` of a poller that has none:
    /// poll and select. See [`run_once`](Self::run_once).
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }

    /// Stops the loop from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { remote: self.remote(), flag: self.inner.stop_flag() }
    }

    /// The loop, held weakly, for closures to capture.
    pub fn handle(&self) -> LoopHandle {
        self.handle.clone()
    }

    /// The loop as what connections run on.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The way in from other threads (pika's `add_callback_threadsafe`).
    ///
    /// ```
    /// let ioloop = haypile::IOLoop::new()?;
    /// let (remote, stopper) = (ioloop.remote(), ioloop.stopper());
    /// let worker = std::thread::spawn(move || {
    ///     remote.add_callback(|| println!("on the loop's thread"))?;
    ///     stopper.stop()
    /// });
    /// ioloop.start()?;
    /// worker.join().unwrap()?;
    /// # Ok::<(), haypile::Error>(())
    /// ```
    pub fn remote(&self) -> Remote {
        self.services.remote()
    }

    /// Calls `callback` once at `deadline` or later, never before. Timers with equal deadlines are
    /// called in the order added. One added by a timer waits for the next turn, even if it is due.
    pub fn add_timeout(&self, deadline: Instant, callback: impl FnOnce() + 'static) -> TimerId {
        self.inner.add_timer(deadline, None, || TimerCallback::once(callback))
    }

    /// Calls `callback` once when `delay` is over (pika's `call_later`); see
    /// [`add_timeout`](Self::add_timeout). A delay beyond a hundred years may be taken as a hundred
    /// years.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let ioloop = haypile::IOLoop::new()?;
    /// let handle = ioloop.handle();
    /// let late = ioloop.call_later(Duration::from_secs(3600), || unreachable!());
    /// ioloop.call_later(Duration::from_millis(1), move || {
    ///     assert!(handle.remove_timeout(late));
    ///     handle.stop();
    /// });
    /// ioloop.start()?;
    /// # Ok::<(), haypile::Error>(())
    /// ```
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerId {
        self.services.call_later(delay, callback)
    }

    /// Calls `callback` each time another `period` is over, until the timer is removed; see
    /// [`Services::call_every`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// let ioloop = haypile::IOLoop::new()?;
    /// let (handle, mut ticks) = (ioloop.handle(), 0);
    /// ioloop.call_every(Duration::from_millis(1), move || {
    ///     ticks += 1;
    ///     if ticks == 3 {
    ///         handle.stop();
    ///     }
    /// });
    /// ioloop.start()?;
    /// # Ok::<(), haypile::Error>(())
    /// ```
    pub fn call_every(&self, period: Duration, callback: impl FnMut() + 'static) -> TimerId {
        self.services.call_every(period, callback)
    }

    /// Moves a timer to another deadline, without a new closure; see [`Services::reset_timeout`].
    #[inline]
    pub fn reset_timeout(&self, id: TimerId, deadline: Instant) -> bool {
        self.inner.reset_timer(id, deadline)
    }

    /// Removes a timer, and drops its callback (pika's `remove_timeout`); see
    /// [`Services::remove_timeout`].
    #[inline]
    pub fn remove_timeout(&self, id: TimerId) -> bool {
        self.inner.remove_timer(id)
    }

    /// Calls `callback` in the next turn, after those added before it. One that adds itself again
    /// starves nobody.
    pub fn add_callback(&self, callback: impl FnOnce() + 'static) {
        self.services.add_callback(callback);
    }

    /// Watches a descriptor, which the loop owns from now on (pika's `add_handler`): `handler` is
    /// called whenever it is ready for something in `interest`, again in each turn for as long as
    /// it is. A hang-up or error comes as [`Ready::ERROR`] together with the whole interest, so
    /// that a read or write tells it. Readiness may be spurious: let the descriptor be
    /// non-blocking.
    ///
    /// `fd` must always give the same descriptor. An `Rc` of a socket does, and lets the closure
    /// share it.
    ///
    /// ```
    /// use haypile::Ready;
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream, rc::Rc};
    ///
    /// let ioloop = haypile::IOLoop::new()?;
    /// let (mut there, here) = UnixStream::pair()?;
    /// here.set_nonblocking(true)?;
    /// let here = Rc::new(here);
    /// let reader = Rc::clone(&here);
    /// ioloop.add_handler(here, Ready::READ, move |ioloop, _ready| {
    ///     let mut bytes = [0; 64];
    ///     if let Ok(count) = (&*reader).read(&mut bytes) {
    ///         println!("{count} bytes");
    ///         ioloop.stop();
    ///     }
    /// })?;
    /// there.write_all(b"hello")?;
    /// ioloop.start()?;
    /// # Ok::<(), haypile::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the system says: [`AlreadyExists`](io::ErrorKind::AlreadyExists) of a descriptor that is
    /// being watched, [`PermissionDenied`](io::ErrorKind::PermissionDenied) of a file that cannot
    /// be waited for, [`InvalidInput`](io::ErrorKind::InvalidInput) of one that select has no room
    /// for. `fd` and `handler` have been dropped.
    pub fn add_handler(
        &self,
        fd: impl AsFd + 'static,
        interest: Interest,
        handler: impl FnMut(&LoopHandle, Ready) + 'static,
    ) -> io::Result<FdKey> {
        self.handle.add_handler(fd, interest, handler)
    }

    /// Watches for `interest` from now on, and nothing else (pika's `update_handler`);
    /// [`Ready::NONE`] is silent, even when the descriptor hangs up. It holds at once, also for
    /// events of the turn under way.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) of an unknown key, else what the system says.
    pub fn update_handler(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        self.inner.modify_fd(key, interest)
    }

    /// Ends the watch (pika's `remove_handler`), and drops the descriptor and its closure; if that
    /// is being called, after it has returned. No event comes after it, even if one is in the turn
    /// under way. False of an unknown key.
    pub fn remove_handler(&self, key: FdKey) -> bool {
        self.inner.remove(key)
    }
}

impl Drop for IOLoop {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl fmt::Debug for IOLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IOLoop").field("poller", &self.inner.kind).finish_non_exhaustive()
    }
}
