//! A connection on libuv.
#![allow(unsafe_code, reason = "libuv is C")]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::c_loop::{self, connection_on_raw_loop};
use super::ffi::native::uv_loop_t;
use super::ffi::uv::*;
use super::foreign::{Foreign, Host, Watched};
use crate::error::{LoopError, Result};
use crate::io_services::{Interest, Ready, Services};

foreign_connection! {
    /// A connection driven by libuv.
    ///
    /// Dropping it closes nothing: the loop owns the connection until that has ended, and runs on
    /// for it.
    pub struct LibuvConnection;
}

connection_on_raw_loop!(LibuvConnection, LibuvServices, uv_loop: uv_loop_t);

/// [`IoServices`](crate::IoServices) over libuv: a `uv_poll_t` for each descriptor, which libuv makes
/// non-blocking; a `uv_timer_t`, a `uv_idle_t` and a `uv_async_t` for timers and callbacks.
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
    /// [`Misuse::NullLoop`](crate::Misuse::NullLoop); [`Error::Io`](crate::Error::Io) if the operating
    /// system has no descriptor left for `uv_async_t`.
    pub unsafe fn attach(uv_loop: *mut uv_loop_t) -> Result<Services> {
        c_loop::not_null(uv_loop)?;
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
        let services = Foreign::new(unsafe { c_loop::waker(move || uv_async_send(handle)) });
        [&wake, &timer, &idle].iter().for_each(|handle| handle.set_data(&services));
        Ok(services.enter(Self { uv_loop, wake, timer, idle }))
    }
}

impl Host for LibuvServices {
    type Fd = Handle;

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Handle> {
        if self.wake.is_closing() {
            return Err(io::Error::other(LoopError::Gone)); // the host has closed all that it found
        }
        // SAFETY: the loop is there until they have left.
        let init = |poll| unsafe { uv_poll_init(self.uv_loop, poll, watched.as_raw_fd()) };
        let poll = Handle::new(UV_POLL, init)?;
        poll.set_data(watched);
        self.change(&poll, watched)?;
        Ok(poll)
    }

    fn change(&self, poll: &Handle, watched: &Watched<Self>) -> io::Result<()> {
        start(poll, watched.interest())
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            _ if self.wake.is_closing() => {}
            // SAFETY: the handles are not closed, here and below.
            None => unsafe { _ = uv_timer_stop(self.timer.0) },
            // libuv would call it again and again before it looks at anything else.
            Some(Duration::ZERO) => self.defer(),
            Some(left) => {
                let delay = left.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX);
                // SAFETY: see above. libuv counts from the time that it knows. It knows whole
                // milliseconds, and may call too early where something else woke it meanwhile: then
                // the turn sets it again. (To add one to the delay would have each timer be late.)
                unsafe {
                    uv_update_time(self.uv_loop);
                    uv_timer_start(self.timer.0, on_turn, delay, 0);
                }
            }
        }
    }

    fn defer(&self) {
        if !self.wake.is_closing() {
            // SAFETY: see above. While one is idle, libuv neither waits nor returns.
            unsafe { uv_idle_start(self.idle.0, on_turn) };
        }
    }

    fn keep_alive(&self, needed: bool) {
        if !self.wake.is_closing() {
            // SAFETY: see above.
            unsafe { if needed { uv_ref(self.wake.0) } else { uv_unref(self.wake.0) } }
        }
    }
}

extern "C" fn on_turn(handle: *mut uv_handle_t) {
    let turn = |services: &Foreign<LibuvServices>| {
        // SAFETY: the handle is there until they have left, also if the host has closed it.
        services.host(|host| unsafe { uv_idle_stop(host.idle.0) });
        services.serve(Foreign::turn);
    };
    // SAFETY: the services close these handles before they go.
    unsafe { c_loop::enter(uv_handle_get_data(handle).cast(), turn) }
}

extern "C" fn on_ready(poll: *mut uv_handle_t, status: c_int, events: c_int) {
    let ready = |poll: &Handle, watched: &Watched<LibuvServices>| {
        if status == 0 {
            return c_loop::conditions(events, UV_READABLE, UV_WRITABLE);
        }
        // libuv has stopped it. What the handler does not see to is told again.
        let again = start(poll, watched.interest());
        again.unwrap_or_else(|error| log::error!("libuv watches no more: {error}"));
        watched.interest() | Ready::ERROR
    };
    // SAFETY: the handle is closed before its data goes.
    unsafe { c_loop::ready(uv_handle_get_data(poll).cast(), ready) }
}

fn start(poll: &Handle, interest: Interest) -> io::Result<()> {
    if poll.is_closing() {
        return Err(io::Error::other(LoopError::Gone));
    }
    let events = c_loop::flags(interest, UV_READABLE, UV_WRITABLE);
    // SAFETY: the handle is not closed. Without events it is stopped.
    checked(unsafe { uv_poll_start(poll.0, events, on_ready) })
}
