//! Every loop that a scenario runs on.

use std::rc::Rc;
use std::time::Duration;

use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionWorkflow, IOLoop, PollerKind, Result,
    SelectConnection, Services,
};

/// No scenario takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(60);

/// A loop to run scenarios on.
pub trait Host: Sized {
    fn new() -> Self;

    /// Starts to connect.
    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection>;

    /// Ends `run`. Called from a callback.
    fn stopper(&self) -> Rc<dyn Fn()>;

    fn services(&self) -> Services;

    /// Runs the loop until it is stopped. Panics if nobody does. Gives the error that no callback
    /// took, if the loop returns such.
    fn try_run(&self) -> Result<()>;

    /// Runs the loop until it is stopped.
    fn run(&self) {
        self.try_run().expect("an error that no callback took");
    }

    /// Whether a panic of a callback comes out of `run`.
    const UNWINDS: bool;
}

/// Makes a test of each scenario on each loop.
macro_rules! every_host {
    ($($scenario:ident),* $(,)?) => {
        mod on_select {
            $(#[test] fn $scenario() { super::$scenario::<crate::support::hosts::Select>(); })*
        }
        #[cfg(feature = "tokio")]
        mod on_tokio {
            $(#[test] fn $scenario() { super::$scenario::<crate::support::hosts::Tokio>(); })*
        }
    };
}
pub(crate) use every_host;

pub struct Select(IOLoop);

impl Select {
    pub fn over(poller: PollerKind) -> Self {
        Self(IOLoop::with_poller(poller).expect("a loop"))
    }

    pub fn ioloop(&self) -> &IOLoop {
        &self.0
    }
}

impl Host for Select {
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

    fn stopper(&self) -> Rc<dyn Fn()> {
        let handle = self.0.handle();
        Rc::new(move || handle.stop())
    }

    fn services(&self) -> Services {
        self.0.services().clone()
    }

    fn try_run(&self) -> Result<()> {
        let limit = self.0.call_later(LIMIT, || panic!("nobody stopped the loop"));
        let ended = self.0.start();
        self.0.remove_timeout(limit);
        ended
    }

    const UNWINDS: bool = true;
}

#[cfg(feature = "tokio")]
pub use on_tokio::Tokio;

#[cfg(feature = "tokio")]
mod on_tokio {
    use std::rc::Rc;

    use haypile::{
        BaseConnection, ConnectionCallbacks, ConnectionWorkflow, Services, TokioConnection,
        TokioServices,
    };
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::Notify;
    use tokio::task::LocalSet;

    pub struct Tokio {
        services: Services,
        tasks: LocalSet,
        runtime: Runtime,
        stop: Rc<Notify>,
    }

    impl super::Host for Tokio {
        fn new() -> Self {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let tasks = LocalSet::new();
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

        fn stopper(&self) -> Rc<dyn Fn()> {
            let stop = Rc::clone(&self.stop);
            Rc::new(move || stop.notify_one())
        }

        fn services(&self) -> Services {
            self.services.clone()
        }

        fn try_run(&self) -> haypile::Result<()> {
            let stopped = async { tokio::time::timeout(super::LIMIT, self.stop.notified()).await };
            self.tasks.block_on(&self.runtime, stopped).expect("nobody stopped the loop");
            Ok(())
        }

        const UNWINDS: bool = false;
    }
}
