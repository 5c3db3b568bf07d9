//! haypile's own loop.

use std::rc::Rc;

use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionParameters, IOLoop, SelectConnection, Services,
};

use crate::Result;

pub struct Select(IOLoop);

impl super::Host for Select {
    fn new() -> Result<Self> {
        Ok(Self(IOLoop::new()?))
    }

    fn services(&self) -> &Services {
        self.0.services()
    }

    fn connect(
        &self,
        parameters: ConnectionParameters,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection> {
        let connection = SelectConnection::with_ioloop(parameters, callbacks, &self.0);
        Box::new(connection.expect("a connection that has not begun"))
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let handle = self.0.handle();
        Rc::new(move || handle.stop())
    }

    fn run_rounds(&self, mut round: impl FnMut() -> bool) {
        while round() {
            self.0.start().expect("a run");
        }
    }
}
