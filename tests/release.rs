//! Whatever way a connection ends, every closure that it or its loop was given is dropped, its
//! socket closed; and what is dropped may call everything.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use haypile::{
    BaseConnection, BasicProperties, Channel, Connection, ConnectionCallbacks,
    ConnectionParameters, Result, SelectConnection, Services, basic, queue,
};
use support::peers::{Peer, dead_end, parameters_of, silent};
use support::{Host, Probe, Probes, every_host};

every_host!(
    a_connection_that_is_closed,
    a_connection_that_is_refused,
    a_connection_that_is_aborted_while_it_resolves,
    a_connection_that_is_aborted_while_it_connects,
    a_connection_that_is_aborted_in_the_handshake,
    a_connection_whose_broker_dies,
    a_loop_that_goes_while_a_connection_resolves,
    a_loop_that_goes_while_a_connection_connects,
    a_loop_that_goes_in_the_handshake,
    a_loop_that_goes_while_a_connection_is_open,
    bodies_of_the_users_own_memory,
);

const HOUR: Duration = Duration::from_secs(3600);

/// Handles on everything, for the drop of a probe to call.
#[derive(Clone, Default)]
struct Handles {
    connection: Option<Connection>,
    channel: Option<Channel>,
    services: Option<Services>,
    calls: Rc<Cell<usize>>,
}

impl Handles {
    fn call_all(&self) {
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
enum Calls {
    #[default]
    Never,
    Always,
    /// Not before everything is there that can be.
    OnceFilled,
}

/// What a scenario gives to its connection and its loop, and what became of it.
#[derive(Clone, Default)]
struct Watch {
    /// Of the closures that a connection keeps.
    connection: Probes,
    /// Of those that a loop keeps.
    ioloop: Probes,
    calls: Calls,
    filled: Rc<Cell<bool>>,
    handles: Rc<RefCell<Handles>>,
}

impl Watch {
    fn probe_of(&self, probes: &Probes) -> Probe {
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
    fn callbacks(
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
    fn fill_loop<H: Host>(&self, host: &H) {
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
    fn fill_channel(&self, channel: &Channel) {
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
    fn assert_connection_released(&self) {
        assert!(self.connection.made() > 0);
        assert_eq!(self.connection.live(), 0, "of {}", self.connection.made());
        let handles = self.handles.borrow().clone();
        assert!(handles.connection.as_ref().is_none_or(|connection| connection.is_closed()));
        assert!(handles.channel.as_ref().is_none_or(|channel| channel.is_closed()));
        assert!(handles.calls.get() > 0 || self.calls != Calls::Always);
    }

    /// Nothing at all is kept, and calls do no harm.
    #[track_caller]
    fn assert_all_released(&self) {
        self.assert_connection_released();
        assert_eq!(self.ioloop.live(), 0, "of {}", self.ioloop.made());
        let handles = self.handles.borrow().clone();
        handles.call_all();
        assert_eq!(self.ioloop.live(), 0);
    }
}

/// Opens a channel and gives it everything.
fn fill(watch: &Watch, connection: &Connection, then: impl FnOnce(&Channel) + 'static) {
    let (filling, probe) = (watch.clone(), watch.probe_of(&watch.connection));
    let opened = move |channel: &Channel, _: Result<()>| {
        probe.touch();
        filling.fill_channel(channel);
        then(channel);
    };
    drop(connection.channel(None, opened));
}

/// A connection, and all that is watched of it.
struct Scene<H> {
    host: H,
    watch: Watch,
    connection: Box<dyn BaseConnection>,
}

impl<H: Host> Scene<H> {
    fn new(
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
    fn run_and_go(self) {
        self.host.run();
        self.watch.assert_connection_released();
        assert!(self.watch.ioloop.live() > 0, "they are still to come");
        self.go();
    }

    /// The loop goes before all handles.
    fn go(self) {
        let probe = self.watch.probe_of(&self.watch.ioloop);
        self.host.services().add_callback(move || probe.touch());
        drop(self.host);
        self.watch.assert_all_released();
        drop(self.connection);
    }

    /// Runs until something was sent: the handshake has begun.
    fn run_into_handshake(&self) {
        let stop = self.host.stopper();
        support::once_sent((**self.connection).clone(), move || stop());
        self.host.run();
    }

    /// Runs until the connection is past its lookup.
    fn run_into_connecting(&self) {
        let stop = self.host.stopper();
        self.host.services().call_later(Duration::from_millis(5), move || stop());
        self.host.run();
    }
}

fn each(scenario: impl Fn(Calls)) {
    for calls in [Calls::Never, Calls::Always, Calls::OnceFilled] {
        println!("drops call everything: {calls:?}");
        scenario(calls);
    }
}

fn a_connection_that_is_closed<H: Host>() {
    each(|calls| {
        let peer = Peer::new(|wire| {
            wire.open();
            assert!(wire.obey());
            assert_eq!(wire.read_to_end(), 0);
        });
        let scene = Scene::<H>::new(calls, peer.parameters(), |watch, connection, _| {
            fill(watch, connection, |channel| support::close(&channel.connection()));
        });
        scene.run_and_go();
        peer.join();
    });
}

fn never(_: &Watch, _: &Connection, _: Rc<dyn Fn()>) {
    unreachable!("it is not open")
}

fn a_connection_that_is_refused<H: Host>() {
    each(|calls| Scene::<H>::new(calls, parameters_of(dead_end()), never).run_and_go());
}

fn a_connection_that_is_aborted_while_it_resolves<H: Host>() {
    each(|calls| {
        let scene = Scene::<H>::new(calls, parameters_of(dead_end()), never);
        scene.connection.close(200, "no").unwrap();
        scene.run_and_go();
    });
}

fn a_connection_that_is_aborted_while_it_connects<H: Host>() {
    each(|calls| {
        let scene = Scene::<H>::new(calls, parameters_of(silent()), never);
        scene.run_into_connecting();
        scene.connection.close(200, "no").unwrap();
        scene.run_and_go();
    });
}

/// A peer that reads the header and says nothing.
fn reserved() -> Peer {
    Peer::new(|wire| {
        wire.header();
        assert_eq!(wire.read_to_end(), 0);
    })
}

fn a_connection_that_is_aborted_in_the_handshake<H: Host>() {
    each(|calls| {
        let peer = reserved();
        let scene = Scene::<H>::new(calls, peer.parameters(), never);
        scene.run_into_handshake();
        scene.connection.close(200, "no").unwrap();
        scene.run_and_go();
        peer.join();
    });
}

fn a_connection_whose_broker_dies<H: Host>() {
    each(|calls| {
        let peer = Peer::new(|wire| {
            wire.open();
            let open = wire.expect("channel.open");
            wire.answer(&open);
            wire.frame();
        });
        let scene = Scene::<H>::new(calls, peer.parameters(), |watch, connection, _| {
            fill(watch, connection, |_| ());
        });
        scene.run_and_go();
        peer.join();
    });
}

fn a_loop_that_goes_while_a_connection_resolves<H: Host>() {
    each(|calls| Scene::<H>::new(calls, parameters_of(dead_end()), never).go());
}

fn a_loop_that_goes_while_a_connection_connects<H: Host>() {
    each(|calls| {
        let scene = Scene::<H>::new(calls, parameters_of(silent()), never);
        scene.run_into_connecting();
        scene.go();
    });
}

fn a_loop_that_goes_in_the_handshake<H: Host>() {
    each(|calls| {
        let peer = reserved();
        let scene = Scene::<H>::new(calls, peer.parameters(), never);
        scene.run_into_handshake();
        scene.go();
        peer.join();
    });
}

fn a_loop_that_goes_while_a_connection_is_open<H: Host>() {
    each(|calls| {
        let peer = Peer::new(|wire| {
            wire.open();
            let open = wire.expect("channel.open");
            wire.answer(&open);
            wire.read_to_end();
        });
        let scene = Scene::<H>::new(calls, peer.parameters(), |watch, connection, stop| {
            fill(watch, connection, move |_| stop());
        });
        scene.host.run();
        assert!(scene.connection.is_open() || calls != Calls::Never);
        scene.go();
        peer.join();
    });
}

#[test]
fn a_loop_of_its_own_goes_with_its_connection() {
    for started in [false, true] {
        let watch = Watch::default();
        let peer = reserved();
        let callbacks = watch.callbacks(never, Rc::new(|| ()));
        let connection = SelectConnection::new(peer.parameters(), callbacks).unwrap();
        if started {
            let stop = connection.ioloop().clone();
            support::once_sent((*connection).clone(), move || stop.stop());
            connection.ioloop().start().unwrap();
        }
        watch.handles.borrow_mut().connection = Some((*connection).clone());
        let ioloop = connection.ioloop().clone();
        drop(connection);
        watch.assert_all_released();
        assert_eq!(ioloop.start(), Err(haypile::LoopError::Gone.into()));
        if started {
            peer.join();
        }
    }
}

#[test]
fn a_loop_that_its_own_callback_drops_ends() {
    let watch = Watch::default();
    let peer = Peer::new(|wire| {
        wire.open();
        let open = wire.expect("channel.open");
        wire.answer(&open);
        wire.read_to_end();
    });
    let owner: Rc<Cell<Option<SelectConnection>>> = Rc::default();
    let dropping = Rc::clone(&owner);
    let callbacks = watch.callbacks(
        move |watch, connection, _| {
            fill(watch, connection, move |channel| {
                drop(dropping.take().expect("it is there"));
                assert!(channel.is_closed() && channel.connection().is_closed());
            });
        },
        Rc::new(|| ()),
    );
    let connection = SelectConnection::new(peer.parameters(), callbacks).unwrap();
    let ioloop = connection.ioloop().clone();
    owner.set(Some(connection));
    assert_eq!(ioloop.start(), Ok(()));
    watch.assert_all_released();
    peer.join();
}

thread_local! {
    /// What the drop of a body calls, which must be `Send` and thus has no handles of its own.
    static OF_BODIES: RefCell<Option<Channel>> = const { RefCell::new(None) };
    static BODIES: Cell<usize> = const { Cell::new(0) };
}

/// Memory of the user's own: a buffer of another language, for example.
struct Foreign(Vec<u8>);

impl AsRef<[u8]> for Foreign {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        BODIES.set(BODIES.get() - 1);
        let Some(channel) = OF_BODIES.with_borrow(Clone::clone) else { return };
        let to = basic::Publish::default();
        drop(channel.basic_publish(to, &BasicProperties::default(), "dropped"));
        drop(channel.queue_declare(queue::Declare::default(), |_, _| ()));
        channel.connection().flush();
        assert!(!(channel.is_closed() && channel.is_open()));
    }
}

fn publish_foreign(channel: &Channel, routing_key: &str, size: usize) {
    BODIES.set(BODIES.get() + 1);
    let body = bytes::Bytes::from_owner(Foreign(vec![0; size]));
    let to = basic::Publish { routing_key: routing_key.into(), ..Default::default() };
    drop(channel.basic_publish(to, &BasicProperties::default(), body));
}

fn bodies_of_the_users_own_memory<H: Host>() {
    for obeys in [true, false] {
        println!("the peer answers: {obeys}");
        let peer = Peer::new(move |wire| {
            wire.open();
            let open = wire.expect("channel.open");
            wire.answer(&open);
            wire.expect("queue.declare");
            // What waits behind the declare is sent, or never is.
            if obeys {
                wire.method(1, &haypile::protocol::queue::DeclareOk::default());
                assert!(wire.obey());
            }
        });
        let scene = Scene::<H>::new(Calls::Never, peer.parameters(), move |_, connection, _| {
            let opened = move |channel: &Channel, _: Result<()>| {
                OF_BODIES.replace(Some(channel.clone()));
                for size in [0, 100, 20_000, 300_000] {
                    publish_foreign(channel, "sent", size);
                }
                publish_foreign(channel, &"refused".repeat(100), 20_000);
                for _ in 0..2 {
                    channel.queue_declare(queue::Declare::default(), |_, _| ()).unwrap();
                }
                publish_foreign(channel, "behind the second declare", 20_000);
                let kept = channel.clone();
                let ended = move |_: &Channel, _| publish_foreign(&kept, "too late", 20_000);
                channel.add_on_close_callback(ended).unwrap();
                if obeys {
                    support::close(&channel.connection());
                }
            };
            connection.channel(None, opened).unwrap();
        });
        scene.run_and_go();
        OF_BODIES.take();
        assert_eq!(BODIES.get(), 0, "a body is kept");
        peer.join();
    }
}
