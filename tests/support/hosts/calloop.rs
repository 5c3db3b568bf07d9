use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use calloop::EventLoop;
use calloop::futures::executor;
use haypile::{
    BaseConnection, CalloopConnection, CalloopServices, ConnectionCallbacks, ConnectionWorkflow,
    Result, Services,
};

pub struct Calloop {
    services: Services,
    event_loop: RefCell<EventLoop<'static, ()>>,
    stop: Rc<Cell<bool>>,
}

impl super::ConformanceHost for Calloop {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        let limit = Instant::now() + super::LIMIT;
        while !self.stop.take() {
            let left = limit.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nobody stopped the loop");
            self.event_loop.borrow_mut().dispatch(left, &mut ()).expect("a dispatch");
        }
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stop = Rc::clone(&self.stop);
        Rc::new(move || stop.set(true))
    }
}

impl super::Host for Calloop {
    const NAME: &'static str = "calloop";

    fn new() -> Self {
        let event_loop = EventLoop::try_new().expect("a loop");
        let services = CalloopServices::attach(&event_loop.handle()).expect("its sources");
        Self { services, event_loop: event_loop.into(), stop: Rc::default() }
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(CalloopConnection::with_services(workflow, callbacks, &self.services))
    }

    fn spawner(&self) -> Rc<dyn Fn(super::Task)> {
        let (executor, scheduler) = executor().expect("an executor");
        let handle = self.event_loop.borrow().handle();
        handle.insert_source(executor, |(), (), ()| ()).expect("it is inserted");
        Rc::new(move |task| scheduler.schedule(task).expect("the loop is there"))
    }

    const UNWINDS: bool = false;

    /// Each timer, and each turn that is owed, is a source of its own.
    const ALLOCATES: u64 = 2;

    const CALLS: super::Calls = super::Calls { wait: 5.0, timer: 5.0, wake: 7.0 };
}
