//! libevent, as it comes: with locks for its threads, and its coarse clock.
#![allow(unsafe_code, reason = "libevent is C")]

use std::ffi::c_int;
use std::rc::Rc;

use haypile::native::event_base;
use haypile::{LibeventServices, Services};

use super::on_services;
use crate::Result;

#[link(name = "event_core")]
unsafe extern "C" {
    safe fn event_base_new() -> *mut event_base;
    fn event_base_loop(base: *mut event_base, flags: c_int) -> c_int;
    fn event_base_loopbreak(base: *mut event_base) -> c_int;
}

#[link(name = "event_pthreads")]
unsafe extern "C" {
    safe fn evthread_use_pthreads() -> c_int;
}

pub struct Libevent {
    services: Services,
    base: *mut event_base,
}

impl super::Host for Libevent {
    fn new() -> Result<Self> {
        if evthread_use_pthreads() != 0 {
            return Err("libevent has no threads".into());
        }
        let base = event_base_new();
        // SAFETY: null or a loop that is never freed, and is run on this thread.
        let services = unsafe { LibeventServices::attach(base) }?;
        Ok(Self { services, base })
    }

    on_services!(LibeventConnection);

    fn stopper(&self) -> Rc<dyn Fn()> {
        let base = self.base;
        // SAFETY: see above.
        Rc::new(move || unsafe {
            event_base_loopbreak(base);
        })
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        while round() {
            // SAFETY: see above.
            unsafe { event_base_loop(self.base, 0) };
        }
    }
}
