//! What the adapters of foreign loops have in common: which descriptor has which key, who owns
//! whom, and the end of either.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use slab::Slab;

use crate::error::LoopError;
use crate::io_services::{FdHandler, FdKey, Interest, IoServices, Services};
use crate::ioloop::LoopCore;

/// The primitives of a loop: what [`IoServices`] asks for, and no more. None calls user code.
pub(super) trait Host: Sized + 'static {
    /// A descriptor that is watched.
    type Fd;

    /// Watches a descriptor. On an error nothing is watched.
    fn watch(&self, key: usize, interest: Interest, handler: Held) -> io::Result<Self::Fd>;

    /// Watches it for `interest` from now on.
    fn change(&self, fd: &Self::Fd, interest: Interest) -> io::Result<()>;

    /// Ends the watch. The caller keeps the handler for longer.
    fn unwatch(&self, fd: Self::Fd);

    /// As [`IoServices::set_timer`]; not called from inside a turn, which gives what to set.
    fn set_timer(&self, deadline: Option<Instant>);

    /// As [`IoServices::defer`].
    fn defer(&self);

    /// As [`IoServices::keep_alive`]. Whatever happens, not needed is told last.
    fn keep_alive(&self, needed: bool) {
        let _ = needed;
    }

    /// Takes out of the loop what is not a descriptor: the loop may go. Called once, last, also if
    /// only a part of that was put there.
    fn leave(&self) {}
}

/// [`IoServices`] over a host. They live as long as somebody holds them or a connection runs on
/// them; at their end, or when they are detached, all that they watch is unwatched, and the host
/// leaves the loop.
pub(super) struct Foreign<H: Host> {
    me: Weak<Self>,
    pub(super) core: Rc<LoopCore>,
    host: H,
    fds: RefCell<Slab<(H::Fd, Held)>>,
    /// Itself, while a connection needs it.
    anchor: Cell<Option<Rc<Self>>>,
    ended: Cell<bool>,
    serving: Cell<Serving>,
}

/// Whether the loop's call of them is under way.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Serving {
    #[default]
    No,
    Yes,
    /// And it has called them again, from inside of that.
    Twice,
}

impl<H: Host> Foreign<H> {
    pub(super) fn new(waker: Waker, host: impl FnOnce(&Weak<Self>) -> H) -> Rc<Self> {
        let services = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: LoopCore::new(waker),
            host: host(me),
            fds: RefCell::default(),
            anchor: Cell::new(None),
            ended: Cell::new(false),
            serving: Cell::default(),
        });
        let me = Rc::downgrade(&services);
        services.core.add_on_detach(move || me.upgrade().iter().for_each(|me| me.end()));
        services
    }

    /// The services, unless they are ending.
    pub(super) fn hold(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
    }

    /// The adapter of a loop of that type, until it is detached.
    pub(super) fn of(services: &Services) -> Option<&Self> {
        services.adapter::<Self>().filter(|services| !services.core.is_detached())
    }

    /// Serves a call of the loop's. In a run of the loop inside of one they are silent, and have a turn
    /// after it: no handler is called before it has returned.
    pub(super) fn serve(&self, call: impl FnOnce(&Self)) {
        struct Served<'s, H: Host>(&'s Foreign<H>);

        impl<H: Host> Drop for Served<'_, H> {
            fn drop(&mut self) {
                if self.0.serving.take() == Serving::Twice {
                    IoServices::defer(self.0);
                }
            }
        }

        if self.serving.get() != Serving::No {
            self.serving.set(Serving::Twice);
            // A timer that repeats until it is set again would spin there. The turn sets it.
            return IoServices::set_timer(self, None);
        }
        self.serving.set(Serving::Yes);
        let _served = Served(self);
        call(self);
    }

    /// Has the host's timer set to what the turn gives.
    pub(super) fn turn(&self) {
        let next = self.core.turn();
        if !self.ended.get() {
            self.host.set_timer(next);
        }
    }

    /// The keys of all descriptors are below that.
    pub(super) fn keys(&self) -> usize {
        self.fds.borrow().capacity()
    }

    pub(super) fn into_services(self: Rc<Self>) -> Services {
        Services::from(self as Rc<dyn IoServices>)
    }

    /// Looks at a descriptor that is watched still.
    pub(super) fn look<R>(&self, key: usize, look: impl FnOnce(&H::Fd, &Held) -> R) -> Option<R> {
        self.fds.borrow().get(key).map(|(fd, handler)| look(fd, handler))
    }

    /// Detaches the core and leaves the host, which may go once this returns, also from inside of a
    /// detach that is under way.
    pub(super) fn end(&self) {
        let mut handlers = Vec::new();
        self.core.detach_after(|| handlers = self.leave());
        handlers.extend(self.leave());
        drop(self.core.call_user(|| drop(handlers)));
    }

    /// Takes all out of the host: before anything of the user's is dropped, which may end that. Gives
    /// the handlers that are left.
    fn leave(&self) -> Vec<Held> {
        if self.ended.replace(true) {
            return Vec::new();
        }
        self.host.keep_alive(false);
        drop(self.anchor.take());
        let fds = self.fds.take();
        let handlers = fds.into_iter().map(|(_, (fd, handler))| {
            self.host.unwatch(fd);
            handler
        });
        let handlers = handlers.collect();
        self.host.leave();
        handlers
    }
}

impl<H: Host> Deref for Foreign<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.host
    }
}

impl<H: Host> IoServices for Foreign<H> {
    fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        if self.ended.get() {
            return Err(io::Error::other(LoopError::Gone));
        }
        let (key, held) = (self.fds.borrow().vacant_key(), Held(handler));
        let fd = self.host.watch(key, interest, held.clone())?;
        Ok(FdKey(self.fds.borrow_mut().insert((fd, held))))
    }

    fn modify_fd(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        let changed = self.look(key.0, |fd, _| self.host.change(fd, interest));
        changed.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    fn remove_fd(&self, key: FdKey) {
        let removed = self.fds.borrow_mut().try_remove(key.0);
        if let Some((fd, handler)) = removed {
            self.host.unwatch(fd);
            drop(handler);
        }
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        if !self.ended.get() {
            self.host.set_timer(deadline);
        }
    }

    fn defer(&self) {
        if !self.ended.get() {
            self.host.defer();
        }
    }

    fn core(&self) -> &Rc<LoopCore> {
        &self.core
    }

    fn keep_alive(&self, needed: bool) {
        if self.ended.get() {
            return;
        }
        self.host.keep_alive(needed);
        drop(self.anchor.replace(self.me.upgrade().filter(|_| needed)));
    }
}

impl<H: Host> Drop for Foreign<H> {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the loop has of the services. When it goes, nothing of them works any more, and nothing is
/// watched: whoever holds them still holds no descriptor.
pub(super) struct OfLoop<H: Host>(pub(super) Weak<Foreign<H>>);

impl<H: Host> Drop for OfLoop<H> {
    fn drop(&mut self) {
        if let Some(services) = self.0.upgrade() {
            services.end();
        }
    }
}

/// A handler, as what has its descriptor.
#[derive(Clone)]
pub(super) struct Held(pub(super) Rc<dyn FdHandler>);

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Held {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A waker that calls a function.
pub(super) fn waker(wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Calls<F>(F);

    impl<F: Fn()> Wake for Calls<F> {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            (self.0)();
        }
    }

    Waker::from(Arc::new(Calls(wake)))
}
