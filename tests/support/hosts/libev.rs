//! A host whose loop is libev's.
#![allow(unsafe_code, reason = "libev is C")]
#![allow(non_camel_case_types, reason = "the names are C's")]

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr;
use std::rc::Rc;

use haypile::native::ev_loop;
use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionWorkflow, LibevConnection, LibevServices,
    Result, Services,
};

pub const EVRUN_NOWAIT: c_int = 1;
pub const EVRUN_ONCE: c_int = 2;
pub const EVBREAK_ONE: c_int = 1;

#[repr(C)]
pub struct ev_timer {
    active: c_int,
    pending: c_int,
    priority: c_int,
    pub data: *mut c_void,
    cb: TimerCallback,
    at: f64,
    repeat: f64,
}

pub type TimerCallback = extern "C" fn(*mut ev_loop, *mut ev_timer, c_int);

#[link(name = "ev")]
unsafe extern "C" {
    pub safe fn ev_loop_new(flags: c_uint) -> *mut ev_loop;
    pub fn ev_loop_destroy(ev: *mut ev_loop);
    pub fn ev_run(ev: *mut ev_loop, flags: c_int) -> c_int;
    pub fn ev_break(ev: *mut ev_loop, how: c_int);
    pub fn ev_timer_start(ev: *mut ev_loop, timer: *mut ev_timer);
    pub fn ev_timer_stop(ev: *mut ev_loop, timer: *mut ev_timer);
}

/// A loop that is destroyed in the end.
pub struct Loop(pub *mut ev_loop);

impl Loop {
    pub fn new() -> Self {
        Self(ev_loop_new(0))
    }

    /// Whether watchers are left that it would run for.
    pub fn run(&self, flags: c_int) -> bool {
        // SAFETY: it is there.
        unsafe { ev_run(self.0, flags) != 0 }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and destroyed once.
        unsafe { ev_loop_destroy(self.0) };
    }
}

/// A timer of the host's own, called once, that is stopped in the end.
pub struct Timer {
    ev: *mut ev_loop,
    timer: Box<UnsafeCell<ev_timer>>,
}

impl Timer {
    pub fn new(ev: &Loop, seconds: f64, cb: TimerCallback, data: *mut c_void) -> Self {
        let (active, pending, priority, repeat) = (0, 0, 0, 0.0);
        let timer = ev_timer { active, pending, priority, data, cb, at: seconds, repeat };
        let this = Self { ev: ev.0, timer: Box::new(timer.into()) };
        // SAFETY: the loop is there, and the timer until it is stopped.
        unsafe { ev_timer_start(this.ev, this.timer.get()) };
        this
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: of that loop.
        unsafe { ev_timer_stop(self.ev, self.timer.get()) };
    }
}

pub struct Libev {
    services: Services,
    stopped: Rc<Cell<bool>>,
    ev: Loop,
}

impl super::CLoop for Libev {
    fn attach(&self) -> Services {
        // SAFETY: a loop that is run on this thread, and outlives what a test attaches.
        unsafe { LibevServices::attach(self.ev.0) }.expect("services")
    }
}

impl super::ConformanceHost for Libev {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        // It keeps the loop running, too.
        let limit = super::LIMIT.as_secs_f64();
        let _limit = Timer::new(&self.ev, limit, on_limit, ptr::null_mut());
        if !self.stopped.get() {
            self.ev.run(0);
        }
        assert!(self.stopped.replace(false), "nobody stopped the loop");
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let (ev, stopped) = (self.ev.0, Rc::clone(&self.stopped));
        Rc::new(move || {
            stopped.set(true);
            // SAFETY: called while it runs, or before.
            unsafe { ev_break(ev, EVBREAK_ONE) };
        })
    }

    fn run_while_needed(&self) -> bool {
        self.ev.run(0);
        true
    }
}

extern "C" fn on_limit(ev: *mut ev_loop, _: *mut ev_timer, _: c_int) {
    // SAFETY: it runs.
    unsafe { ev_break(ev, EVBREAK_ONE) };
}

impl super::Host for Libev {
    const NAME: &'static str = "libev";

    fn new() -> Self {
        let ev = Loop::new();
        // SAFETY: a loop that runs on this thread.
        let services = unsafe { LibevServices::attach(ev.0) }.expect("services");
        Self { services, stopped: Rc::default(), ev }
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(LibevConnection::with_services(workflow, callbacks, &self.services))
    }

    const UNWINDS: bool = false;
}
