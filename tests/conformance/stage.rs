//! What a scenario has to work with: a loop with its adapter, and a broker.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use haypile::{
    Channel, Closed, Connection, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow,
    Error, Party, Result, Services,
};

use crate::support::Host;

/// A loop and its adapter, to be put through the suite. A new one for each scenario.
pub trait Adapter {
    /// What connections run on.
    fn services(&self) -> Services;

    /// Runs the loop until it is stopped. It can be run again.
    ///
    /// # Errors
    /// That of a connection that nobody was told of, from a loop that returns such.
    fn run(&self) -> Result<()>;

    /// What makes `run` return, called in a callback; called before, it makes the next `run` return
    /// without running anything.
    fn stopper(&self) -> Rc<dyn Fn()>;
}

impl<H: Host> Adapter for H {
    fn services(&self) -> Services {
        Host::services(self)
    }

    fn run(&self) -> Result<()> {
        self.try_run()
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        Host::stopper(self)
    }
}

/// How a connection ended, once it has.
type Ended = Rc<RefCell<Option<Error>>>;

pub struct Stage {
    adapter: Box<dyn Adapter>,
    broker: ConnectionParameters,
    /// The first panic that a loop that goes on has caught.
    panic: Rc<RefCell<Option<String>>>,
}

impl Stage {
    pub fn new(adapter: Box<dyn Adapter>, broker: ConnectionParameters) -> Self {
        let panic = Rc::new(RefCell::new(None));
        let (first, stop) = (Rc::clone(&panic), adapter.stopper());
        adapter.services().core().set_on_panic(move |message| {
            first.borrow_mut().get_or_insert_with(|| message.to_owned());
            stop();
        });
        Self { adapter, broker, panic }
    }

    /// A name that nobody else has on the broker.
    pub fn unique(what: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("haypile-conformance-{what}-{}-{number}", std::process::id())
    }

    /// How to connect to the broker.
    pub fn broker(&self) -> ConnectionParameters {
        self.broker.clone()
    }

    pub fn services(&self) -> Services {
        self.adapter.services()
    }

    pub fn stopper(&self) -> Rc<dyn Fn()> {
        self.adapter.stopper()
    }

    /// Runs the loop until it is stopped. What failed in a callback fails here.
    pub fn run(&self) {
        let ran = self.adapter.run();
        if let Some(message) = self.panic.take() {
            panic!("a panic has come to the loop: {message}");
        }
        ran.expect("an error that no callback took");
    }

    /// Connects, and runs the loop until the connection has ended. Gives the reason.
    pub fn session(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        on_open: impl FnOnce(&Connection) + 'static,
    ) -> Error {
        let (ended, on_close) = self.note();
        let callbacks = ConnectionCallbacks::new()
            .on_open(on_open)
            .on_open_error(|_, error| panic!("it does not open: {error}"))
            .on_close(on_close);
        self.services().connect(workflow, callbacks);
        self.run();
        ended.take().expect("on_close was called")
    }

    /// The same, with a channel.
    pub fn on_channel(&self, scenario: impl FnOnce(&Channel) + 'static) -> Error {
        self.session(self.broker(), |connection| open_channel(connection, scenario))
    }

    /// Starts to connect, lets `begun` work on that, and runs the loop until the connection has
    /// failed. Gives the reason.
    pub fn failure(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        begun: impl FnOnce(&Connection),
    ) -> Error {
        let (ended, on_open_error) = self.note();
        let callbacks = ConnectionCallbacks::new()
            .on_open(|_| panic!("it opens"))
            .on_open_error(on_open_error)
            .on_close(|_, reason| panic!("on_close, of what was not open: {reason}"));
        begun(&self.services().connect(workflow, callbacks));
        assert!(ended.borrow().is_none(), "told from inside the call");
        self.run();
        ended.take().expect("on_open_error was called")
    }

    /// Calls `then` from the loop, once `test` holds, which another thread sees to.
    pub fn when(&self, test: impl Fn() -> bool + 'static, then: impl FnOnce() + 'static) {
        fn look(
            services: &Services,
            test: impl Fn() -> bool + 'static,
            then: impl FnOnce() + 'static,
        ) {
            let weak = services.downgrade();
            services.call_later(Duration::from_millis(1), move || {
                if test() {
                    then();
                } else if let Some(services) = weak.upgrade() {
                    look(&services, test, then);
                }
            });
        }
        look(&self.services(), test, then);
    }

    /// A callback that notes how a connection ended, and stops the loop.
    fn note(&self) -> (Ended, impl FnOnce(&Connection, Error) + 'static) {
        let ended = Ended::default();
        let (note, stop) = (Rc::clone(&ended), self.stopper());
        let on_end = move |connection: &Connection, reason| {
            assert!(connection.is_closed());
            assert_eq!(note.replace(Some(reason)), None, "it ended before");
            stop();
        };
        (ended, on_end)
    }
}

pub fn open_channel(connection: &Connection, scenario: impl FnOnce(&Channel) + 'static) {
    let opened = |channel: &Channel, opened: Result<()>| {
        opened.expect("the channel opens");
        assert!(channel.is_open());
        scenario(channel);
    };
    connection.channel(None, opened).expect("the connection is open");
}

/// Ends a scenario in order.
pub fn close(connection: &Connection) {
    connection.close(200, "Normal shutdown").expect("it is open");
}

/// Checks that a connection was ended by [`close`].
pub fn assert_closed(ended: Error) {
    let (by, reply_text) = (Party::Client, "Normal shutdown".to_owned());
    let closed = Closed { by, reply_code: 200, reply_text, cause: (0, 0) };
    assert_eq!(ended, Error::ConnectionClosed(closed));
}

/// Checks that the broker has closed a channel with that code, for a method of that id.
pub fn assert_refused(error: &Error, reply_code: u16, method: (u16, u16)) {
    let Error::ChannelClosed(closed) = error else { panic!("the broker closes: {error}") };
    assert_eq!((closed.by, closed.reply_code, closed.cause), (Party::Broker, reply_code, method));
}
