//! What a scenario has to work with: a loop with its adapter, and a broker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{
    Channel, Closed, Connection, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow,
    Error, Party, Result, Services,
};

use super::Host;

/// How a connection ended, once it has.
type Ended = Rc<RefCell<Option<Error>>>;

/// A loop under test, and what is around it.
pub(super) struct Stage {
    host: Box<dyn Host>,
    /// Whether the loop was asked to stop since it last ran.
    stopped: Rc<Cell<bool>>,
    /// The first panic that the loop has caught.
    panic: Rc<RefCell<Option<String>>>,
}

impl Stage {
    pub(super) fn new(host: Box<dyn Host>) -> Self {
        let stage = Self { host, stopped: Rc::default(), panic: Rc::default() };
        let (first, stop) = (Rc::clone(&stage.panic), stage.stopper());
        stage.services().core().set_on_panic(move |message| {
            first.borrow_mut().get_or_insert_with(|| message.to_owned());
            stop();
        });
        stage
    }

    /// A name that nobody else has on the broker.
    pub(super) fn unique(what: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("haypile-conformance-{what}-{}-{number}", std::process::id())
    }

    /// How to connect to the broker.
    pub(super) fn broker(&self) -> ConnectionParameters {
        let url = std::env::var("AMQP_URL").expect("AMQP_URL must name a RabbitMQ to test against");
        url.parse().expect("AMQP_URL is a URL")
    }

    pub(super) fn services(&self) -> Services {
        self.host.services()
    }

    pub(super) fn stopper(&self) -> Rc<dyn Fn()> {
        let (stop, stopped) = (self.host.stopper(), Rc::clone(&self.stopped));
        Rc::new(move || {
            stopped.set(true);
            stop();
        })
    }

    /// Runs the loop until it is stopped. What failed in a callback fails here.
    pub(super) fn run(&self) {
        let ran = self.host.run_until_stopped();
        if let Some(message) = self.panic.take() {
            panic!("a panic has come to the loop: {message}");
        }
        ran.expect("an error that no callback took");
        assert!(self.stopped.take(), "the loop has returned, and nobody had stopped it");
    }

    /// Connects, and runs the loop until the connection has ended. Gives the reason.
    pub(super) fn session(
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
    pub(super) fn on_channel(&self, scenario: impl FnOnce(&Channel) + 'static) -> Error {
        self.session(self.broker(), |connection| open_channel(connection, scenario))
    }

    /// Starts to connect, lets `begun` work on that, and runs the loop until the connection has
    /// failed. Gives the reason.
    pub(super) fn failure(
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
    pub(super) fn when(&self, test: impl Fn() -> bool + 'static, then: impl FnOnce() + 'static) {
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

pub(super) fn open_channel(connection: &Connection, scenario: impl FnOnce(&Channel) + 'static) {
    let opened = |channel: &Channel, opened: Result<()>| {
        opened.expect("the channel opens");
        assert!(channel.is_open());
        scenario(channel);
    };
    connection.channel(None, opened).expect("the connection is open");
}

/// Ends a scenario in order.
pub(super) fn close(connection: &Connection) {
    connection.close(200, "Normal shutdown").expect("it is open");
}

/// Checks that a connection was ended by [`close`].
pub(super) fn assert_closed(ended: Error) {
    let (by, reply_text) = (Party::Client, "Normal shutdown".to_owned());
    let closed = Closed { by, reply_code: 200, reply_text, cause: (0, 0) };
    assert_eq!(ended, Error::ConnectionClosed(closed));
}

/// Checks that the broker has closed a channel with that code, for a method of that id.
pub(super) fn assert_refused(error: &Error, reply_code: u16, method: (u16, u16)) {
    let Error::ChannelClosed(closed) = error else { panic!("the broker closes: {error}") };
    assert_eq!((closed.by, closed.reply_code, closed.cause), (Party::Broker, reply_code, method));
}
