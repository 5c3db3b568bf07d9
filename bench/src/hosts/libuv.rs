//! libuv.
#![allow(unsafe_code, reason = "libuv is C")]

use std::ffi::{c_int, c_uint};
use std::rc::Rc;

use haypile::native::uv_loop_t;
use haypile::{LibuvServices, Services};

use super::on_services;
use crate::Result;

const UV_RUN_DEFAULT: c_uint = 0;

#[link(name = "uv")]
unsafe extern "C" {
    safe fn uv_default_loop() -> *mut uv_loop_t;
    fn uv_run(uv_loop: *mut uv_loop_t, mode: c_uint) -> c_int;
    fn uv_stop(uv_loop: *mut uv_loop_t);
}

pub struct Libuv {
    services: Services,
    uv_loop: *mut uv_loop_t,
}

impl super::Host for Libuv {
    fn new() -> Result<Self> {
        let uv_loop = uv_default_loop();
        // SAFETY: the default loop is always there, and is run on this thread.
        let services = unsafe { LibuvServices::attach(uv_loop) }?;
        Ok(Self { services, uv_loop })
    }

    on_services!(LibuvConnection);

    fn stopper(&self) -> Rc<dyn Fn()> {
        let uv_loop = self.uv_loop;
        // SAFETY: see above.
        Rc::new(move || unsafe { uv_stop(uv_loop) })
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        while round() {
            // SAFETY: see above.
            unsafe { uv_run(self.uv_loop, UV_RUN_DEFAULT) };
        }
    }
}
