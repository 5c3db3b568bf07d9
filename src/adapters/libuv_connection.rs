//! A connection on libuv.
#![allow(unsafe_code, reason = "libuv is C")]

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

use super::c_loop::{self, Callee, connection_on_raw_loop};
use super::ffi::native::uv_loop_t;
use super::ffi::uv::*;
use super::foreign::{Foreign, Held, Host};
use crate::error::{LoopError, Misuse, Result};
use crate::io_services::{Interest, Ready, Services};

foreign_connection! {
    /// A connection driven by libuv.
    ///
    /// Dropping it closes nothing: the loop owns the connection until that has ended, and runs on
    /// for it.
    pub struct LibuvConnection;
}

connection_on_raw_loop!(LibuvConnection, LibuvServices, uv_loop: uv_loop_t);

/// [`IoServices`](crate::IoServices) over libuv: a `uv_poll_t` for each descriptor, which libuv makes non-blocking; a
/// `uv_timer_t`, a `uv_idle_t` and a `uv_async_t` for timers and callbacks.
///
/// They live as long as somebody holds them or a connection runs on them, or until they are
/// [detached](crate::LoopCore::detach). `uv_run` goes on while there are connections, timers,
/// descriptors watched for something, callbacks added on its thread, or [`WorkGuard`](crate::WorkGuard)s.
/// libuv takes one watcher for a descriptor: a second one is refused with `EEXIST`. Its timers have a
/// resolution of a millisecond, and are never early.
///
/// A host that closes whatever handles it finds, by `uv_walk`, detaches them before: of handles that
/// it has closed itself the memory, some hundred bytes each, leaks, since libuv tells only the one who
/// closed when they are done.
pub struct LibuvServices {
    uv_loop: *mut uv_loop_t,
    services: *const Foreign<Self>,
    /// `None` once they have left.
    turns: RefCell<Option<Turns>>,
}

/// What has a turn come.
struct Turns {
    wake: Handle,
    timer: Handle,
    idle: Handle,
}

impl LibuvServices {
    /// Services in a loop, which the host runs, before or after.
    ///
    /// # Safety
    /// `uv_loop` is null or an initialised loop, which is run on this thread and stays where it is
    /// until these services are gone, or [detached](crate::LoopCore::detach), and libuv has closed their
    /// handles: `uv_loop_close` is `UV_EBUSY` until then, and a `uv_run` closes them. (Of a loop that
    /// is not run again, the memory of those handles leaks: libuv may have a hand on it.)
    ///
    /// # Errors
    /// [`Misuse::NullLoop`]; [`Error::Io`](crate::Error::Io) if the operating system has no
    /// descriptor left for `uv_async_t`.
    pub unsafe fn attach(uv_loop: *mut uv_loop_t) -> Result<Services> {
        if uv_loop.is_null() {
            return Err(Misuse::NullLoop.into());
        }
        // SAFETY: the caller promises the loop; `Handle` gives each its memory.
        let (wake, timer, idle) = unsafe {
            let wake = Handle::new(UV_ASYNC, |wake| uv_async_init(uv_loop, wake, on_turn))?;
            let timer = Handle::new(UV_TIMER, |timer| uv_timer_init(uv_loop, timer))?;
            let idle = Handle::new(UV_IDLE, |idle| uv_idle_init(uv_loop, idle))?;
            uv_unref(wake.0); // it is always active
            (wake, timer, idle)
        };
        let handle = wake.0;
        // SAFETY: uv_async_send is for any thread.
        let waker = unsafe {
            c_loop::waker(move || {
                uv_async_send(handle);
            })
        };
        let services = Foreign::new(waker, |me| {
            [&wake, &timer, &idle].iter().for_each(|handle| handle.set_data(me.as_ptr()));
            let turns = RefCell::new(Some(Turns { wake, timer, idle }));
            Self { uv_loop, services: me.as_ptr(), turns }
        });
        Ok(services.into_services())
    }

    /// Calls `call`, unless they have left, or the host has closed all handles that it could find.
    fn with_turns(&self, call: impl FnOnce(&Turns)) {
        if let Some(turns) = self.turns.borrow().as_ref().filter(|turns| !turns.wake.is_closing()) {
            call(turns);
        }
    }
}

impl Host for LibuvServices {
    type Fd = Fd;

    fn watch(&self, key: usize, interest: Interest, handler: Held) -> io::Result<Fd> {
        let mut poll = Err(io::Error::other(LoopError::Gone));
        self.with_turns(|_| {
            // SAFETY: the loop is there until they have left.
            let init = |poll| unsafe { uv_poll_init(self.uv_loop, poll, handler.as_raw_fd()) };
            poll = Handle::new(UV_POLL, init);
        });
        let (poll, callee) = (poll?, Callee::new(self.services, key));
        poll.set_data(Rc::as_ptr(&callee));
        let fd = Fd { poll, interest: Cell::default(), _callee: callee };
        self.change(&fd, interest)?;
        Ok(fd)
    }

    fn change(&self, fd: &Fd, interest: Interest) -> io::Result<()> {
        fd.interest.set(interest);
        fd.start()
    }

    fn unwatch(&self, fd: Fd) {
        drop(fd);
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // libuv would call a timer that is due again and again before it looks at anything else.
        if left.is_some_and(|left| left.is_zero()) {
            return self.defer();
        }
        self.with_turns(|turns| {
            let Some(left) = left else {
                // SAFETY: the handles of `turns` are not closed, here and below.
                unsafe { uv_timer_stop(turns.timer.0) };
                return;
            };
            // libuv counts in whole milliseconds, from the one in which its turn began.
            let due = (u128::from(uv_hrtime()) + left.as_nanos()).div_ceil(1_000_000);
            // SAFETY: see above.
            unsafe {
                let delay = due.saturating_sub(uv_now(self.uv_loop).into());
                let delay = delay.try_into().unwrap_or(u64::MAX);
                uv_timer_start(turns.timer.0, on_turn, delay, 0);
            }
        });
    }

    fn defer(&self) {
        // SAFETY: see above. While one is idle, libuv neither waits nor returns.
        self.with_turns(|turns| unsafe {
            uv_idle_start(turns.idle.0, on_turn);
        });
    }

    fn keep_alive(&self, needed: bool) {
        // SAFETY: see above.
        self.with_turns(|turns| unsafe {
            if needed { uv_ref(turns.wake.0) } else { uv_unref(turns.wake.0) }
        });
    }

    fn leave(&self) {
        drop(self.turns.take());
    }
}

extern "C" fn on_turn(handle: *mut uv_handle_t) {
    // SAFETY: the services close these handles before they go.
    unsafe {
        let services = uv_handle_get_data(handle).cast::<Foreign<LibuvServices>>();
        (*services).with_turns(|turns| {
            uv_idle_stop(turns.idle.0);
        });
        c_loop::turn(services);
    }
}

extern "C" fn on_ready(poll: *mut uv_handle_t, status: c_int, events: c_int) {
    let ready = |fd: &Fd| match status {
        0 => c_loop::conditions(events, UV_READABLE, UV_WRITABLE),
        _ => fd.interest.get() | Ready::ERROR,
    };
    // After an error libuv has stopped it. One that was not taken is told again.
    let again = |fd: &Fd| match status {
        0 => {}
        _ => fd.start().unwrap_or_else(|error| log::error!("libuv watches no more: {error}")),
    };
    // SAFETY: the handle is closed before its data goes, and that before the services.
    unsafe { c_loop::ready::<LibuvServices>(uv_handle_get_data(poll).cast(), ready, again) }
}

/// A descriptor that is watched.
pub(super) struct Fd {
    poll: Handle,
    interest: Cell<Interest>,
    _callee: Rc<Callee<LibuvServices>>,
}

impl Fd {
    fn start(&self) -> io::Result<()> {
        if self.poll.is_closing() {
            return Err(io::Error::other(LoopError::Gone));
        }
        let events = c_loop::flags(self.interest.get(), UV_READABLE, UV_WRITABLE);
        // SAFETY: the handle is not closed. Without events it is stopped.
        checked(unsafe { uv_poll_start(self.poll.0, events, on_ready) })
    }
}
