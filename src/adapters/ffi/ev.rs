//! libev 4, as it is configured unless somebody changes that. Its watchers are structs whose layout
//! is a part of its interface.

#![allow(non_camel_case_types, reason = "the names are C's")]

use std::ffi::{c_int, c_void};
use std::ptr;

use super::native::ev_loop;

pub type ev_cb = extern "C" fn(*mut ev_loop, *mut ev_watcher, c_int);

/// What every watcher begins with.
#[repr(C)]
pub struct ev_watcher {
    active: c_int,
    pending: c_int,
    priority: c_int,
    pub data: *mut c_void,
    cb: ev_cb,
}

#[repr(C)]
pub struct ev_async {
    pub watcher: ev_watcher,
    sent: c_int,
}

#[repr(C)]
pub struct ev_io {
    pub watcher: ev_watcher,
    next: *mut c_void,
    fd: c_int,
    pub events: c_int,
}

#[repr(C)]
pub struct ev_timer {
    pub watcher: ev_watcher,
    at: f64,
    pub repeat: f64,
}

impl ev_watcher {
    pub fn new(cb: ev_cb) -> Self {
        Self { active: 0, pending: 0, priority: 0, data: ptr::null_mut(), cb }
    }
}

impl ev_async {
    pub fn new(cb: ev_cb) -> Self {
        Self { watcher: ev_watcher::new(cb), sent: 0 }
    }
}

impl ev_io {
    pub const EV__IOFDSET: c_int = 0x80;

    pub fn new(cb: ev_cb, fd: c_int) -> Self {
        Self { watcher: ev_watcher::new(cb), next: ptr::null_mut(), fd, events: 0 }
    }

    /// Also has libev not rely on what it knows of the descriptor, as `ev_io_set` does.
    pub fn set_events(&mut self, events: c_int) {
        self.events = events | Self::EV__IOFDSET;
    }
}

impl ev_timer {
    pub fn new(cb: ev_cb) -> Self {
        Self { watcher: ev_watcher::new(cb), at: 0.0, repeat: 0.0 }
    }
}

pub const EV_READ: c_int = 0x01;
pub const EV_WRITE: c_int = 0x02;
pub const EV_ASYNC: c_int = 0x0008_0000;
pub const EV_ERROR: c_int = c_int::MIN;

#[link(name = "ev")]
unsafe extern "C" {
    pub fn ev_async_send(ev: *mut ev_loop, watcher: *mut ev_async);
    pub fn ev_async_start(ev: *mut ev_loop, watcher: *mut ev_async);
    pub fn ev_async_stop(ev: *mut ev_loop, watcher: *mut ev_async);
    pub fn ev_cleanup_start(ev: *mut ev_loop, watcher: *mut ev_watcher);
    pub fn ev_cleanup_stop(ev: *mut ev_loop, watcher: *mut ev_watcher);
    pub fn ev_feed_event(ev: *mut ev_loop, watcher: *mut c_void, events: c_int);
    pub fn ev_io_start(ev: *mut ev_loop, watcher: *mut ev_io);
    pub fn ev_io_stop(ev: *mut ev_loop, watcher: *mut ev_io);
    pub fn ev_now_update(ev: *mut ev_loop);
    pub fn ev_ref(ev: *mut ev_loop);
    pub fn ev_timer_again(ev: *mut ev_loop, watcher: *mut ev_timer);
    pub fn ev_timer_stop(ev: *mut ev_loop, watcher: *mut ev_timer);
    pub fn ev_unref(ev: *mut ev_loop);
}
