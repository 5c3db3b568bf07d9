use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};

use async_executor::LocalExecutor;
use async_io::{Timer, block_on};
use haypile::{
    AsyncIoConnection, AsyncIoDriver, AsyncIoServices, BaseConnection, ConnectionCallbacks,
    ConnectionWorkflow, Result, Services,
};

pub struct AsyncIo {
    services: Services,
    driver: RefCell<AsyncIoDriver>,
    tasks: Rc<LocalExecutor<'static>>,
    stop: Rc<Stop>,
}

/// Whether the run is to end, and who is to look then.
#[derive(Default)]
struct Stop(Cell<bool>, Cell<Option<Waker>>);

impl Stop {
    fn set(&self) {
        self.0.set(true);
        self.1.take().into_iter().for_each(Waker::wake);
    }
}

impl super::ConformanceHost for AsyncIo {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        let mut limit = pin!(Timer::after(super::LIMIT));
        let stopped = poll_fn(|context| {
            assert!(limit.as_mut().poll(context).is_pending(), "nobody stopped the loop");
            self.stop.1.set(Some(context.waker().clone()));
            if !self.stop.0.get() {
                let driven = Pin::new(&mut *self.driver.borrow_mut()).poll(context);
                assert!(driven.is_pending(), "the services are held");
            }
            if self.stop.0.take() { Poll::Ready(()) } else { Poll::Pending }
        });
        match self.tasks.is_empty() {
            true => block_on(stopped),
            false => block_on(self.tasks.run(stopped)),
        }
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stop = Rc::clone(&self.stop);
        Rc::new(move || stop.set())
    }
}

impl super::Host for AsyncIo {
    const NAME: &'static str = "async-io";

    fn new() -> Self {
        let (services, driver) = AsyncIoServices::attach();
        Self { services, driver: driver.into(), tasks: Rc::default(), stop: Rc::default() }
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(AsyncIoConnection::with_services(workflow, callbacks, &self.services))
    }

    fn spawner(&self) -> Rc<dyn Fn(super::Task)> {
        let tasks = Rc::downgrade(&self.tasks);
        Rc::new(move |task| tasks.upgrade().expect("it is there").spawn(task).detach())
    }

    const UNWINDS: bool = false;

    /// The reactor makes a list of wakers each time.
    const ALLOCATES: u64 = 2;

    const FREES_ELSEWHERE: bool = true;
}
