//! The door to any event loop: [`IoServices`] is what an adapter writes, [`Services`] what everyone
//! uses. What is built on them (resolving, connecting) is here once for all loops.

mod connect;
mod loop_session;
mod ready;
mod resolve;
mod services;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod work_guard;
mod workflow;

use std::any::Any;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Instant;

pub use connect::ConnectAttempt;
pub(crate) use loop_session::LoopSession;
pub use ready::{Interest, Ready};
pub use resolve::{Lookup, ResolveCallback};
pub use services::{Services, WeakServices};
pub(crate) use services::{TimerServices, after};
pub(crate) use stream::{Connected, Received, Stream, StreamOwner, Traffic};
#[cfg(feature = "tls")]
pub(crate) use tls::SEALING_SPACE;
pub(crate) use transport::Transport;
pub use work_guard::WorkGuard;
pub(crate) use workflow::{OnProgress, Progress, Workflow};

use crate::error::Error;
use crate::ioloop::LoopCore;

/// Names a descriptor added to a loop. The adapter chooses the number; that it is not one of a
/// descriptor removed earlier is a kindness, and not required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdKey(pub usize);

/// A descriptor and what is to happen when it is ready. The loop's `Rc` keeps it open: `as_fd` gives the
/// same open descriptor for as long as the handler is there.
pub trait FdHandler: AsFd {
    /// Handles `ready`, on the loop's thread, and may call anything, also to remove itself. It must
    /// not be called again before it has returned.
    ///
    /// Gives the part of `ready` that was seen to block (`EAGAIN`, or a short read or write). A
    /// level-triggered loop has no use for it. An edge-triggered one takes those as not ready until
    /// the next edge, and calls again for the others after it has looked at its other descriptors.
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready;
}

/// What an adapter of a host loop writes: six methods over the host's own primitives. All the rest
/// is built on them once.
///
/// The adapter keeps a [`LoopCore`], made with a waker, and calls its [`turn`](LoopCore::turn) when
/// its timer fires, when it was asked to [`defer`](Self::defer) and when it was woken; it sets its
/// timer to what `turn` gives. Before the host goes it calls [`detach`](LoopCore::detach), which others
/// may call too: [then](LoopCore::add_on_detach) it drops the handlers that are left. Nothing of the
/// host may be borrowed while it calls `turn` or [`on_ready`](FdHandler::on_ready): both run user code,
/// which may call every method here. No method calls user code itself.
///
/// [`Services::new`] takes the adapter; [`Services::connect`] opens connections on it.
///
/// Everything here is for the loop's thread.
pub trait IoServices: Any {
    /// Watches the handler's descriptor for `interest`, and keeps the handler until
    /// [`remove_fd`](Self::remove_fd). At a hang-up or error the whole interest is told as ready, and
    /// [`Ready::ERROR`] with it if the host knows the difference.
    ///
    /// # Errors
    /// What the host or its system says. The handler has been dropped, and nothing is watched.
    fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey>;

    /// Watches for `interest` from now on, and for nothing else; [`Ready::NONE`] keeps the key, and
    /// is silent even when the descriptor hangs up.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where no descriptor has that key, else what the host
    /// or its system says.
    fn modify_fd(&self, key: FdKey, interest: Interest) -> io::Result<()>;

    /// Ends the watch and drops the handler, with nothing borrowed. No event comes after it, even
    /// if one is in the batch under way. Always called before the descriptor is closed. An unknown
    /// key is ignored. The same descriptor may be added again; only from inside the handler that is
    /// being removed a host may refuse that as [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    fn remove_fd(&self, key: FdKey);

    /// Sets the one timer: `turn` is to be called at `deadline`, never before it; `None` means not
    /// at all. It replaces what was set. It is not called from inside a turn, which gives what to set.
    fn set_timer(&self, deadline: Option<Instant>);

    /// Has `turn` called before the host next waits, and not from inside this call.
    fn defer(&self);

    /// The core that this adapter keeps.
    fn core(&self) -> &Rc<LoopCore>;

    /// The time that delays are counted from. An adapter may give its host's idea of it, if that is
    /// never behind [`Instant::now`]: a timer would come early.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Resolves `host` to its addresses, each with `port`, off the loop, and calls `done` with
    /// them from the loop, never from inside this call. An IP address is taken as it is.
    ///
    /// Unless overridden by the host's own resolver, it runs the system's (`getaddrinfo`) on a
    /// thread of its own. A lookup that hangs cannot be stopped, but its thread holds nothing of
    /// the user's, and it ends with the process. It keeps no host running: see [`WorkGuard`].
    fn resolve(&self, host: &str, port: u16, done: ResolveCallback) -> Lookup {
        resolve::on_thread(self.core(), host, port, done)
    }

    /// Tells whether there is work on this loop, connections or [`WorkGuard`]s. For hosts whose `run`
    /// returns when nothing is left to wait for: a connection may wait for a lookup, which is on another
    /// thread. Such a host runs on, besides, while a timer is set, a turn is owed, or a descriptor is
    /// watched for something.
    fn keep_alive(&self, needed: bool) {
        let _ = needed;
    }

    /// Takes an error that no callback took. Written to the log, unless overridden;
    /// [`IOLoop`](crate::IOLoop) stops and returns it from `start`.
    fn unhandled_error(&self, error: Error) {
        log::error!("{error}");
    }
}
