//! libev.
#![allow(unsafe_code, reason = "libev is C")]

use std::ffi::{c_int, c_uint};
use std::rc::Rc;

use haypile::native::ev_loop;
use haypile::{LibevServices, Services};

use super::on_services;
use crate::Result;

const EVBREAK_ALL: c_int = 2;

#[link(name = "ev")]
unsafe extern "C" {
    safe fn ev_default_loop(flags: c_uint) -> *mut ev_loop;
    fn ev_run(ev_loop: *mut ev_loop, flags: c_int) -> c_int;
    fn ev_break(ev_loop: *mut ev_loop, how: c_int);
}

pub struct Libev {
    services: Services,
    ev_loop: *mut ev_loop,
}

impl super::Host for Libev {
    fn new() -> Result<Self> {
        let ev_loop = ev_default_loop(0);
        // SAFETY: null or the default loop, which is run on this thread.
        let services = unsafe { LibevServices::attach(ev_loop) }?;
        Ok(Self { services, ev_loop })
    }

    on_services!(LibevConnection);

    fn stopper(&self) -> Rc<dyn Fn()> {
        let ev_loop = self.ev_loop;
        // SAFETY: it is never destroyed.
        Rc::new(move || unsafe { ev_break(ev_loop, EVBREAK_ALL) })
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        while round() {
            // SAFETY: see above.
            unsafe { ev_run(self.ev_loop, 0) };
        }
    }
}
