//! libev 4, as it is configured unless somebody changes that. Its watchers are structs whose layout
//! is a part of its interface.

#![allow(non_camel_case_types, reason = "the names are C's")]

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use super::native::ev_loop;

pub type ev_cb = extern "C" fn(*mut ev_loop, *mut ev_watcher, c_int);

/// What every watcher begins with, and what is more in one of its kind.
#[repr(C)]
pub struct Watcher<Kind = ()> {
    active: c_int,
    pending: c_int,
    priority: c_int,
    pub data: *mut c_void,
    cb: ev_cb,
    pub more: Kind,
}

pub type ev_watcher = Watcher;
pub type ev_cleanup = Watcher;
pub type ev_async = Watcher<c_int>;
pub type ev_io = Watcher<Io>;
pub type ev_timer = Watcher<Timer>;

#[repr(C)]
pub struct Io {
    pub next: *mut c_void,
    pub fd: c_int,
    pub events: c_int,
}

#[repr(C)]
#[derive(Default)]
pub struct Timer {
    at: f64,
    pub repeat: f64,
}

impl<Kind> Watcher<Kind> {
    /// One that is not started, and stays where libev finds it.
    pub fn new(cb: ev_cb, data: *mut c_void, more: Kind) -> Rc<UnsafeCell<Self>> {
        Rc::new(UnsafeCell::new(Self { active: 0, pending: 0, priority: 0, data, cb, more }))
    }
}

pub const EV_READ: c_int = 0x01;
pub const EV_WRITE: c_int = 0x02;
/// Has libev not rely on what it knows of the descriptor, as `ev_io_set` does.
pub const EV__IOFDSET: c_int = 0x80;
pub const EV_ASYNC: c_int = 0x0008_0000;
pub const EV_ERROR: c_int = c_int::MIN;

#[link(name = "ev")]
unsafe extern "C" {
    pub fn ev_async_send(ev: *mut ev_loop, watcher: *mut ev_async);
    pub fn ev_async_start(ev: *mut ev_loop, watcher: *mut ev_async);
    pub fn ev_async_stop(ev: *mut ev_loop, watcher: *mut ev_async);
    pub fn ev_cleanup_start(ev: *mut ev_loop, watcher: *mut ev_cleanup);
    pub fn ev_cleanup_stop(ev: *mut ev_loop, watcher: *mut ev_cleanup);
    pub fn ev_feed_event(ev: *mut ev_loop, watcher: *mut c_void, events: c_int);
    pub fn ev_io_start(ev: *mut ev_loop, watcher: *mut ev_io);
    pub fn ev_io_stop(ev: *mut ev_loop, watcher: *mut ev_io);
    pub fn ev_now_update(ev: *mut ev_loop);
    pub fn ev_ref(ev: *mut ev_loop);
    pub fn ev_timer_again(ev: *mut ev_loop, watcher: *mut ev_timer);
    pub fn ev_timer_stop(ev: *mut ev_loop, watcher: *mut ev_timer);
    pub fn ev_unref(ev: *mut ev_loop);
}
