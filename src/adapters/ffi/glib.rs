//! GLib, of version 2.36 or later.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_uint, c_void};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::native::GMainContext;

/// A source of ours, which GLib has room made for.
#[repr(C)]
pub struct GSource {
    /// Thirteen members, none larger than a pointer.
    glib: UnsafeCell<[*mut c_void; 13]>,
    /// When it is to be called.
    pub at: Cell<Option<Instant>>,
    /// GLib has asked for that, and is about to wait for what it was told.
    pub is_asked: Cell<bool>,
    /// It is to be called now. For any thread.
    pub owed: AtomicBool,
}

pub type GSourceFunc = extern "C" fn(*mut c_void) -> c_int;

#[repr(C)]
pub struct GSourceFuncs {
    pub prepare: extern "C" fn(&GSource, &mut c_int) -> c_int,
    pub check: extern "C" fn(&GSource) -> c_int,
    pub dispatch: extern "C" fn(&GSource, Option<GSourceFunc>, *mut c_void) -> c_int,
    /// To finalize a source, and two of GLib's own.
    pub others: [Option<GSourceFunc>; 3],
}

pub const G_SOURCE_CONTINUE: c_int = 1;

// GIOCondition
pub const G_IO_IN: c_uint = 1;
pub const G_IO_OUT: c_uint = 4;
/// `G_IO_ERR`, `G_IO_HUP` or `G_IO_NVAL`.
pub const G_IO_FAILED: c_uint = 8 | 16 | 32;

#[allow(improper_ctypes, reason = "GLib looks at its own part of a source alone")]
#[link(name = "glib-2.0")]
unsafe extern "C" {
    pub fn g_main_context_wakeup(context: *mut GMainContext);
    pub fn g_source_add_unix_fd(source: *mut GSource, fd: c_int, events: c_uint) -> *mut c_void;
    pub fn g_source_attach(source: *mut GSource, context: *mut GMainContext) -> c_uint;
    pub fn g_source_destroy(source: *mut GSource);
    pub fn g_source_modify_unix_fd(source: *mut GSource, tag: *mut c_void, events: c_uint);
    pub fn g_source_new(functions: *const GSourceFuncs, size: c_uint) -> *mut GSource;
    pub fn g_source_query_unix_fd(source: &GSource, tag: *mut c_void) -> c_uint;
    pub fn g_source_remove_unix_fd(source: *mut GSource, tag: *mut c_void);
    pub fn g_source_set_callback(
        source: *mut GSource,
        function: Option<GSourceFunc>,
        data: *mut c_void,
        notify: extern "C" fn(*mut c_void),
    );
    pub fn g_source_set_can_recurse(source: *mut GSource, can_recurse: c_int);
    pub fn g_source_unref(source: *mut GSource);
}
