//! A connection in a GLib main context.
#![allow(unsafe_code, reason = "GLib is C")]

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::c_loop::{self, connection_on_raw_loop};
use super::ffi::glib::*;
use super::ffi::native::GMainContext;
use super::foreign::{Foreign, Host, Watched};
use crate::error::Result;
use crate::io_services::{Ready, Services};

foreign_connection! {
    /// A connection driven by GLib, and so by whatever runs its main loop, such as GTK.
    ///
    /// Dropping it closes nothing: the main context owns the connection until that has ended.
    pub struct GlibConnection;
}

connection_on_raw_loop!(GlibConnection, GlibServices, main_context: GMainContext);

/// [`IoServices`](crate::IoServices) over a GLib main context: one `GSource`, of default priority, that
/// polls all the descriptors.
///
/// They live as long as somebody holds them or a connection runs on them, or until the context goes
/// or they are [detached](crate::LoopCore::detach). In a main loop that is run inside one of their
/// callbacks they are silent, as GLib's sources are unless they ask for it. Timers have a resolution
/// of a millisecond, and are never early.
pub struct GlibServices {
    main_context: *mut GMainContext,
    source: *mut GSource,
    /// The source is to be called now, whatever its timer is set to.
    owed: Arc<AtomicBool>,
}

impl GlibServices {
    /// Services in a main context, or in the default one if `main_context` is null.
    ///
    /// # Safety
    /// `main_context` is null or a context, and whoever iterates it does that on this thread. Should
    /// it go before these services, that detaches them: until they are gone, its last reference is let
    /// go of on this thread too.
    ///
    /// # Errors
    /// None so far.
    pub unsafe fn attach(main_context: *mut GMainContext) -> Result<Services> {
        // SAFETY: GLib does not copy the functions.
        let source = unsafe { g_source_new(&FUNCTIONS, GSOURCE_SIZE as c_uint) };
        let owed = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&owed);
        // SAFETY: for any thread. The services leave before they let go of the source.
        let services = Foreign::new(unsafe { c_loop::waker(move || owe(source, &wanted)) });
        let data = Rc::downgrade(&services).into_raw().cast_mut().cast();
        // SAFETY: the caller promises the context; the services destroy the source before they go.
        unsafe {
            g_source_set_callback(source, None, data, on_destroyed);
            g_source_set_can_recurse(source, 1); // else each call takes it out, and puts it back
            g_source_attach(source, main_context);
        }
        Ok(services.enter(Self { main_context, source, owed }))
    }

    /// What is owed is served by what follows.
    fn take_owed(&self) {
        self.owed.store(false, Ordering::SeqCst);
    }
}

/// Has the source called now, from any thread.
fn owe(source: *mut GSource, owed: &AtomicBool) {
    owed.store(true, Ordering::SeqCst);
    // SAFETY: the source is there until they have left, here and below.
    unsafe { g_source_set_ready_time(source, 0) };
}

impl Host for GlibServices {
    type Fd = Fd;

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Fd> {
        let (source, tag) = (self.source, Cell::new(ptr::null_mut()));
        let fd = Fd { source, fd: watched.open_fd()?, tag };
        self.change(&fd, watched)?;
        Ok(fd)
    }

    fn change(&self, fd: &Fd, watched: &Watched<Self>) -> io::Result<()> {
        fd.unwatch();
        let interest = watched.interest();
        // What is polled for nothing would tell of a hang-up all the same.
        if !interest.is_empty() {
            let events = c_loop::flags(interest, G_IO_IN, G_IO_OUT);
            // SAFETY: see above.
            fd.tag.set(unsafe { g_source_add_unix_fd(self.source, fd.fd, events) });
        }
        Ok(())
    }

    fn unwatch(&self, fd: Fd) {
        fd.unwatch();
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        // Rounded up, unless it has passed: the next poll would take a millisecond.
        let at = |at: Instant| match at.saturating_duration_since(Instant::now()).as_micros() {
            0 => 0,
            micros => g_get_monotonic_time() + micros as i64 + 2,
        };
        // SAFETY: see above.
        unsafe { g_source_set_ready_time(self.source, deadline.map_or(-1, at)) };
        if self.owed.load(Ordering::SeqCst) {
            self.defer();
        }
    }

    fn defer(&self) {
        owe(self.source, &self.owed);
    }
}

impl Drop for GlibServices {
    fn drop(&mut self) {
        // SAFETY: it is ours. GLib knows whether it has been destroyed already.
        unsafe {
            g_source_destroy(self.source);
            g_source_unref(self.source);
        }
    }
}

static FUNCTIONS: GSourceFuncs = [None, None, Some(dispatch), None, None, None];

extern "C" fn dispatch(_: *mut GSource, _: Option<GSourceFunc>, services: *mut c_void) -> c_int {
    let call_all = |services: &Foreign<GlibServices>| {
        for key in 0..services.keys() {
            let ready = |fd: &Fd, watched: &_| Some((Rc::clone(watched), fd.ready(watched)?));
            if let Some((watched, ready)) = services.look(key, ready).flatten() {
                drop(services.core.call_user(|| watched.on_ready(ready)));
            }
        }
        services.host(GlibServices::take_owed);
        services.turn();
    };
    let dispatch = |services: &Foreign<GlibServices>| {
        services.host(GlibServices::take_owed);
        services.serve(call_all);
    };
    // SAFETY: the services destroy the source before they go.
    unsafe { c_loop::enter(services.cast(), dispatch) }
    G_SOURCE_CONTINUE
}

/// The source goes, perhaps with its context. Inside of its own call GLib tells it late: the services
/// may have gone.
extern "C" fn on_destroyed(services: *mut c_void) {
    // SAFETY: `attach` has left it to this one call.
    let services = unsafe { Weak::from_raw(services.cast::<Foreign<GlibServices>>()) };
    // SAFETY: they are there.
    services.upgrade().iter().for_each(|services| unsafe { c_loop::end(Rc::as_ptr(services)) });
}

/// A descriptor that is watched.
pub(super) struct Fd {
    source: *mut GSource,
    fd: RawFd,
    /// GLib's name for it. Null while it is not polled.
    tag: Cell<*mut c_void>,
}

impl Fd {
    /// What the last poll has found.
    fn ready(&self, watched: &Watched<GlibServices>) -> Option<Ready> {
        let (tag, interest) = (self.tag.get(), watched.interest());
        if tag.is_null() {
            return None;
        }
        // SAFETY: the source is there until they have left, and a tag until it is removed.
        let found = unsafe { g_source_query_unix_fd(self.source, tag) };
        if found & (G_IO_ERR | G_IO_HUP | G_IO_NVAL) != 0 {
            return Some(interest | Ready::ERROR);
        }
        let ready = c_loop::conditions(found, G_IO_IN, G_IO_OUT) & interest;
        Some(ready).filter(|ready| !ready.is_empty())
    }

    fn unwatch(&self) {
        let tag = self.tag.replace(ptr::null_mut());
        if !tag.is_null() {
            // SAFETY: see above.
            unsafe { g_source_remove_unix_fd(self.source, tag) };
        }
    }
}
