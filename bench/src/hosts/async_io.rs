//! async-io, whose `block_on` runs the driver.

use std::cell::RefCell;
use std::rc::Rc;

use async_channel::{Receiver, Sender, bounded};
use async_io::block_on;
use futures_lite::future::or;
use haypile::{AsyncIoDriver, AsyncIoServices, Services};

use super::on_services;
use crate::Result;
use crate::loops::async_io::settle;

pub struct AsyncIo {
    services: Services,
    driver: RefCell<AsyncIoDriver>,
    stop: Sender<()>,
    stopped: Receiver<()>,
}

impl super::Host for AsyncIo {
    fn new() -> Result<Self> {
        let (services, driver) = AsyncIoServices::attach();
        let (stop, stopped) = bounded(1);
        Ok(Self { services, driver: driver.into(), stop, stopped })
    }

    on_services!(AsyncIoConnection);

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stop = self.stop.clone();
        Rc::new(move || stop.try_send(()).expect("a run to stop"))
    }

    fn settled<T>(&self, measured: impl FnOnce() -> T) -> T {
        block_on(async {
            settle().await;
            measured()
        })
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        let driver = &mut *self.driver.borrow_mut();
        let rounds = async {
            while round() {
                self.stopped.recv().await.expect("a stop");
            }
        };
        block_on(or(rounds, driver));
    }
}
