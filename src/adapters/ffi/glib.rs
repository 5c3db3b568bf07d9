//! GLib, of version 2.36 or later.

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, Ordering};

use super::native::GMainContext;

super::opaque! {
    pub struct GSource;
}

/// A source of ours: a `GSource` has thirteen members, none larger than a pointer.
#[repr(C)]
pub struct Source {
    source: [*mut c_void; 13],
    pub wanted: Wanted,
}

/// What GLib asks a source of ours with each poll. It could be told when the source is ready instead,
/// and would end the poll that follows at once.
pub struct Wanted {
    /// When it is to be called, in GLib's microseconds.
    pub at: Cell<i64>,
    /// It is to be called now. For any thread.
    pub owed: AtomicBool,
    /// It is not to be called.
    pub is_hushed: Cell<bool>,
}

pub const NEVER: i64 = i64::MAX;

impl Wanted {
    /// How many milliseconds a poll may take, `None` for ever.
    fn timeout(&self) -> Option<c_int> {
        if self.is_hushed.get() {
            return None;
        }
        match self.at.get() {
            _ if self.owed.load(Ordering::SeqCst) => Some(0),
            NEVER => None,
            at => {
                let left = at.saturating_sub(g_get_monotonic_time()).max(0) as u64;
                Some(left.div_ceil(1000).try_into().unwrap_or(c_int::MAX))
            }
        }
    }
}

/// A source of ours, with one reference.
pub fn new_source(functions: &'static GSourceFuncs) -> *mut GSource {
    // SAFETY: GLib copies neither.
    let source = unsafe { g_source_new(functions, size_of::<Source>() as c_uint) };
    let (at, owed, is_hushed) = (Cell::new(NEVER), AtomicBool::new(false), Cell::new(false));
    // SAFETY: there is room for it.
    unsafe { wanted(source).write(Wanted { at, owed, is_hushed }) };
    source
}

/// What a source of ours wants. It is there as long as the source.
pub fn wanted(source: *mut GSource) -> *mut Wanted {
    source.cast::<u8>().wrapping_add(offset_of!(Source, wanted)).cast()
}

extern "C" fn prepare(source: *mut GSource, timeout: *mut c_int) -> c_int {
    // SAFETY: the source is there, and so is what GLib wants filled in.
    let left = unsafe { (*wanted(source)).timeout() };
    // SAFETY: see above.
    unsafe { *timeout = left.unwrap_or(-1) };
    (left == Some(0)).into()
}

extern "C" fn check(source: *mut GSource) -> c_int {
    // SAFETY: see above.
    (unsafe { (*wanted(source)).timeout() } == Some(0)).into()
}

pub type GSourceFunc = extern "C" fn(*mut c_void) -> c_int;
pub type GDestroyNotify = extern "C" fn(*mut c_void);

pub type Prepare = extern "C" fn(*mut GSource, *mut c_int) -> c_int;
pub type Check = extern "C" fn(*mut GSource) -> c_int;
pub type Dispatch = extern "C" fn(*mut GSource, Option<GSourceFunc>, *mut c_void) -> c_int;

#[repr(C)]
pub struct GSourceFuncs {
    prepare: Option<Prepare>,
    check: Option<Check>,
    pub dispatch: Dispatch,
    finalize: Option<extern "C" fn(*mut GSource)>,
    closure_callback: Option<GSourceFunc>,
    closure_marshal: Option<extern "C" fn()>,
}

impl GSourceFuncs {
    /// Of a source of ours: ready when one of its descriptors is, or when it is wanted.
    pub const fn new(dispatch: Dispatch) -> Self {
        Self {
            prepare: Some(prepare),
            check: Some(check),
            dispatch,
            finalize: None,
            closure_callback: None,
            closure_marshal: None,
        }
    }
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
