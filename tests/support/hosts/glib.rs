//! A host whose loop is a GLib main context's.
#![allow(unsafe_code, reason = "GLib is C")]

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::rc::Rc;

use haypile::native::GMainContext;
use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionWorkflow, GlibConnection, GlibServices, Result,
    Services,
};

pub type Source = *mut c_void;
pub type SourceFunc = extern "C" fn(*mut c_void) -> c_int;

/// `GSourceFuncs`.
#[repr(C)]
pub struct SourceFuncs {
    pub prepare: Option<extern "C" fn(Source, *mut c_int) -> c_int>,
    pub check: Option<extern "C" fn(Source) -> c_int>,
    pub dispatch: extern "C" fn(Source, SourceFunc, *mut c_void) -> c_int,
    pub finalize: Option<extern "C" fn(Source)>,
    pub of_glib: [Option<extern "C" fn()>; 2],
}

/// The size of a `GSource`: thirteen members, none larger than a pointer.
pub const SOURCE: c_uint = 13 * size_of::<*mut c_void>() as c_uint;

#[link(name = "glib-2.0")]
unsafe extern "C" {
    pub safe fn g_main_context_new() -> *mut GMainContext;
    pub fn g_main_context_unref(context: *mut GMainContext);
    pub fn g_main_context_iteration(context: *mut GMainContext, may_block: c_int) -> c_int;
    pub safe fn g_timeout_source_new(interval: c_uint) -> Source;
    pub safe fn g_idle_source_new() -> Source;
    pub fn g_source_new(functions: &'static SourceFuncs, size: c_uint) -> Source;
    pub fn g_source_set_callback(
        source: Source,
        function: SourceFunc,
        data: *mut c_void,
        notify: Option<extern "C" fn(*mut c_void)>,
    );
    pub fn g_source_attach(source: Source, context: *mut GMainContext) -> c_uint;
    pub fn g_source_destroy(source: Source);
    pub fn g_source_unref(source: Source);
}

/// A context, of which there is one reference.
pub struct Context(pub *mut GMainContext);

impl Context {
    pub fn new() -> Self {
        Self(g_main_context_new())
    }

    pub fn iterate(&self) {
        // SAFETY: it is there.
        unsafe { g_main_context_iteration(self.0, 1) };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it is there, and was made here.
        unsafe { g_main_context_unref(self.0) };
    }
}

pub struct Glib {
    services: Services,
    stopped: Rc<Cell<bool>>,
    context: Context,
}

impl super::CLoop for Glib {
    fn attach(&self) -> Services {
        // SAFETY: a loop that is run on this thread, and outlives what a test attaches.
        unsafe { GlibServices::attach(self.context.0) }.expect("services")
    }
}

impl super::ConformanceHost for Glib {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        let limit = Limit::new(self.context.0);
        while !self.stopped.get() && !limit.passed.get() {
            self.context.iterate();
        }
        assert!(self.stopped.replace(false), "nobody stopped the loop");
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stopped = Rc::clone(&self.stopped);
        Rc::new(move || stopped.set(true))
    }
}

impl super::Host for Glib {
    const NAME: &'static str = "glib";

    fn new() -> Self {
        let context = Context::new();
        // SAFETY: a context that is iterated on this thread.
        let services = unsafe { GlibServices::attach(context.0) }.expect("services");
        Self { services, stopped: Rc::default(), context }
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(GlibConnection::with_services(workflow, callbacks, &self.services))
    }

    fn spawner(&self) -> Rc<dyn Fn(super::Task)> {
        let context = self.context.0;
        // SAFETY: called while the context is there, by this thread.
        Rc::new(move |task| unsafe { super::glib_tasks::spawn(context, task) })
    }

    const UNWINDS: bool = false;
}

/// A source that ends a run that nobody stops.
struct Limit {
    source: Source,
    passed: Box<Cell<bool>>,
}

impl Limit {
    fn new(context: *mut GMainContext) -> Self {
        let source = g_timeout_source_new(super::LIMIT.as_millis() as c_uint);
        let passed = Box::new(Cell::new(false));
        // SAFETY: the context is there, and the data until the source is destroyed.
        unsafe {
            let data = (&raw const *passed).cast_mut().cast();
            g_source_set_callback(source, on_limit, data, None);
            g_source_attach(source, context);
        }
        Self { source, passed }
    }
}

extern "C" fn on_limit(passed: *mut c_void) -> c_int {
    // SAFETY: set by `Limit::new`.
    unsafe { &*passed.cast::<Cell<bool>>() }.set(true);
    1
}

impl Drop for Limit {
    fn drop(&mut self) {
        // SAFETY: made by `new`.
        unsafe {
            g_source_destroy(self.source);
            g_source_unref(self.source);
        }
    }
}
