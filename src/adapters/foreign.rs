//! What the adapters of foreign loops have in common: which descriptor has which key, who owns
//! whom, and the end of either.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use rustix::io::fcntl_getfd;
use slab::Slab;

use crate::error::LoopError;
use crate::io_services::{FdHandler, FdKey, Interest, IoServices, Ready, Services};
use crate::ioloop::LoopCore;

/// The primitives of a loop: what [`IoServices`] asks for, and no more. None calls user code. Dropped,
/// it has left the loop, which may go: what is not a descriptor is taken out of it then.
pub(super) trait Host: Sized + 'static {
    /// A descriptor that is watched.
    type Fd;

    /// Watches a descriptor for its [interest](Watched::interest). On an error nothing is watched.
    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Self::Fd>;

    /// Watches it for what its interest is now.
    fn change(&self, fd: &Self::Fd, watched: &Watched<Self>) -> io::Result<()>;

    /// Ends the watch. The caller keeps the handler for longer.
    fn unwatch(&self, fd: Self::Fd) {
        drop(fd);
    }

    /// As [`IoServices::set_timer`]; not called from inside a turn, which gives what to set.
    fn set_timer(&self, deadline: Option<Instant>);

    /// As [`IoServices::defer`].
    fn defer(&self);

    /// As [`IoServices::keep_alive`]. Whatever happens, not needed is told last.
    fn keep_alive(&self, needed: bool) {
        let _ = needed;
    }
}

/// [`IoServices`] over a host. They live as long as somebody holds them or a connection runs on
/// them; at their end, or when they are detached, all that they watch is unwatched, and the host
/// leaves the loop.
pub(super) struct Foreign<H: Host> {
    me: Weak<Self>,
    pub(super) core: Rc<LoopCore>,
    /// `None` before it has entered the loop, and once it has left.
    host: RefCell<Option<H>>,
    fds: RefCell<Fds<H>>,
    /// Itself, while a connection needs it.
    anchor: Cell<Option<Rc<Self>>>,
    serving: Cell<Serving>,
}

type Fds<H> = Slab<(<H as Host>::Fd, Rc<Watched<H>>)>;

/// A descriptor's handler, and how the loop's call finds the way to it.
pub(super) struct Watched<H: Host> {
    pub(super) services: Weak<Foreign<H>>,
    pub(super) key: usize,
    interest: Cell<Interest>,
    /// It is not to be called, whatever the interest.
    is_hushed: Cell<bool>,
    handler: Rc<dyn FdHandler>,
}

/// Whether the loop's call of them is under way.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Serving {
    #[default]
    No,
    Yes,
    /// And it has called them again, from inside of that: all is hushed until that has ended.
    Twice,
}

impl<H: Host> Foreign<H> {
    /// Services that are in no loop yet.
    pub(super) fn new(waker: Waker) -> Rc<Self> {
        let services = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: LoopCore::new(waker),
            host: RefCell::default(),
            fds: RefCell::default(),
            anchor: Cell::new(None),
            serving: Cell::default(),
        });
        let me = Rc::downgrade(&services);
        services.core.add_on_detach(move || me.upgrade().iter().for_each(|me| me.end()));
        services
    }

    /// Takes the host, which is in its loop now.
    pub(super) fn enter(self: Rc<Self>, host: H) -> Services {
        self.host.replace(Some(host));
        Services::from(self as Rc<dyn IoServices>)
    }

    /// What `get` gives of the host. `None`: it has left, or is that of another loop.
    pub(super) fn of<R>(services: &Services, get: impl FnOnce(&H) -> R) -> Option<R> {
        services.adapter::<Self>()?.host(get)
    }

    /// The services, unless they are ending.
    pub(super) fn hold(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
    }

    /// Calls the host, unless it has left. It does not leave meanwhile, as it calls no user code.
    pub(super) fn host<R>(&self, call: impl FnOnce(&H) -> R) -> Option<R> {
        self.host.borrow().as_ref().map(call)
    }

    /// Serves a call of the loop's. In a run of the loop inside of one they are silent, and have a turn
    /// after it: no handler is called before it has returned, and the loop does not call for it again
    /// and again.
    pub(super) fn serve(&self, call: impl FnOnce(&Self)) {
        struct Served<'s, H: Host>(&'s Foreign<H>);

        impl<H: Host> Drop for Served<'_, H> {
            fn drop(&mut self) {
                if self.0.serving.take() == Serving::Twice {
                    self.0.hush(false);
                    IoServices::defer(self.0);
                }
            }
        }

        match self.serving.get() {
            Serving::No => {
                self.serving.set(Serving::Yes);
                let _served = Served(self);
                return call(self);
            }
            Serving::Yes => {
                self.serving.set(Serving::Twice);
                self.hush(true);
            }
            Serving::Twice => {}
        }
        IoServices::set_timer(self, None); // the turn sets it
    }

    fn hush(&self, is_hushed: bool) {
        for (_, (fd, watched)) in &*self.fds.borrow() {
            watched.is_hushed.set(is_hushed);
            let changed = self.host(|host| host.change(fd, watched));
            if let Some(Err(error)) = changed {
                log::error!("the loop does not watch a descriptor: {error}");
            }
        }
    }

    /// Has the host's timer set to what the turn gives.
    pub(super) fn turn(&self) {
        let next = self.core.turn();
        self.host(|host| host.set_timer(next));
    }

    /// The keys of all descriptors are below that.
    pub(super) fn keys(&self) -> usize {
        self.fds.borrow().capacity()
    }

    /// Looks at a descriptor that is watched still.
    pub(super) fn look<R>(
        &self,
        key: usize,
        look: impl FnOnce(&H::Fd, &Rc<Watched<H>>) -> R,
    ) -> Option<R> {
        self.fds.borrow().get(key).map(|(fd, watched)| look(fd, watched))
    }

    /// Detaches the core and leaves the host, which may go once this returns, also from inside of a
    /// detach that is under way.
    pub(super) fn end(&self) {
        let mut left = Vec::new();
        self.core.detach_after(|| left = self.leave());
        left.extend(self.leave());
        drop(self.core.call_user(|| drop(left)));
    }

    /// Takes all out of the host: before anything of the user's is dropped, which may end that. Gives
    /// what is left to drop.
    fn leave(&self) -> Vec<Rc<Watched<H>>> {
        let Some(host) = self.host.take() else { return Vec::new() };
        host.keep_alive(false);
        drop(self.anchor.take());
        let fds = self.fds.take();
        let unwatched = fds.into_iter().map(|(_, (fd, watched))| {
            host.unwatch(fd);
            watched
        });
        unwatched.collect()
    }
}

impl<H: Host> IoServices for Foreign<H> {
    fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        let (services, key) = (Weak::clone(&self.me), self.fds.borrow().vacant_key());
        let is_hushed = Cell::new(self.serving.get() == Serving::Twice);
        let interest = Cell::new(interest);
        let watched = Rc::new(Watched { services, key, interest, is_hushed, handler });
        let fd = self.host(|host| host.watch(&watched));
        let fd = fd.unwrap_or_else(|| Err(io::Error::other(LoopError::Gone)))?;
        Ok(FdKey(self.fds.borrow_mut().insert((fd, watched))))
    }

    fn modify_fd(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        let change = |fd: &H::Fd, watched: &Rc<Watched<H>>| {
            watched.interest.set(interest);
            self.host(|host| host.change(fd, watched))
        };
        let changed = self.look(key.0, change).flatten();
        changed.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    fn remove_fd(&self, key: FdKey) {
        let removed = self.fds.borrow_mut().try_remove(key.0);
        if let Some((fd, watched)) = removed {
            self.host(|host| host.unwatch(fd));
            drop(watched);
        }
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        self.host(|host| host.set_timer(deadline));
    }

    fn defer(&self) {
        self.host(Host::defer);
    }

    fn core(&self) -> &Rc<LoopCore> {
        &self.core
    }

    fn keep_alive(&self, needed: bool) {
        if self.host(|host| host.keep_alive(needed)).is_some() {
            drop(self.anchor.replace(self.me.upgrade().filter(|_| needed)));
        }
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

impl<H: Host> Watched<H> {
    /// What it is to be watched for.
    pub(super) fn interest(&self) -> Interest {
        if self.is_hushed.get() { Interest::NONE } else { self.interest.get() }
    }

    /// Calls the handler.
    pub(super) fn on_ready(&self, ready: Ready) -> Ready {
        Rc::clone(&self.handler).on_ready(ready)
    }

    /// The descriptor, if it is open: some loops tell too late of one that is not, or never.
    pub(super) fn open_fd(&self) -> io::Result<RawFd> {
        fcntl_getfd(self)?;
        Ok(self.as_raw_fd())
    }
}

impl<H: Host> AsFd for Watched<H> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handler.as_fd()
    }
}

impl<H: Host> AsRawFd for Watched<H> {
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
