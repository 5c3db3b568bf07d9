//! A connection in a GLib main context.
#![allow(unsafe_code, reason = "GLib is C")]

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::c_loop::{self, connection_on_raw_loop};
use super::ffi::glib::*;
use super::ffi::native::GMainContext;
use super::foreign::{Foreign, Host, Watched};
use crate::error::Result;
use crate::io_services::{Interest, Ready, Services};

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
        // SAFETY: GLib keeps the address of the functions, and fills the source with zeros.
        let source = unsafe { g_source_new(&FUNCTIONS, size_of::<GSource>() as c_uint) };
        // SAFETY: both are for any thread. The services leave before they let go of the source.
        let waker = unsafe {
            c_loop::waker(move || {
                (*source).owed.store(true, Ordering::SeqCst);
                g_main_context_wakeup(main_context);
            })
        };
        let services = Foreign::new(waker);
        let data = Rc::downgrade(&services).into_raw().cast_mut().cast();
        // SAFETY: the caller promises the context; the services destroy the source before they go.
        unsafe {
            (*source).at.set(None);
            g_source_set_callback(source, None, data, on_destroyed);
            g_source_set_can_recurse(source, 1); // else each call takes it out, and puts it back
            g_source_attach(source, main_context);
        }
        Ok(services.enter(Self { main_context, source }))
    }

    /// Tells the source, and GLib, if that has asked it already and is about to wait: what another
    /// source's prepare adds, say, would wait for the end of the poll.
    fn tell(&self, tell: impl FnOnce(&GSource)) {
        // SAFETY: it is there until they have left.
        let source = unsafe { &*self.source };
        tell(source);
        if source.is_asked.take() {
            // SAFETY: so is the context.
            unsafe { g_main_context_wakeup(self.main_context) };
        }
    }
}

impl Host for GlibServices {
    /// GLib's name for it. Null while it is not polled.
    type Fd = Cell<*mut c_void>;

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Self::Fd> {
        watched.open_fd()?;
        let tag = Cell::new(ptr::null_mut());
        self.change(&tag, watched).map(|()| tag)
    }

    fn change(&self, tag: &Self::Fd, watched: &Watched<Self>) -> io::Result<()> {
        let fd = watched.as_raw_fd();
        let events = c_loop::flags(watched.interest(), G_IO_IN, G_IO_OUT);
        // SAFETY: the source is there until they have left, and a tag until it is removed, here and
        // below. What is polled for nothing would tell of a hang-up all the same.
        unsafe {
            match (tag.get().is_null(), events) {
                (true, 0) => {}
                (true, _) => tag.set(g_source_add_unix_fd(self.source, fd, events)),
                (false, 0) => g_source_remove_unix_fd(self.source, tag.replace(ptr::null_mut())),
                (false, _) => g_source_modify_unix_fd(self.source, tag.get(), events),
            }
        }
        Ok(())
    }

    fn unwatch(&self, tag: Self::Fd) {
        if !tag.get().is_null() {
            // SAFETY: see above.
            unsafe { g_source_remove_unix_fd(self.source, tag.get()) };
        }
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        self.tell(|source| source.at.set(deadline));
    }

    fn defer(&self) {
        self.tell(|source| source.owed.store(true, Ordering::SeqCst));
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

/// GLib asks with each poll. It could be told when the source is ready instead, and would end the poll
/// that follows at once.
static FUNCTIONS: GSourceFuncs = GSourceFuncs { prepare, check, dispatch, others: [None; 3] };

extern "C" fn prepare(source: &GSource, timeout: &mut c_int) -> c_int {
    let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_nanos();
    *timeout = match source.at.get() {
        _ if source.owed.load(Ordering::SeqCst) => 0,
        None => -1,
        // After the longest time that there is, it asks again.
        Some(at) => left(at).div_ceil(1_000_000).try_into().unwrap_or(c_int::MAX),
    };
    source.is_asked.set(*timeout != 0);
    (*timeout == 0).into()
}

extern "C" fn check(source: &GSource) -> c_int {
    let is_ready = prepare(source, &mut 0);
    source.is_asked.set(false);
    is_ready
}

extern "C" fn dispatch(source: &GSource, _: Option<GSourceFunc>, to: *mut c_void) -> c_int {
    // What is owed is served by what follows.
    let take_owed = || source.owed.store(false, Ordering::SeqCst);
    take_owed();
    let call_all = |services: &Foreign<GlibServices>| {
        for key in 0..services.keys() {
            let found = services.look(key, |tag, watched| {
                (Rc::clone(watched), ready(source, tag.get(), watched.interest()))
            });
            if let Some((watched, ready)) = found.filter(|(_, ready)| !ready.is_empty()) {
                drop(services.core.call_user(|| watched.on_ready(ready)));
            }
        }
        take_owed();
        services.turn();
    };
    // SAFETY: the services destroy the source before they go.
    unsafe { c_loop::enter(to.cast(), |services| services.serve(call_all)) }
    G_SOURCE_CONTINUE
}

/// What the last poll has found, if it is of interest.
fn ready(source: &GSource, tag: *mut c_void, interest: Interest) -> Ready {
    // SAFETY: a tag of this source.
    let found = if tag.is_null() { 0 } else { unsafe { g_source_query_unix_fd(source, tag) } };
    let told = c_loop::conditions(found, G_IO_IN, G_IO_OUT);
    let hung_up = found & G_IO_FAILED != 0;
    if hung_up { interest | Ready::ERROR } else { told & interest }
}

/// The source goes, perhaps with its context. Inside of its own call GLib tells it late: the services
/// may have gone.
extern "C" fn on_destroyed(services: *mut c_void) {
    // SAFETY: `attach` has left it to this one call.
    let services = unsafe { Weak::from_raw(services.cast::<Foreign<GlibServices>>()) };
    // SAFETY: they are there.
    services.upgrade().iter().for_each(|services| unsafe { c_loop::end(Rc::as_ptr(services)) });
}
