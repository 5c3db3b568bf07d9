//! A host whose loop is libuv's.
#![allow(unsafe_code, reason = "libuv is C")]

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::rc::Rc;

use haypile::native::uv_loop_t;
use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionWorkflow, LibuvConnection, LibuvServices,
    Result, Services,
};

pub const UV_RUN_DEFAULT: c_uint = 0;
pub const UV_RUN_NOWAIT: c_uint = 2;
const UV_TIMER: c_uint = 13;

pub type Handle = *mut c_void;
pub type HandleCallback = extern "C" fn(Handle);

#[link(name = "uv")]
unsafe extern "C" {
    pub safe fn uv_loop_size() -> usize;
    pub fn uv_loop_init(uv: *mut uv_loop_t) -> c_int;
    pub fn uv_loop_close(uv: *mut uv_loop_t) -> c_int;
    pub fn uv_backend_timeout(uv: *const uv_loop_t) -> c_int;
    pub safe fn uv_hrtime() -> u64;
    pub fn uv_run(uv: *mut uv_loop_t, mode: c_uint) -> c_int;
    pub fn uv_stop(uv: *mut uv_loop_t);
    pub fn uv_walk(uv: *mut uv_loop_t, call: extern "C" fn(Handle, *mut c_void), data: *mut c_void);
    pub fn uv_close(handle: Handle, closed: Option<HandleCallback>);
    pub fn uv_timer_init(uv: *mut uv_loop_t, timer: Handle) -> c_int;
    pub fn uv_timer_start(timer: Handle, call: HandleCallback, timeout: u64, repeat: u64) -> c_int;
    pub fn uv_timer_stop(timer: Handle) -> c_int;
    pub safe fn uv_handle_size(kind: c_uint) -> usize;
    pub fn uv_handle_set_data(handle: Handle, data: *mut c_void);
    pub fn uv_handle_get_data(handle: Handle) -> *mut c_void;
}

/// Zeroed memory for something of C.
pub fn memory(size: usize) -> Box<[u128]> {
    vec![0; size.div_ceil(size_of::<u128>())].into()
}

/// A loop in memory of its own, which must have closed in order by the time it is dropped.
pub struct Loop(Box<[u128]>);

impl Loop {
    pub fn new() -> Self {
        let memory = memory(uv_loop_size());
        let uv_loop = Self(memory);
        // SAFETY: memory of the size that it takes.
        assert_eq!(unsafe { uv_loop_init(uv_loop.ptr()) }, 0);
        uv_loop
    }

    pub fn ptr(&self) -> *mut uv_loop_t {
        self.0.as_ptr().cast_mut().cast()
    }

    pub fn run(&self, mode: c_uint) -> c_int {
        // SAFETY: initialised, and not closed.
        unsafe { uv_run(self.ptr(), mode) }
    }

    pub fn close(&self) -> c_int {
        // SAFETY: initialised.
        unsafe { uv_loop_close(self.ptr()) }
    }
}

/// How a run ends.
struct End {
    uv_loop: *mut uv_loop_t,
    nobody_stopped: Cell<bool>,
}

pub struct Libuv {
    services: Services,
    timer: Box<[u128]>,
    end: Box<End>,
    uv_loop: Loop,
}

impl Libuv {
    fn timer(&self) -> Handle {
        self.timer.as_ptr().cast_mut().cast()
    }
}

impl super::CLoop for Libuv {
    fn attach(&self) -> Services {
        // SAFETY: a loop that is run on this thread, and outlives what a test attaches.
        unsafe { LibuvServices::attach(self.uv_loop.ptr()) }.expect("services")
    }
}

impl super::ConformanceHost for Libuv {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        // The timer keeps it running, too.
        let limit = super::LIMIT.as_millis() as u64;
        // SAFETY: initialised, here and below.
        unsafe { uv_timer_start(self.timer(), on_limit, limit, 0) };
        self.uv_loop.run(UV_RUN_DEFAULT);
        // SAFETY: see above.
        unsafe { uv_timer_stop(self.timer()) };
        assert!(!self.end.nobody_stopped.get(), "nobody stopped the loop");
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let uv_loop = self.uv_loop.ptr();
        // SAFETY: called while it runs, or before.
        Rc::new(move || unsafe { uv_stop(uv_loop) })
    }

    fn run_while_needed(&self) -> bool {
        self.uv_loop.run(UV_RUN_DEFAULT);
        true
    }
}

impl super::Host for Libuv {
    const NAME: &'static str = "libuv";

    fn new() -> Self {
        let uv_loop = Loop::new();
        let end = Box::new(End { uv_loop: uv_loop.ptr(), nobody_stopped: Cell::new(false) });
        // SAFETY: the loop outlives the services: they are detached when this is dropped.
        let services = unsafe { LibuvServices::attach(uv_loop.ptr()) }.expect("services");
        let timer = memory(uv_handle_size(UV_TIMER));
        let this = Self { services, timer, end, uv_loop };
        // SAFETY: memory of the size that it takes; it and its data are there until it is closed.
        unsafe {
            assert_eq!(uv_timer_init(this.uv_loop.ptr(), this.timer()), 0);
            uv_handle_set_data(this.timer(), (&raw const *this.end).cast_mut().cast());
        }
        this
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(LibuvConnection::with_services(workflow, callbacks, &self.services))
    }

    const UNWINDS: bool = false;
}

extern "C" fn on_limit(timer: Handle) {
    // SAFETY: set when it was initialised.
    let end = unsafe { &*uv_handle_get_data(timer).cast::<End>() };
    end.nobody_stopped.set(true);
    // SAFETY: it runs.
    unsafe { uv_stop(end.uv_loop) };
}

impl Drop for Libuv {
    /// As a host does: nothing is left of connections, nor anywhere else.
    fn drop(&mut self) {
        self.services.core().detach();
        // SAFETY: initialised, and not closed.
        unsafe { uv_close(self.timer(), None) };
        self.uv_loop.run(UV_RUN_DEFAULT);
        let closed = self.uv_loop.close();
        assert!(closed == 0 || std::thread::panicking(), "something is left in the loop");
    }
}
