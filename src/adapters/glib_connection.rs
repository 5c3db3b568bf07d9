//! A connection in a GLib main context.
#![allow(unsafe_code, reason = "GLib is C")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::io::fcntl_getfd;

use super::c_loop::{self, connection_on_raw_loop};
use super::ffi::glib::*;
use super::ffi::native::GMainContext;
use super::foreign::{Foreign, Held, Host};
use crate::error::Result;
use crate::io_services::{Interest, IoServices, Ready, Services};

foreign_connection! {
    /// A connection driven by GLib, and so by whatever runs its main loop, such as GTK.
    ///
    /// Dropping it closes nothing: the main context owns the connection until that has ended.
    pub struct GlibConnection;
}

connection_on_raw_loop!(GlibConnection, GlibServices, main_context: GMainContext);

/// [`IoServices`] over a GLib main context: one `GSource`, of default priority, that polls all the
/// descriptors.
///
/// They live as long as somebody holds them or a connection runs on them, or until the context goes
/// or they are [detached](crate::LoopCore::detach). In a main loop that is run inside one of their
/// callbacks they are silent, as GLib's sources are unless they ask for it. Timers have a resolution
/// of a millisecond, and are never early.
pub struct GlibServices {
    main_context: *mut GMainContext,
    source: *mut GSource,
    /// A handler or a turn is being called.
    is_calling: Cell<bool>,
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
        let source = new_source(&FUNCTIONS);
        let wake = move || {
            // SAFETY: the services leave before they let go of the source, or of the context.
            unsafe {
                (*wanted(source)).owed.store(true, Ordering::SeqCst);
                g_main_context_wakeup(main_context);
            }
        };
        // SAFETY: an atomic, and g_main_context_wakeup, are for any thread.
        let waker = unsafe { c_loop::waker(wake) };
        let services =
            Foreign::new(waker, |_| Self { main_context, source, is_calling: Cell::new(false) });
        let data = Rc::downgrade(&services).into_raw().cast_mut().cast();
        // SAFETY: the caller promises the context; the services destroy the source before they go.
        unsafe {
            g_source_set_callback(source, None, data, on_destroyed);
            g_source_set_can_recurse(source, 1); // else each call takes it out, and puts it back
            g_source_attach(source, main_context);
        }
        Ok(services.into_services())
    }

    fn wanted(&self) -> &Wanted {
        // SAFETY: the source is there until they have left, and this is shared.
        unsafe { &*wanted(self.source) }
    }
}

impl Foreign<GlibServices> {
    fn dispatch(&self) {
        if self.is_calling.replace(true) {
            return self.hush(true);
        }
        // Whatever unwinds, it is called again.
        drop(self.core.call_user(|| self.call_all()));
        self.is_calling.set(false);
        if self.wanted().is_hushed.get() {
            self.hush(false);
        }
    }

    fn call_all(&self) {
        for key in 0..self.keys() {
            let found = self.look(key, |fd, handler| (fd.ready(self.source), handler.clone()));
            if let Some((ready, handler)) = found.filter(|(ready, _)| !ready.is_empty()) {
                drop(self.core.call_user(move || handler.0.on_ready(ready)));
            }
        }
        self.wanted().owed.store(false, Ordering::SeqCst);
        self.turn();
    }

    fn hush(&self, hushed: bool) {
        self.wanted().is_hushed.set(hushed);
        for key in 0..self.keys() {
            self.look(key, |fd, _| fd.update(self, hushed));
        }
        if !hushed {
            IoServices::defer(self);
        }
    }
}

impl Host for GlibServices {
    type Fd = Fd;

    fn watch(&self, _: usize, interest: Interest, handler: Held) -> io::Result<Fd> {
        fcntl_getfd(&handler)?; // GLib does not tell of a descriptor that is closed
        let (fd, tag) = (handler.as_raw_fd(), Cell::new(ptr::null_mut()));
        let fd = Fd { fd, interest: Cell::default(), tag };
        self.change(&fd, interest).map(|()| fd)
    }

    fn change(&self, fd: &Fd, interest: Interest) -> io::Result<()> {
        fd.interest.set(interest);
        fd.update(self, self.wanted().is_hushed.get());
        Ok(())
    }

    fn unwatch(&self, fd: Fd) {
        fd.update(self, true);
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        // Rounded up, unless it has passed: the next poll would take a millisecond.
        let at = |at: Instant| match at.saturating_duration_since(Instant::now()).as_nanos() {
            0 => 0,
            nanos => g_get_monotonic_time() + (nanos / 1_000) as i64 + 2,
        };
        self.wanted().at.set(deadline.map_or(NEVER, at));
    }

    fn defer(&self) {
        self.wanted().owed.store(true, Ordering::SeqCst);
    }

    fn leave(&self) {
        // SAFETY: it is ours. GLib knows whether it has been destroyed already.
        unsafe {
            g_source_destroy(self.source);
            g_source_unref(self.source);
        }
    }
}

static FUNCTIONS: GSourceFuncs = GSourceFuncs::new(dispatch);

extern "C" fn dispatch(_: *mut GSource, _: Option<GSourceFunc>, services: *mut c_void) -> c_int {
    // SAFETY: the services destroy the source before they go, here and below.
    unsafe { c_loop::enter::<GlibServices>(services.cast(), Foreign::dispatch) }
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
    fd: RawFd,
    interest: Cell<Interest>,
    /// GLib's name for it. Null while it is not polled.
    tag: Cell<*mut c_void>,
}

impl Fd {
    /// What the last poll has found.
    fn ready(&self, source: *mut GSource) -> Ready {
        let (tag, interest) = (self.tag.get(), self.interest.get());
        if tag.is_null() {
            return Ready::NONE;
        }
        // SAFETY: the source is there until they have left, and a tag until it is removed.
        let found = unsafe { g_source_query_unix_fd(source, tag) };
        if found & (G_IO_ERR | G_IO_HUP | G_IO_NVAL) != 0 {
            return interest | Ready::ERROR;
        }
        c_loop::conditions(found, G_IO_IN, G_IO_OUT) & interest
    }

    /// Has the source poll it for what is of interest, unless it is hushed.
    fn update(&self, services: &GlibServices, hushed: bool) {
        let interest = if hushed { Interest::NONE } else { self.interest.get() };
        let events = c_loop::flags(interest, G_IO_IN, G_IO_OUT);
        let (source, tag) = (services.source, self.tag.get());
        // SAFETY: see above. What is polled for nothing would tell of a hang-up all the same.
        unsafe {
            match (tag.is_null(), events) {
                (true, 0) => {}
                (true, _) => self.tag.set(g_source_add_unix_fd(source, self.fd, events)),
                (false, 0) => g_source_remove_unix_fd(source, self.tag.replace(ptr::null_mut())),
                (false, _) => g_source_modify_unix_fd(source, tag, events),
            }
        }
    }
}
