//! libevent, of version 2.1 or later.

#![allow(non_camel_case_types, reason = "the names are C's")]

use std::ffi::{c_int, c_long, c_short, c_void};
use std::io;
use std::ptr;
use std::time::Duration;

use super::native::event_base;

/// What an event begins with.
#[repr(C)]
pub struct event {
    next_active: *mut event,
    previous_active: *mut *mut event,
    pub flags: c_short,
}

#[repr(C)]
pub struct timeval {
    pub tv_sec: c_long,
    pub tv_usec: c_long,
}

pub type event_callback_fn = extern "C" fn(c_int, c_short, *mut c_void);

pub const EV_TIMEOUT: c_short = 0x01;
pub const EV_READ: c_short = 0x02;
pub const EV_WRITE: c_short = 0x04;
pub const EV_PERSIST: c_short = 0x10;

// Flags of an event.
pub const EVLIST_INTERNAL: c_short = 0x10;
pub const EVLIST_INIT: c_short = 0x80;

// The core alone, which programs linked to all of libevent have too.
#[link(name = "event_core")]
unsafe extern "C" {
    pub fn event_active(event: *mut event, events: c_int, times: c_short);
    pub fn event_add(event: *mut event, timeout: *const timeval) -> c_int;
    pub fn event_base_update_cache_time(base: *mut event_base) -> c_int;
    pub fn event_del(event: *mut event) -> c_int;
    pub fn event_free(event: *mut event);
    pub fn event_new(
        base: *mut event_base,
        fd: c_int,
        events: c_short,
        callback: event_callback_fn,
        data: *mut c_void,
    ) -> *mut event;
}

/// The furthest that a timer is set: it fires, and may be set again.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An event in a loop. Dropped, it is removed and freed.
pub struct Event(*mut event);

impl Event {
    /// An event that is not added.
    ///
    /// # Safety
    /// The loop and the data are there until it is dropped.
    pub unsafe fn new(
        base: *mut event_base,
        fd: c_int,
        events: c_short,
        callback: event_callback_fn,
        data: *mut c_void,
    ) -> io::Result<Self> {
        // SAFETY: the caller's promise.
        let event = unsafe { event_new(base, fd, events, callback, data) };
        if event.is_null() { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(Self(event)) }
    }

    /// Has the loop call it, by the latest after that time. It replaces what was said before.
    pub fn add(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| {
            let timeout = timeout.min(FAR) + Duration::from_nanos(999);
            timeval {
                tv_sec: timeout.as_secs() as c_long,
                tv_usec: timeout.subsec_micros() as c_long,
            }
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: an event of a loop that is there, here and below.
        match unsafe { event_add(self.0, timeout) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Has the loop call it, and run on for it if it is `needed`. What is not counts as one of libevent's
    /// own, which it has no function for: in one that looks otherwise than expected nothing is changed.
    pub fn add_as(&self, needed: bool) -> io::Result<()> {
        self.del();
        // SAFETY: an event of any version is larger than its beginning.
        unsafe {
            if (*self.0).flags & !EVLIST_INTERNAL == EVLIST_INIT {
                (*self.0).flags = if needed { EVLIST_INIT } else { EVLIST_INIT | EVLIST_INTERNAL };
            }
        }
        self.add(None)
    }

    /// Has the loop call it as if its time had come.
    pub fn activate(&self) {
        // SAFETY: see above.
        unsafe { event_active(self.0, EV_TIMEOUT.into(), 0) };
    }

    pub fn del(&self) {
        // SAFETY: see above.
        unsafe { event_del(self.0) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed once.
        unsafe { event_free(self.0) };
    }
}
