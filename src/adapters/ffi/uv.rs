//! libuv, of version 1.19 or later. Its handles are allocated by the size that it tells.

#![allow(non_camel_case_types, reason = "the names are C's")]

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::mem;
use std::rc::Rc;

use super::native::uv_loop_t;
use crate::adapters::c_loop;

super::opaque! {
    pub struct uv_handle_t;
}

pub type uv_handle_cb = extern "C" fn(*mut uv_handle_t);
pub type uv_poll_cb = extern "C" fn(*mut uv_handle_t, c_int, c_int);

// uv_handle_type
pub const UV_ASYNC: c_uint = 1;
pub const UV_IDLE: c_uint = 6;
pub const UV_POLL: c_uint = 8;
pub const UV_TIMER: c_uint = 13;

// uv_poll_event
pub const UV_READABLE: c_int = 1;
pub const UV_WRITABLE: c_int = 2;

#[link(name = "uv")]
unsafe extern "C" {
    pub fn uv_async_init(uv: *mut uv_loop_t, handle: *mut uv_handle_t, cb: uv_handle_cb) -> c_int;
    pub fn uv_async_send(handle: *mut uv_handle_t) -> c_int;
    pub fn uv_close(handle: *mut uv_handle_t, cb: uv_handle_cb);
    pub fn uv_handle_get_data(handle: *const uv_handle_t) -> *mut c_void;
    pub fn uv_handle_get_type(handle: *const uv_handle_t) -> c_uint;
    pub fn uv_handle_set_data(handle: *mut uv_handle_t, data: *mut c_void);
    pub safe fn uv_handle_size(kind: c_uint) -> usize;
    pub fn uv_idle_init(uv: *mut uv_loop_t, handle: *mut uv_handle_t) -> c_int;
    pub fn uv_idle_start(handle: *mut uv_handle_t, cb: uv_handle_cb) -> c_int;
    pub fn uv_idle_stop(handle: *mut uv_handle_t) -> c_int;
    pub fn uv_is_closing(handle: *const uv_handle_t) -> c_int;
    pub fn uv_poll_init(uv: *mut uv_loop_t, handle: *mut uv_handle_t, fd: c_int) -> c_int;
    pub fn uv_poll_start(handle: *mut uv_handle_t, events: c_int, cb: uv_poll_cb) -> c_int;
    pub fn uv_ref(handle: *mut uv_handle_t);
    pub fn uv_timer_init(uv: *mut uv_loop_t, handle: *mut uv_handle_t) -> c_int;
    pub fn uv_timer_start(
        handle: *mut uv_handle_t,
        cb: uv_handle_cb,
        timeout: u64,
        repeat: u64,
    ) -> c_int;
    pub fn uv_timer_stop(handle: *mut uv_handle_t) -> c_int;
    pub fn uv_unref(handle: *mut uv_handle_t);
    pub fn uv_update_time(uv: *mut uv_loop_t);
}

/// A handle in the loop. Dropped, it is closed; its memory goes when libuv says so.
pub struct Handle(pub *mut uv_handle_t);

impl Handle {
    pub fn new(kind: c_uint, init: impl FnOnce(*mut uv_handle_t) -> c_int) -> io::Result<Self> {
        let mut memory = vec![0_u128; units(kind)];
        let handle = memory.as_mut_ptr().cast();
        checked(init(handle))?;
        mem::forget(memory); // it is the loop's
        Ok(Self(handle))
    }

    /// What its callbacks are given.
    pub fn set_data<T>(&self, of: &Rc<T>) {
        // SAFETY: its memory is there until it is dropped, here and below.
        unsafe { uv_handle_set_data(self.0, c_loop::data(of)) }
    }

    pub fn is_closing(&self) -> bool {
        // SAFETY: see above.
        unsafe { uv_is_closing(self.0) != 0 }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // One that the host has closed, as it can by `uv_walk`, leaks: nobody tells when it is done.
        if !self.is_closing() {
            // SAFETY: initialised, and not closed.
            unsafe { uv_close(self.0, on_closed) };
        }
    }
}

/// The size of a handle, in units that align it for whatever is in it.
fn units(kind: c_uint) -> usize {
    uv_handle_size(kind).div_ceil(size_of::<u128>())
}

extern "C" fn on_closed(handle: *mut uv_handle_t) {
    // SAFETY: made by `new`, and libuv is done with it.
    drop(unsafe {
        Vec::<u128>::from_raw_parts(handle.cast(), 0, units(uv_handle_get_type(handle)))
    });
}

/// The error, if it is one, of a call that gives such.
pub fn checked(status: c_int) -> io::Result<()> {
    if status < 0 { Err(io::Error::from_raw_os_error(-status)) } else { Ok(()) }
}
