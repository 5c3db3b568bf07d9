//! The services of a connection whose host owns the socket: a loop that watches nothing.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use crate::error::LoopError;
use crate::io_services::{FdHandler, FdKey, Interest, IoServices};
use crate::ioloop::LoopCore;

pub(super) struct HostServices {
    core: Rc<LoopCore>,
    clock: Box<dyn Fn() -> Instant>,
    waker: Waker,
    /// The host has been woken, and has not come yet.
    woken: Cell<bool>,
    /// A call of the host is under way that ends with a turn.
    entered: Cell<bool>,
    /// The host is writing.
    writing: Cell<bool>,
}

impl HostServices {
    pub(super) fn new(
        wake: impl Fn() + Send + Sync + 'static,
        clock: Box<dyn Fn() -> Instant>,
    ) -> Self {
        struct Call<F>(F);

        impl<F: Fn() + Send + Sync> Wake for Call<F> {
            fn wake(self: Arc<Self>) {
                self.wake_by_ref();
            }

            fn wake_by_ref(self: &Arc<Self>) {
                (self.0)();
            }
        }

        let waker = Waker::from(Arc::new(Call(wake)));
        let core = LoopCore::by_clock(waker.clone(), clock());
        Self {
            core,
            clock,
            waker,
            woken: Cell::new(false),
            entered: Cell::new(false),
            writing: Cell::new(false),
        }
    }

    /// Runs `work`, and then a turn: after that, nothing is left to do that could be done.
    pub(super) fn enter(&self, work: impl FnOnce()) -> Result<(), LoopError> {
        if self.core.is_busy() || self.entered.get() || self.writing.get() {
            return Err(LoopError::Nested);
        }
        let _entered = Raised::raise(&self.entered);
        self.woken.set(false);
        let batch = self.core.batch();
        work();
        drop(batch);
        self.core.turn_at(&self.clock);
        Ok(())
    }

    /// Until the guard is dropped, nothing else may write, nor be called that calls back.
    pub(super) fn begin_writing(&self) -> Result<impl Drop + use<'_>, LoopError> {
        if self.writing.get() { Err(LoopError::Nested) } else { Ok(Raised::raise(&self.writing)) }
    }

    /// Has the host come and look, unless it is here and does so next.
    pub(super) fn attend(&self) {
        if !self.entered.get() && !self.woken.replace(true) {
            self.waker.wake_by_ref();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.core.has_work() { Some(self.now()) } else { self.core.next_deadline() }
    }
}

impl IoServices for HostServices {
    fn add_fd(&self, _: Interest, _: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn modify_fd(&self, _: FdKey, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn remove_fd(&self, _: FdKey) {}

    fn set_timer(&self, deadline: Option<Instant>) {
        if deadline.is_some() {
            self.attend();
        }
    }

    fn defer(&self) {
        self.attend();
    }

    fn core(&self) -> &Rc<LoopCore> {
        &self.core
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }
}

/// Set until it is dropped.
struct Raised<'a>(&'a Cell<bool>);

impl<'a> Raised<'a> {
    fn raise(flag: &'a Cell<bool>) -> Self {
        flag.set(true);
        Self(flag)
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
