//! A connection on libev.
#![allow(unsafe_code, reason = "libev is C")]

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

use rustix::io::fcntl_getfd;

use super::c_loop::{self, Callee, connection_on_raw_loop};
use super::ffi::ev::*;
use super::ffi::native::ev_loop;
use super::foreign::{Foreign, Held, Host};
use crate::error::{Misuse, Result};
use crate::io_services::{Interest, Ready, Services};

/// The furthest that a timer is set, in seconds: it fires, and may be set again.
const FAR: f64 = 1e9;

foreign_connection! {
    /// A connection driven by libev.
    ///
    /// Dropping it closes nothing: the loop owns the connection until that has ended, and runs on
    /// for it.
    pub struct LibevConnection;
}

connection_on_raw_loop!(LibevConnection, LibevServices, ev_loop: ev_loop);

/// [`IoServices`](crate::IoServices) over libev: an `ev_io` for each descriptor; an `ev_timer` and an
/// `ev_async` for timers and callbacks; an `ev_cleanup` that tells of the end of the loop.
///
/// They live as long as somebody holds them or a connection runs on them, or until the loop is
/// destroyed or they are [detached](crate::LoopCore::detach). `ev_run` goes on while there are connections,
/// timers, descriptors watched for something, callbacks added on its thread, or
/// [`WorkGuard`](crate::WorkGuard)s. Timers are never early, and with libev's epoll late by up to a
/// millisecond. libev tells of an error or a hang-up as of what is watched for, without
/// [`Ready::ERROR`].
///
/// An `ev_run` inside one of their callbacks serves the host's own watchers, but not them: what is
/// readable then is told again and again. So the callback should leave that to the loop.
///
/// They want a libev 4 whose watchers are as in its own distribution: with `EV_COMMON` and the
/// priorities unchanged.
pub struct LibevServices {
    ev_loop: *mut ev_loop,
    services: *const Foreign<Self>,
    wake: Rc<UnsafeCell<ev_async>>,
    timer: UnsafeCell<ev_timer>,
    end: UnsafeCell<ev_watcher>,
    /// The loop counts the `ev_async`, which otherwise it is not to run for.
    is_needed: Cell<bool>,
}

impl LibevServices {
    /// Services in a loop, which the host runs, before or after.
    ///
    /// # Safety
    /// `ev_loop` is null or a loop that is run, and destroyed, on this thread. Should it be destroyed
    /// before these services, that detaches them.
    ///
    /// # Errors
    /// [`Misuse::NullLoop`].
    pub unsafe fn attach(ev_loop: *mut ev_loop) -> Result<Services> {
        if ev_loop.is_null() {
            return Err(Misuse::NullLoop.into());
        }
        let wake = Rc::new(UnsafeCell::new(ev_async::new(on_turn)));
        let address = wake.get();
        // SAFETY: ev_async_send is for any thread.
        let waker = unsafe { c_loop::waker(move || ev_async_send(ev_loop, address)) };
        let services = Foreign::new(waker, |me| Self {
            ev_loop,
            services: me.as_ptr(),
            wake,
            timer: ev_timer::new(on_turn).into(),
            end: ev_watcher::new(on_end).into(),
            is_needed: Cell::new(false),
        });
        let data = Rc::as_ptr(&services).cast_mut().cast();
        // SAFETY: the caller promises the loop; the watchers stay in the `Rc` until they are stopped.
        unsafe {
            (*services.wake.get()).watcher.data = data;
            (*services.timer.get()).watcher.data = data;
            (*services.end.get()).data = data;
            ev_cleanup_start(ev_loop, services.end.get()); // libev does not count it
            ev_async_start(ev_loop, services.wake.get());
            ev_unref(ev_loop);
        }
        Ok(services.into_services())
    }
}

impl Host for LibevServices {
    type Fd = Fd;

    fn watch(&self, key: usize, interest: Interest, handler: Held) -> io::Result<Fd> {
        fcntl_getfd(&handler)?; // libev tells of a descriptor that is closed too late
        let callee = Callee::new(self.services, key);
        let mut io = ev_io::new(on_ready, handler.as_raw_fd());
        io.watcher.data = Rc::as_ptr(&callee).cast_mut().cast();
        let io = Rc::new(UnsafeCell::new(io));
        let fd = Fd { io, _callee: callee };
        self.change(&fd, interest)?;
        Ok(fd)
    }

    fn change(&self, fd: &Fd, interest: Interest) -> io::Result<()> {
        // SAFETY: the loop is there until they have left, here and below; the watcher stays where it is
        // until it is stopped again.
        unsafe {
            ev_io_stop(self.ev_loop, fd.io.get());
            if !interest.is_empty() {
                (*fd.io.get()).set_events(c_loop::flags(interest, EV_READ, EV_WRITE));
                ev_io_start(self.ev_loop, fd.io.get());
            }
        }
        Ok(())
    }

    fn unwatch(&self, fd: Fd) {
        // SAFETY: see above.
        unsafe { ev_io_stop(self.ev_loop, fd.io.get()) };
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Zero stops it.
        let repeat = left.map_or(0.0, |left| left.as_secs_f64().clamp(1e-9, FAR));
        // SAFETY: see above.
        unsafe {
            (*self.timer.get()).repeat = repeat;
            ev_now_update(self.ev_loop); // libev counts from the time that it knows
            ev_timer_again(self.ev_loop, self.timer.get());
        }
    }

    fn defer(&self) {
        // SAFETY: see above. It is called in the iteration under way, or first in the next.
        unsafe { ev_feed_event(self.ev_loop, self.wake.get().cast(), EV_ASYNC) };
    }

    fn keep_alive(&self, needed: bool) {
        if self.is_needed.replace(needed) != needed {
            // SAFETY: see above.
            unsafe { if needed { ev_ref(self.ev_loop) } else { ev_unref(self.ev_loop) } }
        }
    }

    fn leave(&self) {
        // SAFETY: they were put in this loop, and what is not needed does not count.
        unsafe {
            ev_cleanup_stop(self.ev_loop, self.end.get());
            ev_ref(self.ev_loop);
            ev_async_stop(self.ev_loop, self.wake.get());
            ev_timer_stop(self.ev_loop, self.timer.get());
        }
    }
}

extern "C" fn on_turn(_: *mut ev_loop, watcher: *mut ev_watcher, _: c_int) {
    // SAFETY: the services stop these watchers before they go, here and below.
    unsafe { c_loop::turn::<LibevServices>((*watcher).data.cast()) }
}

/// The loop is being destroyed.
extern "C" fn on_end(_: *mut ev_loop, watcher: *mut ev_watcher, _: c_int) {
    // SAFETY: see above.
    unsafe { c_loop::end::<LibevServices>((*watcher).data.cast()) }
}

extern "C" fn on_ready(_: *mut ev_loop, watcher: *mut ev_watcher, events: c_int) {
    // With an error libev tells of both, also of what is not watched for.
    let ready = |fd: &Fd| {
        let ready = c_loop::conditions(events & fd.events(), EV_READ, EV_WRITE);
        ready | Ready::ERROR.when(events & EV_ERROR != 0)
    };
    // SAFETY: the watcher is stopped before its data goes, and that before the services.
    unsafe { c_loop::ready::<LibevServices>((*watcher).data.cast(), ready, |_| ()) }
}

/// A descriptor that is watched.
pub(super) struct Fd {
    io: Rc<UnsafeCell<ev_io>>,
    _callee: Rc<Callee<LibevServices>>,
}

impl Fd {
    fn events(&self) -> c_int {
        // SAFETY: nobody changes it meanwhile.
        unsafe { (*self.io.get()).events }
    }
}
