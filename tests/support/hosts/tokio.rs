use std::rc::Rc;

use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionWorkflow, Result, Services, TokioConnection,
    TokioServices,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::LocalSet;

pub struct Tokio {
    services: Services,
    tasks: Rc<LocalSet>,
    runtime: Runtime,
    stop: Rc<Notify>,
}

impl super::ConformanceHost for Tokio {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        let stopped = async { tokio::time::timeout(super::LIMIT, self.stop.notified()).await };
        self.tasks.block_on(&self.runtime, stopped).expect("nobody stopped the loop");
        Ok(())
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let stop = Rc::clone(&self.stop);
        Rc::new(move || stop.notify_one())
    }
}

impl super::Host for Tokio {
    const NAME: &'static str = "tokio";

    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tasks = Rc::new(LocalSet::new());
        let services = {
            let _runtime = runtime.enter();
            let _tasks = tasks.enter();
            TokioServices::attach()
        };
        Self { services, tasks, runtime, stop: Rc::default() }
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        Box::new(TokioConnection::with_services(workflow, callbacks, &self.services))
    }

    fn spawner(&self) -> Rc<dyn Fn(super::Task)> {
        let tasks = Rc::downgrade(&self.tasks);
        Rc::new(move |task| drop(tasks.upgrade().expect("it is there").spawn_local(task)))
    }

    const UNWINDS: bool = false;
}
