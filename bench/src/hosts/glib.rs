//! A GLib main context.
#![allow(unsafe_code, reason = "GLib is C")]

use std::cell::Cell;
use std::ffi::c_int;
use std::rc::Rc;

use haypile::native::GMainContext;
use haypile::{GlibServices, Services};

use super::on_services;
use crate::Result;

#[link(name = "glib-2.0")]
unsafe extern "C" {
    safe fn g_main_context_default() -> *mut GMainContext;
    fn g_main_context_iteration(context: *mut GMainContext, may_block: c_int) -> c_int;
}

pub struct Glib {
    services: Services,
    stopped: Rc<Cell<bool>>,
    context: *mut GMainContext,
}

impl super::Host for Glib {
    fn new() -> Result<Self> {
        let context = g_main_context_default();
        // SAFETY: the default context is always there, and is iterated on this thread.
        let services = unsafe { GlibServices::attach(context) }?;
        Ok(Self { services, stopped: Rc::default(), context })
    }

    on_services!(GlibConnection);

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stopped = Rc::clone(&self.stopped);
        Rc::new(move || stopped.set(true))
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        while round() {
            while !self.stopped.get() {
                // SAFETY: see above.
                unsafe { g_main_context_iteration(self.context, 1) };
            }
            self.stopped.set(false);
        }
    }
}
