//! GLib, of version 2.36 or later.

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::atomic::AtomicBool;

use super::native::GMainContext;

/// A source of ours, which GLib has room made for: none is looked at whole.
#[repr(C)]
pub struct GSource {
    /// Thirteen members, none larger than a pointer.
    glib: [*mut c_void; 13],
    /// When it is to be called, in GLib's microseconds.
    pub at: Cell<u64>,
    /// It is to be called now. For any thread.
    pub owed: AtomicBool,
}

pub type GSourceFunc = extern "C" fn(*mut c_void) -> c_int;
pub type GDestroyNotify = extern "C" fn(*mut c_void);

#[repr(C)]
pub struct GSourceFuncs {
    pub prepare: extern "C" fn(*mut GSource, *mut c_int) -> c_int,
    pub check: extern "C" fn(*mut GSource) -> c_int,
    pub dispatch: extern "C" fn(*mut GSource, Option<GSourceFunc>, *mut c_void) -> c_int,
    /// To finalize a source, and two of GLib's own.
    pub others: [Option<GSourceFunc>; 3],
}

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
    pub fn g_main_context_wakeup(context: *mut GMainContext);
    pub fn g_source_add_unix_fd(source: *mut GSource, fd: c_int, events: c_uint) -> *mut c_void;
    pub fn g_source_attach(source: *mut GSource, context: *mut GMainContext) -> c_uint;
    pub fn g_source_destroy(source: *mut GSource);
    pub fn g_source_modify_unix_fd(source: *mut GSource, tag: *mut c_void, events: c_uint);
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
    pub fn g_source_unref(source: *mut GSource);
}
