//! What may be kept of a loop: by closures that run on it, and by other threads.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::handler::UserHandler;
use super::inner::Inner;
use super::remote::Remote;
use super::timers::TimerId;
use crate::error::{LoopError, Result};
use crate::io_services::{FdKey, Interest, IoServices, Ready, Services};

/// An [`IOLoop`](super::IOLoop), held weakly: closures capture it freely. It has the loop's
/// methods. When the loop is gone they do nothing, and what they are given is dropped without a
/// call.
#[derive(Clone)]
pub struct LoopHandle {
    pub(super) inner: Weak<Inner>,
    pub(super) remote: Remote,
}

impl LoopHandle {
    /// See [`IOLoop::start`](super::IOLoop::start).
    ///
    /// # Errors
    /// As there, and [`LoopError::Gone`] when the loop is gone.
    pub fn start(&self) -> Result<()> {
        self.inner.upgrade().ok_or(LoopError::Gone)?.start()
    }

    /// See [`IOLoop::stop`](super::IOLoop::stop).
    pub fn stop(&self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.stop();
        }
    }

    /// The loop as [`Services`]; `None` when it is gone.
    pub fn services(&self) -> Option<Services> {
        self.inner.upgrade().map(|inner| Services::from(inner as Rc<dyn IoServices>))
    }

    /// See [`IOLoop::remote`](super::IOLoop::remote).
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// See [`IOLoop::add_timeout`](super::IOLoop::add_timeout). The id that a loop which is gone
    /// gives matches nothing.
    pub fn add_timeout(&self, deadline: Instant, callback: impl FnOnce() + 'static) -> TimerId {
        self.services().map_or(TimerId::NONE, |services| services.add_timeout(deadline, callback))
    }

    /// See [`IOLoop::call_later`](super::IOLoop::call_later). The id that a loop which is gone gives
    /// matches nothing.
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerId {
        self.services().map_or(TimerId::NONE, |services| services.call_later(delay, callback))
    }

    /// See [`IOLoop::call_every`](super::IOLoop::call_every). The id that a loop which is gone gives
    /// matches nothing.
    pub fn call_every(&self, period: Duration, callback: impl FnMut() + 'static) -> TimerId {
        self.services().map_or(TimerId::NONE, |services| services.call_every(period, callback))
    }

    /// See [`IOLoop::reset_timeout`](super::IOLoop::reset_timeout).
    pub fn reset_timeout(&self, id: TimerId, deadline: Instant) -> bool {
        self.services().is_some_and(|services| services.reset_timeout(id, deadline))
    }

    /// See [`IOLoop::remove_timeout`](super::IOLoop::remove_timeout).
    pub fn remove_timeout(&self, id: TimerId) -> bool {
        self.services().is_some_and(|services| services.remove_timeout(id))
    }

    /// See [`IOLoop::add_callback`](super::IOLoop::add_callback).
    pub fn add_callback(&self, callback: impl FnOnce() + 'static) {
        if let Some(services) = self.services() {
            services.add_callback(callback);
        }
    }

    /// See [`IOLoop::add_handler`](super::IOLoop::add_handler).
    ///
    /// # Errors
    /// Also when the loop is gone.
    pub fn add_handler(
        &self,
        fd: impl AsFd + 'static,
        interest: Interest,
        handler: impl FnMut(&LoopHandle, Ready) + 'static,
    ) -> io::Result<FdKey> {
        let services = self.services().ok_or_else(|| io::Error::other(LoopError::Gone))?;
        let handler = UserHandler::new(fd, self.clone(), handler);
        // As the crate's own: a panic is not caught on this loop.
        services.add_own_fd(interest, Rc::new(handler))
    }

    /// See [`IOLoop::update_handler`](super::IOLoop::update_handler).
    ///
    /// # Errors
    /// Also when the loop is gone.
    pub fn update_handler(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        let inner = self.inner.upgrade().ok_or_else(|| io::Error::other(LoopError::Gone))?;
        inner.modify_fd(key, interest)
    }

    /// See [`IOLoop::remove_handler`](super::IOLoop::remove_handler).
    pub fn remove_handler(&self, key: FdKey) -> bool {
        self.inner.upgrade().is_some_and(|inner| inner.remove(key))
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle").finish_non_exhaustive()
    }
}

/// Stops an [`IOLoop`](super::IOLoop) from any thread (pika's
/// `add_callback_threadsafe(ioloop.stop)`). It keeps no loop alive, and may outlive it.
#[derive(Clone)]
pub struct Stopper {
    pub(super) remote: Remote,
    pub(super) flag: Arc<AtomicBool>,
}

impl Stopper {
    /// Posts a stop to the loop: what this thread posted before it runs first. Before `start`, the
    /// next `start` runs one turn.
    ///
    /// # Errors
    /// [`LoopError::Gone`].
    pub fn stop(&self) -> Result<(), LoopError> {
        let flag = Arc::clone(&self.flag);
        self.remote.add_callback(move || flag.store(true, Ordering::Relaxed))
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
