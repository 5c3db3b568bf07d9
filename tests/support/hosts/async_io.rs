use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use async_io::{Timer, block_on};
use haypile::{
    AsyncIoConnection, AsyncIoDriver, AsyncIoServices, BaseConnection, ConnectionCallbacks,
    ConnectionWorkflow, Result, Services,
};

pub struct AsyncIo {
    services: Services,
    driver: RefCell<AsyncIoDriver>,
    stop: Rc<Cell<bool>>,
}

impl super::ConformanceHost for AsyncIo {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        let mut limit = pin!(Timer::after(super::LIMIT));
        block_on(poll_fn(|context| {
            assert!(limit.as_mut().poll(context).is_pending(), "nobody stopped the loop");
            if !self.stop.get() {
                let driven = Pin::new(&mut *self.driver.borrow_mut()).poll(context);
                assert!(driven.is_pending(), "the services are held");
            }
            if self.stop.take() { Poll::Ready(()) } else { Poll::Pending }
        }));
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stop = Rc::clone(&self.stop);
        Rc::new(move || stop.set(true))
    }
}

impl super::Host for AsyncIo {
    const NAME: &'static str = "async-io";

    fn new() -> Self {
        let (services, driver) = AsyncIoServices::attach();
        Self { services, driver: driver.into(), stop: Rc::default() }
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(AsyncIoConnection::with_services(workflow, callbacks, &self.services))
    }

    const UNWINDS: bool = false;

    /// The reactor makes a list of wakers each time.
    const ALLOCATES: u64 = 2;

    const FREES_ELSEWHERE: bool = true;
}
