//! A host whose loop is libevent's.
#![allow(unsafe_code, reason = "libevent is C")]
#![allow(non_camel_case_types, reason = "the names are C's")]

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_short, c_void};
use std::rc::Rc;
use std::time::Duration;

use haypile::native::event_base;
use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionWorkflow, LibeventConnection, LibeventServices,
    Result, Services,
};

pub const EVLOOP_ONCE: c_int = 1;
pub const EVLOOP_NONBLOCK: c_int = 2;

#[repr(C)]
pub struct timeval {
    tv_sec: c_long,
    tv_usec: c_long,
}

pub type Callback = extern "C" fn(c_int, c_short, *mut c_void);

#[link(name = "event_core")]
unsafe extern "C" {
    pub safe fn event_base_new() -> *mut event_base;
    pub fn event_base_free(base: *mut event_base);
    pub fn event_base_loop(base: *mut event_base, flags: c_int) -> c_int;
    pub fn event_base_loopbreak(base: *mut event_base) -> c_int;
    pub fn event_new(
        base: *mut event_base,
        fd: c_int,
        events: c_short,
        callback: Callback,
        data: *mut c_void,
    ) -> *mut c_void;
    pub fn event_add(event: *mut c_void, timeout: *const timeval) -> c_int;
    pub fn event_free(event: *mut c_void);
}

/// A loop that is freed in the end.
pub struct Loop(pub *mut event_base);

impl Loop {
    pub fn new() -> Self {
        Self(event_base_new())
    }

    /// 0 if it was ended, 1 if nothing is left to run for.
    pub fn run(&self, flags: c_int) -> c_int {
        // SAFETY: it is there.
        unsafe { event_base_loop(self.0, flags) }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed once.
        unsafe { event_base_free(self.0) };
    }
}

/// A timer of the host's own, called once, that is freed in the end.
pub struct Timer(*mut c_void);

impl Timer {
    pub fn new(base: &Loop, delay: Duration, callback: Callback, data: *mut c_void) -> Self {
        let (tv_sec, tv_usec) = (delay.as_secs() as c_long, delay.subsec_micros() as c_long);
        // SAFETY: the loop is there until the event is freed.
        unsafe {
            let event = event_new(base.0, -1, 0, callback, data);
            assert_eq!(event_add(event, &timeval { tv_sec, tv_usec }), 0);
            Self(event)
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed once.
        unsafe { event_free(self.0) };
    }
}

pub struct Libevent {
    services: Services,
    stopped: Rc<Cell<bool>>,
    base: Loop,
}

impl super::CLoop for Libevent {
    fn attach(&self) -> Services {
        // SAFETY: a loop that is run on this thread, and outlives what a test attaches.
        unsafe { LibeventServices::attach(self.base.0) }.expect("services")
    }
}

impl super::ConformanceHost for Libevent {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        // It keeps the loop running, too.
        let _limit = Timer::new(&self.base, super::LIMIT, on_limit, self.base.0.cast());
        if !self.stopped.get() {
            self.base.run(0);
        }
        assert!(self.stopped.replace(false), "nobody stopped the loop");
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let (base, stopped) = (self.base.0, Rc::clone(&self.stopped));
        Rc::new(move || {
            stopped.set(true);
            // SAFETY: called while it runs, or before.
            unsafe { event_base_loopbreak(base) };
        })
    }

    fn run_while_needed(&self) -> bool {
        self.base.run(0);
        true
    }
}

extern "C" fn on_limit(_: c_int, _: c_short, base: *mut c_void) {
    // SAFETY: it runs.
    unsafe { event_base_loopbreak(base.cast()) };
}

impl super::Host for Libevent {
    const NAME: &'static str = "libevent";

    fn new() -> Self {
        let base = Loop::new();
        // SAFETY: the loop outlives the services: they are detached when this is dropped.
        let services = unsafe { LibeventServices::attach(base.0) }.expect("services");
        Self { services, stopped: Rc::default(), base }
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(LibeventConnection::with_services(workflow, callbacks, &self.services))
    }

    const UNWINDS: bool = false;
}

impl Drop for Libevent {
    /// As a host does, before its loop goes.
    fn drop(&mut self) {
        self.services.core().detach();
    }
}
