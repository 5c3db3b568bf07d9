//! A connection on libevent.
#![allow(unsafe_code, reason = "libevent is C")]

use std::ffi::{c_int, c_short, c_void};
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

use super::c_loop::{self, connection_on_raw_loop};
use super::ffi::event::*;
use super::ffi::native::event_base;
use super::foreign::{Foreign, Host, Watched};
use crate::error::Result;
use crate::io_services::{IoServices, Ready, Services};
use crate::ioloop::WakePair;

foreign_connection! {
    /// A connection driven by libevent.
    ///
    /// Dropping it closes nothing: the loop owns the connection until that has ended, and runs on
    /// for it.
    pub struct LibeventConnection;
}

connection_on_raw_loop!(LibeventConnection, LibeventServices, event_base: event_base);

/// [`IoServices`](crate::IoServices) over libevent: two events for each descriptor, and three of its own.
/// Other threads wake it by a socket pair that it watches: they need no thread support of libevent.
///
/// They live as long as somebody holds them or a connection runs on them, or until they are
/// [detached](crate::LoopCore::detach). `event_base_dispatch` goes on while there are connections,
/// timers, descriptors watched for something, callbacks added on its thread, or
/// [`WorkGuard`](crate::WorkGuard)s. Timers are never early; how late they are is up to the clock of the
/// base, which has a resolution of some milliseconds unless it is made with
/// `EVENT_BASE_FLAG_PRECISE_TIMER`. libevent tells of an error or a hang-up as of what is watched for,
/// without [`Ready::ERROR`].
pub struct LibeventServices {
    event_base: *mut event_base,
    wake: Event,
    timer: Event,
    owed: Event,
    /// Closed after the event that watches it.
    pair: WakePair,
}

impl LibeventServices {
    /// Services in a loop, which the host runs, before or after.
    ///
    /// # Safety
    /// `event_base` is null or a loop that is run on this thread, and is not freed before these services
    /// are gone or [detached](crate::LoopCore::detach): libevent tells nobody of that.
    ///
    /// # Errors
    /// [`Misuse::NullLoop`](crate::Misuse::NullLoop); [`Error::Io`](crate::Error::Io) if the operating
    /// system has no descriptor or memory left.
    pub unsafe fn attach(event_base: *mut event_base) -> Result<Services> {
        c_loop::not_null(event_base)?;
        let pair = WakePair::new()?;
        let services = Foreign::new(pair.waker());
        let data = c_loop::data(&services);
        // SAFETY: the caller promises the loop; the services stay in the `Rc` until the events go.
        let event = |fd, events, call| unsafe { Event::new(event_base, fd, events, call, data) };
        let wake = event(pair.fd().as_raw_fd(), EV_READ | EV_PERSIST, on_wake)?;
        wake.add_as(false)?;
        let (timer, owed) = (event(-1, 0, on_turn)?, event(-1, 0, on_turn)?);
        Ok(services.enter(Self { event_base, wake, timer, owed, pair }))
    }
}

impl Host for LibeventServices {
    /// One for reading, one for writing.
    type Fd = (Event, Event);

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Self::Fd> {
        let (fd, data) = (watched.open_fd()?, c_loop::data(watched));
        // SAFETY: the loop is there until they have left, and the data until the event goes.
        let event = |events| unsafe { Event::new(self.event_base, fd, events, on_ready, data) };
        let fd = (event(EV_READ | EV_PERSIST)?, event(EV_WRITE | EV_PERSIST)?);
        self.change(&fd, watched)?;
        Ok(fd)
    }

    fn change(&self, (read, write): &Self::Fd, watched: &Watched<Self>) -> io::Result<()> {
        for (event, of) in [(read, Ready::READ), (write, Ready::WRITE)] {
            if watched.interest().contains(of) {
                event.add(None)?;
            } else {
                event.del();
            }
        }
        Ok(())
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return self.timer.del() };
        let left = deadline.saturating_duration_since(Instant::now());
        // SAFETY: the loop is there until they have left. It counts from the time that it knows.
        unsafe { event_base_update_cache_time(self.event_base) };
        let set = self.timer.add(Some(left));
        set.unwrap_or_else(|error| log::error!("libevent takes no timer: {error}"));
    }

    fn defer(&self) {
        // It is called in the iteration under way, or in the next, before that waits.
        self.owed.activate();
    }

    fn keep_alive(&self, needed: bool) {
        let added = self.wake.add_as(needed);
        added.unwrap_or_else(|error| log::error!("libevent watches no more: {error}"));
    }
}

extern "C" fn on_turn(_: c_int, _: c_short, services: *mut c_void) {
    // SAFETY: the services free these events before they go.
    unsafe { c_loop::turn::<LibeventServices>(services.cast()) }
}

/// The turn counts as an event of the loop's, which the wake may not.
extern "C" fn on_wake(_: c_int, _: c_short, services: *mut c_void) {
    let wake = |services: &Foreign<LibeventServices>| {
        services.host(|host| host.pair.drain());
        IoServices::defer(services);
    };
    // SAFETY: see above.
    unsafe { c_loop::enter(services.cast(), wake) }
}

extern "C" fn on_ready(_: c_int, events: c_short, watched: *mut c_void) {
    let ready = |_: &_, _: &_| c_loop::conditions(events, EV_READ, EV_WRITE);
    // SAFETY: the event is freed before its data goes.
    unsafe { c_loop::ready::<LibeventServices>(watched.cast(), ready) }
}
