//! calloop.

use std::cell::RefCell;
use std::rc::Rc;

use calloop::EventLoop;
use haypile::{CalloopServices, Services};

use super::on_services;
use crate::Result;

pub struct Calloop {
    services: Services,
    event_loop: RefCell<EventLoop<'static, ()>>,
}

impl super::Host for Calloop {
    fn new() -> Result<Self> {
        let event_loop = EventLoop::try_new()?;
        let services = CalloopServices::attach(&event_loop.handle())?;
        Ok(Self { services, event_loop: event_loop.into() })
    }

    on_services!(CalloopConnection);

    fn stopper(&self) -> Rc<dyn Fn()> {
        let signal = self.event_loop.borrow().get_signal();
        Rc::new(move || signal.stop())
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        let event_loop = &mut *self.event_loop.borrow_mut();
        while round() {
            event_loop.run(None, &mut (), |()| {}).expect("a run");
        }
    }
}
