//! What users and the rest of the crate hold of a loop.

use std::any::Any;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::{FdHandler, FdKey, Interest, IoServices, LoopSession, Ready, WorkGuard};
use crate::error::LoopError;
use crate::ioloop::{LoopCore, Period, Remote, SessionKey, TimerCallback, TimerId};

/// For a delay whose end no [`Instant`] can tell.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

pub(crate) fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or_else(|| now + FAR)
}

/// A loop, whichever it is: timers, posted callbacks, connecting, and by deref all of
/// [`IoServices`]. A cheap clone, which keeps the adapter alive but nothing that runs on it: after
/// [`detach`](crate::LoopCore::detach) a callback given to it is dropped at once, without a call.
///
/// Callbacks run on the loop's thread, from its turn, never from inside the call that added them,
/// with nothing borrowed: they may call anything. A closure kept by the loop that captures a
/// `Services` of that loop lives until it is called or removed, or the loop is detached; capture
/// a [`WeakServices`] where that is too long.
#[derive(Clone)]
pub struct Services(Rc<dyn IoServices>);

/// A [`Services`] that keeps nothing alive.
#[derive(Clone)]
pub struct WeakServices(Weak<dyn IoServices>);

impl Services {
    /// Takes an adapter.
    pub fn new(adapter: impl IoServices + 'static) -> Self {
        Self(Rc::new(adapter))
    }

    /// The same, weakly.
    pub fn downgrade(&self) -> WeakServices {
        WeakServices(Rc::downgrade(&self.0))
    }

    /// The adapter, if it is of that type: the way to what it has beside its services.
    pub fn adapter<A: IoServices>(&self) -> Option<&A> {
        let adapter: &dyn Any = &*self.0;
        adapter.downcast_ref()
    }

    /// Calls `callback` once at `deadline` or later, never before (pika's `call_at`). Timers with
    /// equal deadlines are called in the order added. One added by a timer waits for the next
    /// pass, even if it is due.
    pub fn add_timeout(&self, deadline: Instant, callback: impl FnOnce() + 'static) -> TimerId {
        self.0.add_timer(deadline, None, || TimerCallback::once(callback))
    }

    /// Calls `callback` once when `delay` is over (pika's `call_later`). A delay beyond a hundred
    /// years may be taken as a hundred years.
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerId {
        self.add_timeout(after(self.now(), delay), callback)
    }

    /// Calls `callback` each time another `period` is over, until the timer is removed. It does not
    /// drift: its deadlines are a period apart, however late the calls are. Calls that a busy loop
    /// has missed are left out. A period of zero calls it once in each turn.
    pub fn call_every(&self, period: Duration, callback: impl FnMut() + 'static) -> TimerId {
        let deadline = after(self.now(), period);
        self.0.add_timer(deadline, Some(period.into()), || TimerCallback::every(callback))
    }

    /// Moves a timer to another deadline, without a new closure. A periodic one goes on from there,
    /// also if it is the one being called. False, and nothing happens, if it was not pending: it
    /// has fired, was removed, or is a timer of one call that is being called.
    ///
    /// Among equal deadlines its place is still that of its creation.
    #[inline]
    pub fn reset_timeout(&self, id: TimerId, deadline: Instant) -> bool {
        self.0.reset_timer(id, deadline)
    }

    /// Removes a timer, and drops its callback (pika's `remove_timeout`); that of a periodic one
    /// that is being called, when it returns. False if it was not pending: it has fired, was
    /// removed, or is a timer of one call that is being called. One that is due, but not called
    /// yet, is not called.
    #[inline]
    pub fn remove_timeout(&self, id: TimerId) -> bool {
        self.0.remove_timer(id)
    }

    /// Calls `callback` in the loop's next turn, after those added before it. A turn runs those
    /// that it finds: one that adds itself again starves nobody.
    pub fn add_callback(&self, callback: impl FnOnce() + 'static) {
        if self.core().add_callback(callback) {
            self.defer();
        }
    }

    /// See [`IoServices::add_fd`]. A panic of the handler does not reach the host: it is told as that
    /// of every callback, and loses that call only.
    ///
    /// # Errors
    /// As there, and [`LoopError::Gone`], as the source of an [`io::Error`], when the loop is gone.
    pub fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        self.add_own_fd(interest, Rc::new(Guarded { core: Rc::clone(self.core()), handler }))
    }

    /// The way in from other threads.
    pub fn remote(&self) -> Remote {
        self.core().remote()
    }

    /// Has the host's run go on until the guard is dropped, as it does while there is a connection.
    pub fn work_guard(&self) -> WorkGuard {
        WorkGuard::new(self)
    }
}

/// Timers, for whoever knows the adapter's type too: there no call is a virtual one.
pub(crate) trait TimerServices: IoServices {
    #[inline]
    fn add_timer(
        &self,
        deadline: Instant,
        period: Option<Period>,
        callback: impl FnOnce() -> TimerCallback,
    ) -> TimerId {
        let (id, tell) = self.core().add_timer(deadline, period, callback);
        if tell {
            self.set_timer(Some(deadline));
        }
        id
    }

    #[inline]
    fn reset_timer(&self, id: TimerId, deadline: Instant) -> bool {
        let (pending, tell) = self.core().reset_timer(id, deadline);
        if tell {
            self.set_timer(Some(deadline));
        }
        pending
    }

    #[inline]
    fn remove_timer(&self, id: TimerId) -> bool {
        let (pending, callback, unset) = self.core().remove_timer(id);
        if unset {
            self.set_timer(None);
        }
        drop(callback);
        pending
    }
}

impl<S: IoServices + ?Sized> TimerServices for S {}

/// A user's handler, of whose panics the host sees nothing.
struct Guarded {
    core: Rc<LoopCore>,
    handler: Rc<dyn FdHandler>,
}

impl AsFd for Guarded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handler.as_fd()
    }
}

impl FdHandler for Guarded {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        // What the handler has not seen to is told again.
        let called = self.core.call_user(|| Rc::clone(&self.handler).on_ready(ready));
        called.unwrap_or(Ready::NONE)
    }
}

/// For connections.
impl Services {
    /// Watches for a handler of this crate's own, which sees to panics itself.
    pub(crate) fn add_own_fd(
        &self,
        interest: Interest,
        handler: Rc<dyn FdHandler>,
    ) -> io::Result<FdKey> {
        if self.core().is_detached() {
            return Err(io::Error::other(LoopError::Gone));
        }
        self.0.add_fd(interest, handler)
    }

    /// Has the loop own `session`, and the host run on while there is one.
    pub(crate) fn adopt(&self, session: Rc<dyn LoopSession>) -> SessionKey {
        let first = !self.core().has_sessions();
        let key = self.core().adopt(session);
        if first && self.core().has_sessions() {
            self.keep_alive(true);
        }
        key
    }

    /// Undoes [`adopt`](Self::adopt). The caller drops the session, with nothing borrowed.
    pub(crate) fn release(&self, key: SessionKey) -> Option<Rc<dyn LoopSession>> {
        let session = self.core().release(key)?;
        if !self.core().has_sessions() {
            self.keep_alive(false);
        }
        Some(session)
    }

    /// Has `session` flushed at the end of the batch under way, or of a turn soon.
    pub(crate) fn mark_dirty(&self, session: Rc<dyn LoopSession>) {
        if self.core().mark_dirty(session) {
            self.defer();
        }
    }
}

impl WeakServices {
    /// The services, if the adapter still is.
    pub fn upgrade(&self) -> Option<Services> {
        self.0.upgrade().map(Services)
    }
}

impl Deref for Services {
    type Target = dyn IoServices;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl From<Rc<dyn IoServices>> for Services {
    fn from(adapter: Rc<dyn IoServices>) -> Self {
        Self(adapter)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Services").field(self.core()).finish()
    }
}

impl fmt::Debug for WeakServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakServices").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::task::Waker;

    use super::*;

    /// Notes what it is asked for.
    struct Host {
        core: Rc<LoopCore>,
        asked: RefCell<Vec<&'static str>>,
    }

    impl IoServices for Host {
        fn add_fd(&self, _: Interest, _: Rc<dyn FdHandler>) -> io::Result<FdKey> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn modify_fd(&self, _: FdKey, _: Interest) -> io::Result<()> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn remove_fd(&self, _: FdKey) {}

        fn set_timer(&self, _: Option<Instant>) {}

        fn defer(&self) {
            self.asked.borrow_mut().push("defer");
        }

        fn core(&self) -> &Rc<LoopCore> {
            &self.core
        }

        fn keep_alive(&self, needed: bool) {
            self.asked.borrow_mut().push(if needed { "run on" } else { "may return" });
        }
    }

    struct Nothing;

    impl LoopSession for Nothing {
        fn flush(&self) {}

        fn abandon(&self) {}
    }

    #[test]
    fn the_host_runs_on_while_there_are_sessions() {
        let core = LoopCore::new(Waker::noop().clone());
        let host = Rc::new(Host { core, asked: RefCell::default() });
        let services = Services::from(Rc::clone(&host) as Rc<dyn IoServices>);
        let (one, other) = (services.adopt(Rc::new(Nothing)), services.adopt(Rc::new(Nothing)));
        services.mark_dirty(Rc::new(Nothing));
        assert!(services.release(one).is_some());
        assert_eq!(host.asked.take(), ["run on", "defer"]);
        assert!(services.release(other).is_some());
        assert!(services.release(other).is_none());
        assert_eq!(host.asked.take(), ["may return"]);
    }
}
