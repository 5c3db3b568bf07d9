//! What the adapters of async runtimes have in common: one future, the driver, runs all that is on
//! the services. Each descriptor wakes it by a waker of its own.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::foreign::{Foreign, Host, OfLoop};
use crate::io_services::Services;

/// A host that tells of readiness by wakers.
pub(super) trait Reactor: Host {
    type Timer: Future + Unpin;

    fn timer(deadline: Instant) -> Self::Timer;

    /// Sets it anew, whether it has fired or not.
    fn reset(timer: &mut Self::Timer, deadline: Instant);

    /// Calls the handler of a descriptor at most once, and has its waker told of what follows.
    fn dispatch(services: &Foreign<Self>, key: usize);
}

pub(super) struct Driver<R: Reactor> {
    services: OfLoop<R>,
    woken: Arc<Woken>,
    /// Made once: a new one for each deadline may cost a heap allocation.
    timer: Option<R::Timer>,
    /// What it is set to, until it has fired. Set to nothing, it may wake the driver in vain.
    deadline: Option<Instant>,
    /// Empty but for its capacity, which it trades with the list of the woken.
    fds: Vec<usize>,
}

impl<R: Reactor> Driver<R> {
    /// Services, and what runs all that is on them.
    pub(super) fn new(host: impl FnOnce(Arc<Woken>) -> R) -> (Services, Self) {
        let woken = Arc::new(Woken::default());
        let services = Foreign::new(Waker::from(Arc::clone(&woken)));
        let of_loop = OfLoop(Rc::downgrade(&services));
        let services = services.enter(host(Arc::clone(&woken)));
        (services, Self { services: of_loop, woken, timer: None, deadline: None, fds: Vec::new() })
    }

    /// True once for each time that the timer was set.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> bool {
        let timer = self.timer.as_mut().filter(|_| self.deadline.is_some());
        let fires = timer.is_some_and(|timer| Pin::new(timer).poll(context).is_ready());
        if fires {
            self.deadline = None;
        }
        fires
    }

    fn set_timer(&mut self, deadline: Option<Instant>) {
        if self.deadline == deadline {
            return;
        }
        self.deadline = deadline;
        match (deadline, &mut self.timer) {
            (None, _) => {}
            (Some(at), Some(timer)) => R::reset(timer, at),
            (Some(at), timer) => *timer = Some(R::timer(at)),
        }
    }
}

/// Ready with true after a turn that another one is to follow, for other tasks to have theirs between,
/// and with false when the services are gone or detached. To be polled again after true.
impl<R: Reactor> Future for Driver<R> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        let services = this.services.0.upgrade().filter(|it| !it.core.is_detached());
        let Some(services) = services else { return Poll::Ready(false) };
        this.woken.swap(&mut this.fds);
        this.fds.drain(..).for_each(|key| R::dispatch(&services, key));
        // One that a handler has just asked for is not left for the next poll, which reads again.
        let turn = this.woken.take_turn();
        if this.poll_timer(context) || turn {
            let deadline = services.core.turn();
            // For one that is due already, a runtime's own may take until the next millisecond.
            let is_due = deadline.is_some_and(|at| at <= Instant::now());
            if !is_due {
                this.set_timer(deadline);
            }
            if is_due || this.poll_timer(context) {
                this.woken.turn(); // there is more to do
            }
            if this.woken.is_turn_owed() {
                return Poll::Ready(true);
            }
        }
        this.woken.wait(context.waker());
        Poll::Pending
    }
}

impl<R: Reactor> Unpin for Driver<R> {}

/// What the driver is to see to.
#[derive(Default)]
pub(super) struct Woken(Mutex<List>);

#[derive(Default)]
struct List {
    turn: bool,
    fds: Vec<usize>,
    driver: Option<Waker>,
}

impl Woken {
    /// Asks for a turn.
    pub(super) fn turn(&self) {
        self.add(|list| list.turn = true);
    }

    fn is_turn_owed(&self) -> bool {
        self.lock().turn
    }

    /// The waker of a descriptor.
    pub(super) fn waker(self: &Arc<Self>, key: usize) -> Waker {
        Waker::from(Arc::new(OfFd { key, woken: Arc::clone(self) }))
    }

    fn add(&self, add: impl FnOnce(&mut List)) {
        let mut list = self.lock();
        add(&mut list);
        let driver = list.driver.take();
        drop(list);
        driver.into_iter().for_each(Waker::wake);
    }

    /// Exchanges the woken descriptors for the empty `fds`.
    fn swap(&self, fds: &mut Vec<usize>) {
        std::mem::swap(&mut self.lock().fds, fds);
    }

    /// Whether a turn was asked for.
    fn take_turn(&self) -> bool {
        std::mem::take(&mut self.lock().turn)
    }

    /// Has the driver woken by what comes, or at once by what came meanwhile.
    fn wait(&self, driver: &Waker) {
        let mut list = self.lock();
        let old = list.driver.replace(driver.clone());
        let is_empty = !list.turn && list.fds.is_empty();
        drop(list);
        drop(old);
        if !is_empty {
            self.add(|_| ());
        }
    }

    /// No panic leaves the list half-changed, so a poisoned lock means nothing.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.turn();
    }
}

struct OfFd {
    key: usize,
    woken: Arc<Woken>,
}

impl Wake for OfFd {
    fn wake(self: Arc<Self>) {
        self.woken.add(|list| list.fds.push(self.key));
    }
}
