//! A `LocalSet` on tokio's current-thread runtime.

use std::rc::Rc;

use haypile::{Services, TokioServices};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::on_services;
use crate::Result;

pub struct Tokio {
    services: Services,
    tasks: LocalSet,
    runtime: Runtime,
    stop: Rc<Notify>,
}

impl super::Host for Tokio {
    fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = LocalSet::new();
        let services = {
            let _entered = (runtime.enter(), tasks.enter());
            TokioServices::attach()
        };
        Ok(Self { services, tasks, runtime, stop: Rc::default() })
    }

    on_services!(TokioConnection);

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stop = Rc::clone(&self.stop);
        Rc::new(move || stop.notify_one())
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        self.tasks.block_on(&self.runtime, async {
            while round() {
                self.stop.notified().await;
            }
        });
    }
}
