//! What a scenario gives to its connection and its loop: closures that know when they are dropped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use haypile::{
    BaseConnection, BasicProperties, Channel, Connection, ConnectionCallbacks,
    ConnectionParameters, Result, Services, basic, queue,
};

use crate::support::peers::{dead_end, silent};
use crate::support::{self, Host, Probe, Probes};

const HOUR: Duration = Duration::from_secs(3600);

/// Handles on everything, for the drop of a probe to call.
#[derive(Clone, Default)]
pub struct Handles {
    pub connection: Option<Connection>,
    channel: Option<Channel>,
    services: Option<Services>,
    calls: Rc<Cell<usize>>,
}

impl Handles {
    pub fn call_all(&self) {
        self.calls.set(self.calls.get() + 1);
        if let Some(connection) = &self.connection {
            drop(connection.channel(None, |_, _| ()));
            drop(connection.close(200, "dropped"));
            connection.flush();
            drop((connection.is_open(), connection.counters(), connection.server_properties()));
        }
        if let Some(channel) = &self.channel {
            let to = basic::Publish::default();
            drop(channel.basic_publish(to, &BasicProperties::default(), "dropped"));
            drop(channel.queue_declare(queue::Declare::default(), |_, _| ()));
            drop(channel.basic_consume(basic::Consume::default(), |_, _| (), |_, _| ()));
            drop(channel.basic_cancel(basic::Cancel { consumer_tag: "mine".into() }, |_, _| ()));
            drop(channel.add_on_close_callback(|_, _| ()));
            drop(channel.close(200, "dropped"));
        }
        if let Some(services) = &self.services {
            let timer = services.call_later(Duration::ZERO, || ());
            services.call_later(Duration::ZERO, || ());
            services.remove_timeout(timer);
            services.add_callback(|| ());
            let _ = services.remote().add_callback(|| ());
            services.connect_socket(dead_end(), Some(HOUR), |_| ());
            services.connect_socket(dead_end(), None, |_| ()).cancel();
            services.resolve("127.0.0.1", 1, Box::new(|_| ()));
        }
    }
}

/// When the drop of a probe calls everything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Calls {
    #[default]
    Never,
    Always,
    /// Not before everything is there that can be.
    OnceFilled,
}

/// What a scenario gives to its connection and its loop, and what became of it.
#[derive(Clone, Default)]
pub struct Watch {
    /// Of the closures that a connection keeps.
    pub connection: Probes,
    /// Of those that a loop keeps.
    pub ioloop: Probes,
    pub calls: Calls,
    pub filled: Rc<Cell<bool>>,
    pub handles: Rc<RefCell<Handles>>,
}

impl Watch {
    pub fn probe_of(&self, probes: &Probes) -> Probe {
        let (handles, calls) = (Rc::clone(&self.handles), self.calls);
        let filled = Rc::clone(&self.filled);
        probes.probe_that(move || {
            if calls == Calls::Always || calls == Calls::OnceFilled && filled.get() {
                let handles = handles.borrow().clone();
                handles.call_all();
            }
        })
    }

    /// Callbacks that hold probes: `open` runs when it is open, `stop` once it has ended.
    pub fn callbacks(
        &self,
        open: impl FnOnce(&Watch, &Connection, Rc<dyn Fn()>) + 'static,
        stop: Rc<dyn Fn()>,
    ) -> ConnectionCallbacks {
        let probes = [(); 3].map(|()| self.probe_of(&self.connection));
        let [opened, refused, closed] = probes;
        let (watch, at_once, at_end) = (self.clone(), Rc::clone(&stop), Rc::clone(&stop));
        ConnectionCallbacks::new()
            .on_open(move |connection| {
                opened.touch();
                open(&watch, connection, at_once);
            })
            .on_open_error(move |connection, _| {
                refused.touch();
                connection.services().unwrap().add_callback(move || stop());
            })
            .on_close(move |connection, _| {
                closed.touch();
                connection.services().unwrap().add_callback(move || at_end());
            })
    }

    /// Gives the loop one closure of each kind, none of which it will call.
    pub fn fill_loop<H: Host>(&self, host: &H) {
        let services = host.services();
        let probe = self.probe_of(&self.ioloop);
        services.call_later(HOUR, move || probe.touch());
        let probe = self.probe_of(&self.ioloop);
        let (connecting, stop) = (services.clone(), host.stopper());
        // tokio takes a descriptor while it runs.
        services.add_callback(move || {
            connecting.connect_socket(silent(), None, move |_| probe.touch());
            stop();
        });
        host.run();
        self.handles.borrow_mut().services = Some(services);
    }

    /// Gives a channel closures of each kind.
    pub fn fill_channel(&self, channel: &Channel) {
        // A closure that holds a probe and does nothing.
        macro_rules! idle {
            () => {{
                let probe = self.probe_of(&self.connection);
                move |_, _| probe.touch()
            }};
        }
        self.handles.borrow_mut().channel = Some(channel.clone());
        // Each may be refused: the drop of a closure may have closed everything.
        drop(channel.add_on_close_callback(idle!()));
        drop(channel.add_on_return_callback(idle!()));
        drop(channel.add_on_cancel_callback(idle!()));
        let probe = self.probe_of(&self.connection);
        drop(channel.add_on_writable_callback(move |_| probe.touch()));
        drop(channel.confirm_delivery(idle!(), idle!()));
        drop(channel.when_confirmed(idle!()));
        let to = basic::Publish::default();
        drop(channel.basic_publish(to, &BasicProperties::default(), "x"));
        drop(channel.when_confirmed(idle!()));
        drop(channel.queue_declare(queue::Declare::default(), idle!()));
        let consume = basic::Consume { consumer_tag: "mine".into(), ..Default::default() };
        drop(channel.basic_consume(consume, idle!(), idle!()));
        drop(channel.basic_get(basic::Get::default(), idle!()));
        let cancel = basic::Cancel { consumer_tag: "mine".into() };
        drop(channel.basic_cancel(cancel, idle!()));
        let consume = basic::Consume { consumer_tag: "other".into(), ..Default::default() };
        drop(channel.basic_consume(consume, idle!(), idle!()));
        drop(channel.connection().channel(None, idle!()));
        self.filled.set(true);
    }

    /// Nothing of the connection is kept, by nobody.
    #[track_caller]
    pub fn assert_connection_released(&self) {
        assert!(self.connection.made() > 0);
        assert_eq!(self.connection.live(), 0, "of {}", self.connection.made());
        let handles = self.handles.borrow().clone();
        assert!(handles.connection.as_ref().is_none_or(|connection| connection.is_closed()));
        assert!(handles.channel.as_ref().is_none_or(|channel| channel.is_closed()));
        assert!(handles.calls.get() > 0 || self.calls != Calls::Always);
    }

    /// Nothing at all is kept, and calls do no harm.
    #[track_caller]
    pub fn assert_all_released(&self) {
        self.assert_connection_released();
        assert_eq!(self.ioloop.live(), 0, "of {}", self.ioloop.made());
        let handles = self.handles.borrow().clone();
        handles.call_all();
        assert_eq!(self.ioloop.live(), 0);
    }
}

/// Opens a channel and gives it everything.
pub fn fill(watch: &Watch, connection: &Connection, then: impl FnOnce(&Channel) + 'static) {
    let (filling, probe) = (watch.clone(), watch.probe_of(&watch.connection));
    let opened = move |channel: &Channel, _: Result<()>| {
        probe.touch();
        filling.fill_channel(channel);
        then(channel);
    };
    drop(connection.channel(None, opened));
}

/// A connection, and all that is watched of it.
pub struct Scene<H> {
    pub host: H,
    pub watch: Watch,
    pub connection: Box<dyn BaseConnection>,
}

impl<H: Host> Scene<H> {
    pub fn new(
        calls: Calls,
        parameters: ConnectionParameters,
        open: impl FnOnce(&Watch, &Connection, Rc<dyn Fn()>) + 'static,
    ) -> Self {
        let host = H::new();
        let watch = Watch { calls, ..Watch::default() };
        watch.fill_loop(&host);
        let connection = host.connect(parameters, watch.callbacks(open, host.stopper()));
        watch.handles.borrow_mut().connection = Some((**connection).clone());
        Self { host, watch, connection }
    }

    /// Runs until the connection has ended: what it had is dropped before the loop is.
    pub fn run_and_go(self) {
        self.host.run();
        self.watch.assert_connection_released();
        assert!(self.watch.ioloop.live() > 0, "they are still to come");
        self.go();
    }

    /// The loop goes before all handles.
    pub fn go(self) {
        let probe = self.watch.probe_of(&self.watch.ioloop);
        self.host.services().add_callback(move || probe.touch());
        drop(self.host);
        self.watch.assert_all_released();
        drop(self.connection);
    }

    /// Runs until something was sent: the handshake has begun.
    pub fn run_into_handshake(&self) {
        let stop = self.host.stopper();
        support::once_sent((**self.connection).clone(), move || stop());
        self.host.run();
    }

    /// Runs until the connection is past its lookup.
    pub fn run_into_connecting(&self) {
        let stop = self.host.stopper();
        self.host.services().call_later(Duration::from_millis(5), move || stop());
        self.host.run();
    }
}
