use std::rc::Rc;

use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionWorkflow, IOLoop, PollerKind, Result,
    SelectConnection, Services,
};

pub struct Select(IOLoop);

impl Select {
    pub fn over(poller: PollerKind) -> Self {
        Self(IOLoop::with_poller(poller).expect("a loop"))
    }

    pub fn ioloop(&self) -> &IOLoop {
        &self.0
    }
}

impl super::ConformanceHost for Select {
    fn services(&self) -> Services {
        self.0.services().clone()
    }

    fn run_until_stopped(&self) -> Result<()> {
        let limit = self.0.call_later(super::LIMIT, || panic!("nobody stopped the loop"));
        let ended = self.0.start();
        self.0.remove_timeout(limit);
        ended
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let handle = self.0.handle();
        Rc::new(move || handle.stop())
    }
}

impl super::Host for Select {
    const NAME: &'static str = "select";

    fn new() -> Self {
        Self(IOLoop::new().expect("a loop"))
    }

    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        let connection = SelectConnection::with_ioloop(workflow, callbacks, &self.0);
        Box::new(connection.expect("a connection that has not begun"))
    }

    const UNWINDS: bool = true;
}
