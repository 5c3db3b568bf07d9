//! The loop itself: [`LoopCore`] plus a poller.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::core::LoopCore;
use super::fds::Fds;
use super::panics::{Panics, call_each};
use super::pollers::{AnyPoller, EVENTS, Event, PollerKind, Token, Wait, has_failed, ready, token};
use crate::error::{Error, LoopError, Result};
use crate::io_services::{FdHandler, FdKey, Interest, IoServices, Ready, after};

pub(super) struct Inner {
    core: Rc<LoopCore>,
    pub(super) kind: PollerKind,
    poller: AnyPoller,
    fds: RefCell<Fds>,
    /// What the last wait has told. Borrowed while a turn is under way, and no turn runs inside of
    /// a turn.
    events: RefCell<Vec<Event>>,
    running: Cell<bool>,
    /// Atomic for what [`Stopper`](super::Stopper) posts; only the loop's thread touches it.
    stop: Arc<AtomicBool>,
    error: Cell<Option<Error>>,
    /// The one that made it.
    process: u32,
    /// This is another, forked from that: the poller is shared with it, and is its.
    forked: Cell<bool>,
}

impl Inner {
    pub(super) fn new(kind: PollerKind) -> Result<Rc<Self>> {
        let poller = AnyPoller::open(kind)?;
        let inner = Rc::new(Self {
            core: LoopCore::with_panics(poller.waker(), Panics::Unwind),
            kind,
            poller,
            fds: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS)),
            running: Cell::new(false),
            stop: Arc::default(),
            error: Cell::new(None),
            process: std::process::id(),
            forked: Cell::new(false),
        });
        let weak = Rc::downgrade(&inner);
        inner.core.add_on_detach(move || weak.upgrade().iter().for_each(|it| it.remove_all()));
        Ok(inner)
    }

    pub(super) fn start(&self) -> Result<()> {
        let _running = self.run()?;
        while !self.stop.load(Ordering::Relaxed) {
            if self.core.is_detached() {
                return Err(LoopError::Gone.into());
            }
            self.turn(Wait::Forever, Waits::WhileNothingElseComes)?;
        }
        self.error.take().map_or(Ok(()), Err)
    }

    /// One turn that waits at most so long. False if it asked to stop, or if something before it
    /// did: then nothing runs, as in `start`.
    pub(super) fn run_once(&self, timeout: Option<Duration>) -> Result<bool> {
        let limit = match timeout {
            None => Wait::Forever,
            Some(Duration::ZERO) => Wait::Not,
            Some(timeout) => Wait::Until(after(Instant::now(), timeout)),
        };
        self.crank(|| Ok(self.turn(limit, Waits::Once)?))
    }

    /// A turn that does not look at descriptors. False as for `run_once`.
    pub(super) fn process_due(&self) -> Result<bool> {
        self.crank(|| {
            let _batch = self.core.batch();
            self.core.run_posted();
            self.core.run_due();
            Ok(())
        })
    }

    fn crank(&self, turn: impl FnOnce() -> Result<()>) -> Result<bool> {
        let _running = self.run()?;
        if !self.stop.load(Ordering::Relaxed) {
            turn()?;
        }
        let go_on = !self.stop.load(Ordering::Relaxed);
        self.error.take().map_or(Ok(go_on), Err)
    }

    fn run(&self) -> Result<Running<'_>> {
        debug_assert_eq!(
            self.process,
            std::process::id(),
            "an event loop is of the process that made it, not of one forked from that"
        );
        if self.running.get() || self.core.is_busy() {
            return Err(LoopError::Nested.into());
        }
        if self.core.is_detached() {
            return Err(LoopError::Gone.into());
        }
        Ok(Running::enter(self))
    }

    pub(super) fn time_to_deadline(&self) -> Option<Duration> {
        if self.core.has_work() || self.stop.load(Ordering::Relaxed) {
            return Some(Duration::ZERO);
        }
        Some(self.core.next_deadline()?.saturating_duration_since(Instant::now()))
    }

    pub(super) fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.poll_fd()
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.core.set_changed();
    }

    fn is_ending(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.core.is_detached()
    }

    pub(super) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whatever panics in here loses that call only. Posts, timers and sessions stay with the core;
    /// an event that was not handled comes again, since the pollers are level-triggered. A wake does
    /// not, but the end of the batch wakes again.
    fn turn(&self, limit: Wait, waits: Waits) -> io::Result<()> {
        let core = &*self.core;
        let _batch = core.batch();
        core.set_unchanged();
        // The flush drops what may be the user's, who may end the loop so, or add a timer.
        let wait = if core.is_pending() && (core.is_pending_after_flush() || self.is_ending()) {
            Wait::Not
        } else {
            match (limit, core.next_deadline()) {
                (limit, None) | (limit @ Wait::Not, _) => limit,
                (Wait::Until(limit), Some(next)) => Wait::Until(limit.min(next)),
                (Wait::Forever, Some(next)) => Wait::Until(next),
            }
        };
        let mut events = self.events.borrow_mut();
        let stands = self.poller.wait(wait, &mut events)?;
        if !stands || waits == Waits::Once {
            core.set_changed();
        }
        loop {
            for event in &*events {
                self.dispatch(event);
            }
            if core.is_changed() {
                break;
            }
            self.poller.wait(Wait::Forever, &mut events)?;
        }
        drop(events);
        core.run_posted();
        core.run_due();
        Ok(())
    }

    /// Judged by what is watched now: handlers called before, in this batch, may have changed it.
    fn dispatch(&self, event: &Event) {
        // Mutably, for a flag is quicker set than counted up.
        let (handler, interest) = match self.fds.borrow_mut().get(token(event)) {
            Some(entry) => (Rc::clone(&entry.handler), entry.interest),
            // It is the poller's own, a wake or a deadline, unless it was removed.
            None => return self.core.set_changed(),
        };
        let ready = if has_failed(event) { failed(interest) } else { ready(event) & interest };
        if !ready.is_empty() {
            handler.on_ready(ready);
        }
    }

    /// False if no descriptor has that key.
    pub(super) fn remove(&self, key: FdKey) -> bool {
        let entry = self.fds.borrow_mut().remove(Token(key.0));
        let Some(entry) = entry else { return false };
        if !entry.interest.is_empty() && !self.forked.get() {
            let fd = entry.handler.as_fd();
            let removed = self.poller.remove(fd, entry.interest);
            if let Err(error) = removed {
                log::debug!("a descriptor was closed before it was removed: {error}");
            }
        }
        true
    }

    /// Drops all that is on the loop, with nothing borrowed. A `start` under way ends: one of its
    /// callbacks dropped the loop, and nothing is left to wait for.
    pub(super) fn close(&self) {
        self.stop();
        self.core.detach();
    }

    /// In a forked process the poller is let be: what is taken out of it here is taken from the
    /// parent's loop.
    fn remove_all(self: &Rc<Self>) {
        if self.process != std::process::id() {
            self.forked.set(true);
            std::mem::forget(Rc::clone(self));
        }
        let tokens = self.fds.borrow().tokens();
        call_each(tokens.into_iter().map(|Token(token)| move || _ = self.remove(FdKey(token))));
    }
}

impl IoServices for Inner {
    fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        let token = self.fds.borrow_mut().insert(Rc::clone(&handler), interest);
        if !interest.is_empty() {
            let fd = handler.as_fd();
            let added = self.poller.add(fd, token, interest);
            if let Err(error) = added {
                let entry = self.fds.borrow_mut().remove(token);
                drop(entry);
                return Err(error);
            }
        }
        Ok(FdKey(token.0))
    }

    fn modify_fd(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        let token = Token(key.0);
        let (handler, old) = match self.fds.borrow().get(token) {
            Some(entry) => (Rc::clone(&entry.handler), entry.interest),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        if old == interest {
            return Ok(());
        }
        let fd = handler.as_fd();
        let poller = &self.poller;
        if old.is_empty() {
            poller.add(fd, token, interest)?;
        } else if interest.is_empty() {
            poller.remove(fd, old)?;
        } else {
            poller.modify(fd, token, old, interest)?;
        }
        if let Some(entry) = self.fds.borrow_mut().get_mut(token) {
            entry.interest = interest;
        }
        Ok(())
    }

    fn remove_fd(&self, key: FdKey) {
        self.remove(key);
    }

    /// Each turn asks the core for its deadline.
    fn set_timer(&self, _: Option<Instant>) {}

    /// Each turn asks the core whether it has something to do.
    fn defer(&self) {}

    fn core(&self) -> &Rc<LoopCore> {
        &self.core
    }

    fn unhandled_error(&self, error: Error) {
        match self.error.take() {
            None => self.error.set(Some(error)),
            Some(first) => {
                log::error!("{error}");
                self.error.set(Some(first));
            }
        }
        self.stop();
    }
}

/// What is told of an error or a hang-up.
#[cold]
fn failed(interest: Interest) -> Ready {
    if interest.is_empty() { Ready::NONE } else { interest | Ready::ERROR }
}

/// How often a turn waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Once,
    /// If its handlers have left nothing to do but to wait for the same, then that is the next turn.
    WhileNothingElseComes,
}

/// The loop runs, until this is dropped. A stop counts for one `start`, however that ends; that of
/// an error stands until the error has been returned.
struct Running<'a>(&'a Inner);

impl<'a> Running<'a> {
    fn enter(inner: &'a Inner) -> Self {
        inner.running.set(true);
        Self(inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
        let error = self.0.error.take();
        self.0.stop.store(error.is_some(), Ordering::Relaxed);
        self.0.error.set(error);
    }
}
