//! GLib, of version 2.36 or later.

use std::ffi::{c_int, c_uint, c_void};

use super::native::GMainContext;

super::opaque! {
    pub struct GSource;
}

/// Thirteen members, none larger than a pointer.
pub const GSOURCE_SIZE: usize = 13 * size_of::<usize>();

pub type GSourceFunc = extern "C" fn(*mut c_void) -> c_int;
pub type GDestroyNotify = extern "C" fn(*mut c_void);
pub type Dispatch = extern "C" fn(*mut GSource, Option<GSourceFunc>, *mut c_void) -> c_int;

/// To prepare, check, dispatch and finalize a source, and two for GLib itself.
pub type GSourceFuncs = [Option<Dispatch>; 6];

pub const G_SOURCE_CONTINUE: c_int = 1;

// GIOCondition
pub const G_IO_IN: c_uint = 1;
pub const G_IO_OUT: c_uint = 4;
pub const G_IO_ERR: c_uint = 8;
pub const G_IO_HUP: c_uint = 16;
pub const G_IO_NVAL: c_uint = 32;

#[link(name = "glib-2.0")]
unsafe extern "C" {
    pub safe fn g_get_monotonic_time() -> i64;
    pub fn g_source_add_unix_fd(source: *mut GSource, fd: c_int, events: c_uint) -> *mut c_void;
    pub fn g_source_attach(source: *mut GSource, context: *mut GMainContext) -> c_uint;
    pub fn g_source_destroy(source: *mut GSource);
    pub fn g_source_new(functions: *const GSourceFuncs, size: c_uint) -> *mut GSource;
    pub fn g_source_query_unix_fd(source: *mut GSource, tag: *mut c_void) -> c_uint;
    pub fn g_source_remove_unix_fd(source: *mut GSource, tag: *mut c_void);
    pub fn g_source_set_callback(
        source: *mut GSource,
        function: Option<GSourceFunc>,
        data: *mut c_void,
        notify: GDestroyNotify,
    );
    pub fn g_source_set_can_recurse(source: *mut GSource, can_recurse: c_int);
    pub fn g_source_set_ready_time(source: *mut GSource, at: i64);
    pub fn g_source_unref(source: *mut GSource);
}
