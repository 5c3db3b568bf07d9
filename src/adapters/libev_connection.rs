//! A connection on libev.
#![allow(unsafe_code, reason = "libev is C")]

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::io;
use std::ptr;
use std::rc::Rc;
use std::time::Instant;

use super::c_loop::{self, connection_on_raw_loop};
use super::ffi::ev::*;
use super::ffi::native::ev_loop;
use super::foreign::{Foreign, Host, Watched};
use crate::error::Result;
use crate::io_services::{Ready, Services};

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
/// An `ev_run` inside one of their callbacks serves the host's own watchers, but not them.
///
/// They want a libev 4 whose watchers are as in its own distribution: with `EV_COMMON` and the
/// priorities unchanged.
pub struct LibevServices {
    ev_loop: *mut ev_loop,
    wake: Rc<UnsafeCell<ev_async>>,
    timer: Rc<UnsafeCell<ev_timer>>,
    end: Rc<UnsafeCell<ev_cleanup>>,
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
    /// [`Misuse::NullLoop`](crate::Misuse::NullLoop).
    pub unsafe fn attach(ev_loop: *mut ev_loop) -> Result<Services> {
        c_loop::not_null(ev_loop)?;
        let wake = ev_async::new(on_turn, ptr::null_mut(), 0);
        let address = wake.get();
        // SAFETY: ev_async_send is for any thread.
        let waker = unsafe { c_loop::waker(move || ev_async_send(ev_loop, address)) };
        let services = Foreign::new(waker);
        let data = c_loop::data(&services);
        let timer = ev_timer::new(on_turn, data, Timer::default());
        let end = ev_cleanup::new(on_end, data, ());
        // SAFETY: the caller promises the loop; the watchers stay in the `Rc` until they are stopped.
        unsafe {
            (*wake.get()).data = data;
            ev_cleanup_start(ev_loop, end.get()); // libev does not count it
            ev_async_start(ev_loop, wake.get());
            ev_unref(ev_loop);
        }
        Ok(services.enter(Self { ev_loop, wake, timer, end, is_needed: Cell::new(false) }))
    }
}

impl Host for LibevServices {
    type Fd = Rc<UnsafeCell<ev_io>>;

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Self::Fd> {
        let io = Io { next: ptr::null_mut(), fd: watched.open_fd()?, events: 0 };
        let io = ev_io::new(on_ready, c_loop::data(watched), io);
        self.change(&io, watched)?;
        Ok(io)
    }

    fn change(&self, io: &Self::Fd, watched: &Watched<Self>) -> io::Result<()> {
        let interest = watched.interest();
        // SAFETY: the loop is there until they have left, here and below; the watcher stays where it is
        // until it is stopped again.
        unsafe {
            ev_io_stop(self.ev_loop, io.get());
            if !interest.is_empty() {
                (*io.get()).more.events = EV__IOFDSET | c_loop::flags(interest, EV_READ, EV_WRITE);
                ev_io_start(self.ev_loop, io.get());
            }
        }
        Ok(())
    }

    fn unwatch(&self, io: Self::Fd) {
        // SAFETY: see above.
        unsafe { ev_io_stop(self.ev_loop, io.get()) };
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Zero stops it.
        let repeat = left.map_or(0.0, |left| left.as_secs_f64().clamp(1e-9, FAR));
        // SAFETY: see above.
        unsafe {
            (*self.timer.get()).more.repeat = repeat;
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
}

impl Drop for LibevServices {
    fn drop(&mut self) {
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

extern "C" fn on_ready(_: *mut ev_loop, watcher: *mut ev_watcher, found: c_int) {
    let ready = |_: &_, watched: &Watched<LibevServices>| {
        // With an error libev tells of both, also of what is not watched for.
        let ready = c_loop::conditions(found, EV_READ, EV_WRITE) & watched.interest();
        ready | Ready::ERROR.when(found & EV_ERROR != 0)
    };
    // SAFETY: the watcher is stopped before its data goes.
    unsafe { c_loop::ready((*watcher).data.cast(), ready) }
}
