//! Tasks in a GLib main context, as the bindings of GLib have them: a source for each, ready once its
//! task has been woken.
#![allow(unsafe_code, reason = "GLib is C")]

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use haypile::native::GMainContext;

use super::Task;
use super::glib::{
    SOURCE, Source, SourceFunc, SourceFuncs, g_source_attach, g_source_new, g_source_set_callback,
    g_source_unref,
};

static FUNCTIONS: SourceFuncs =
    SourceFuncs { prepare: None, check: None, dispatch, finalize: None, of_glib: [None; 2] };

const NEVER: i64 = -1;
const NOW: i64 = 0;

#[link(name = "glib-2.0")]
unsafe extern "C" {
    fn g_source_set_ready_time(source: Source, at: i64);
}

struct Spawned {
    task: Task,
    waker: Waker,
}

/// Runs a task in a context, which owns it.
///
/// # Safety
/// The context is there, and is iterated on this thread, where it goes too.
pub unsafe fn spawn(context: *mut GMainContext, task: Task) {
    // SAFETY: GLib copies neither, and there is room for its own.
    let source = unsafe { g_source_new(&FUNCTIONS, SOURCE) };
    let waker = Waker::from(Arc::new(OfSource(source)));
    let spawned = Box::into_raw(Box::new(Spawned { task, waker })).cast();
    // SAFETY: the source is there as long as the waker; what it calls is left to it.
    unsafe {
        g_source_set_callback(source, poll, spawned, Some(end));
        g_source_set_ready_time(source, NOW);
        g_source_attach(source, context);
    }
}

/// The reference of the waker.
struct OfSource(Source);

// SAFETY: a source's references and its time are for any thread.
unsafe impl Send for OfSource {}
// SAFETY: see above.
unsafe impl Sync for OfSource {}

impl Wake for OfSource {
    fn wake(self: Arc<Self>) {
        // SAFETY: it is there, perhaps without its context.
        unsafe { g_source_set_ready_time(self.0, NOW) };
    }
}

impl Drop for OfSource {
    fn drop(&mut self) {
        // SAFETY: the reference is its own.
        unsafe { g_source_unref(self.0) };
    }
}

extern "C" fn dispatch(source: Source, poll: SourceFunc, spawned: *mut c_void) -> c_int {
    // Before it is polled: it may wake itself.
    // SAFETY: it is being called.
    unsafe { g_source_set_ready_time(source, NEVER) };
    poll(spawned)
}

/// Whether it is to be polled again.
extern "C" fn poll(spawned: *mut c_void) -> c_int {
    // SAFETY: set by `spawn`; a source is not called inside of its own call.
    let Spawned { task, waker } = unsafe { &mut *spawned.cast() };
    let polled = catch_unwind(AssertUnwindSafe(|| {
        task.as_mut().poll(&mut Context::from_waker(waker)).is_pending()
    }));
    polled.unwrap_or(false).into()
}

/// The source goes: the task has ended, or its context has.
extern "C" fn end(spawned: *mut c_void) {
    // SAFETY: made by `spawn`, and not used any more.
    drop(unsafe { Box::from_raw(spawned.cast::<Spawned>()) });
}
