//! The end of a connection, and of its loop.

use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::conformance::stage::{Stage, assert_closed, close, open_channel, watch};
use crate::conformance::tools::peers::{self, Peer};
use crate::conformance::tools::{Probe, Probes, Trace, publish, readable_pair};
use crate::{
    Channel, Confirm, Connection, ConnectionCallbacks, Delivery, LoopError, Ready, Services, basic,
    queue,
};

const HOUR: Duration = Duration::from_secs(3600);

/// All that the callbacks of a connection hold, each a probe.
fn callbacks(probes: &Probes, opened: impl FnOnce(&Connection) + 'static) -> ConnectionCallbacks {
    let [open, error, close] = [probes.probe(), probes.probe(), probes.probe()];
    ConnectionCallbacks::new()
        .on_open(move |connection| {
            open.touch();
            opened(connection);
        })
        .on_open_error(move |_, _| error.touch())
        .on_close(move |_, _| close.touch())
}

/// Opens a channel, with a callback of each kind that holds a probe, then goes on.
fn busy_channel(connection: &Connection, probes: &Probes, then: impl FnOnce(&Channel) + 'static) {
    let probe = |what: &Probes| what.probe();
    let (own, all) = (probe(probes), probes.clone());
    let blocked = probe(probes);
    connection.add_on_connection_blocked_callback(move |_, _| blocked.touch()).expect("it is open");
    open_channel(connection, move |channel| {
        own.touch();
        let [returned, cancelled, closed] = [all.probe(), all.probe(), all.probe()];
        channel.add_on_return_callback(move |_, _| returned.touch()).expect("open");
        channel.add_on_cancel_callback(move |_, _| cancelled.touch()).expect("open");
        channel.add_on_close_callback(move |_, _| closed.touch()).expect("open");
        let [confirm, selected, message, consuming] =
            [all.probe(), all.probe(), all.probe(), all.probe()];
        let on_confirm = move |_: &Channel, _: Confirm<'_>| confirm.touch();
        channel.confirm_delivery(on_confirm, move |_, _| selected.touch()).expect("open");
        publish(channel, "nowhere", "never confirmed");
        let consume = basic::Consume { queue: "queue".into(), ..Default::default() };
        let on_message = move |_: &Channel, _: &Delivery<'_>| message.touch();
        let started = move |channel: &Channel, _: crate::Result<basic::ConsumeOk<'static>>| {
            consuming.touch();
            then(channel);
        };
        channel.basic_consume(consume, on_message, started).expect("open");
        let declared = all.probe();
        let declare = queue::Declare { queue: "queue".into(), ..Default::default() };
        channel.queue_declare(declare, move |_, _| declared.touch()).expect("open");
    });
}

/// A peer that answers all, until the client closes or hangs up.
fn obedient() -> Peer {
    Peer::new(|wire| {
        wire.open();
        wire.obey();
        wire.read_to_end();
    })
}

/// The user keeps no handle: the loop keeps the connection.
pub(in crate::conformance) fn a_connection_outlives_its_handles(stage: &Stage) {
    let peer = obedient();
    let stop = stage.stopper();
    let services = stage.services();
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let connection = connection.clone();
            // The last handle, which goes with what has closed it.
            services.call_later(Duration::from_millis(5), move || close(&connection));
        })
        .on_close(move |_, reason| {
            assert_closed(reason);
            stop();
        });
    drop(stage.connect(peer.parameters(), callbacks));
    stage.run();
    peer.join();
}

/// After the end of a connection nothing of it is left, though its handle is kept.
pub(in crate::conformance) fn a_closed_connection_leaves_nothing(stage: &Stage) {
    let (peer, probes) = (obedient(), Probes::default());
    let connection = stage.connect(
        peer.parameters(),
        callbacks(&probes, {
            let (probes, stop) = (probes.clone(), stage.stopper());
            move |connection| {
                busy_channel(connection, &probes, move |channel| {
                    close(&channel.connection());
                    let connection = channel.connection();
                    // After its end, and what follows it.
                    await_end(connection, stop);
                });
            }
        }),
    );
    stage.run();
    stage.settle();
    assert!(connection.is_closed());
    assert!(probes.made() > 10);
    assert_eq!(probes.live(), 0, "of {} callbacks, so many live on", probes.made());
    assert_eq!(stage.services().core().turn(), None, "something is left");
    peer.join();
}

fn await_end(connection: Connection, stop: Rc<dyn Fn()>) {
    let Ok(services) = connection.services() else { return stop() };
    if connection.is_closed() {
        return stop();
    }
    services.call_later(Duration::from_millis(1), move || await_end(connection, stop));
}

/// The loop goes first, whatever its connections are about; then nothing is called any more, and
/// all is dropped, what calls the API when it is dropped too.
pub(in crate::conformance) fn a_loop_that_ends_drops_all_that_it_has(stage: &Stage) {
    let probes = Probes::default();
    let services = stage.services();
    let probe = |services: &Services| {
        let services = services.clone();
        probes.probe_that(move || {
            // Each is refused, or dropped at once.
            services.add_callback(|| panic!("the loop has gone"));
            services.call_later(Duration::ZERO, || panic!("the loop has gone"));
            let posted = services.remote().add_callback(|| panic!("the loop has gone"));
            assert!(posted == Err(LoopError::Gone) || thread::panicking());
        })
    };
    // What the loop itself has. It holds its services, which hold it: the end of the loop ends that.
    let [post, timer, periodic, lookup, connect] = [(); 5].map(|()| probe(&services));
    let (busy, handler) = (probe(&services), probe(&services));
    let (mut there, here) = UnixStream::pair().expect("a pair");
    stage.watch(here, Ready::READ, move |_| {
        handler.touch();
        Ready::NONE
    });
    services.call_later(HOUR, move || timer.touch());
    services.call_every(HOUR, move || periodic.touch());
    // Connections on their way, in their handshake, and open.
    let silent = peers::parameters_of(peers::silent());
    let mute = Peer::new(|wire| {
        wire.read_to_end();
    });
    let (first, second) = (obedient(), obedient());
    let stop = stage.stop_after(2);
    let mut connections = Vec::new();
    for parameters in [silent, mute.parameters()] {
        let callbacks = callbacks(&probes, |_| panic!("it opens"));
        connections.push(services.connect(parameters, callbacks));
    }
    for peer in [&first, &second] {
        let (stop, all) = (Rc::clone(&stop), probes.clone());
        let opened = move |connection: &Connection| {
            busy_channel(connection, &all, move |_| stop());
        };
        connections.push(services.connect(peer.parameters(), callbacks(&probes, opened)));
    }
    stage.run();
    // And what has not begun.
    services.add_callback(move || post.touch());
    services.resolve("localhost", 1, Box::new(move |_| lookup.touch()));
    services.connect_socket(peers::silent(), None, move |_| connect.touch());
    connections.push(services.connect(
        peers::parameters_of(peers::dead_end()),
        callbacks(&probes, move |_| busy.touch()),
    ));
    let remote = services.remote();

    stage.end_loop();
    assert!(probes.made() > 30);
    assert_eq!(probes.live(), 0, "of {} closures, so many live on", probes.made());
    assert_eq!(there.read(&mut [0]).expect("an end"), 0, "what was watched is closed");
    [mute, first, second].into_iter().for_each(Peer::join);
    for connection in connections {
        assert!(!connection.is_open());
        connection.close(200, "late").expect_err("the loop has gone");
    }
    assert_gone(&services);
    assert_eq!(remote.add_callback(|| ()), Err(LoopError::Gone));
}

/// What the services of a loop do that has gone: nothing, and they say so.
fn assert_gone(services: &Services) {
    let probes = Probes::default();
    let [post, timer, every, lookup, connect, handler] = [(); 6].map(|()| probes.probe());
    let never = |probe: Probe| move || probe.touch();
    services.add_callback(never(post));
    services.call_later(Duration::ZERO, never(timer));
    services.call_every(Duration::ZERO, never(every));
    services.resolve("localhost", 1, Box::new(move |_| lookup.touch()));
    services.connect_socket(peers::dead_end(), None, move |_| connect.touch());
    let (_there, here) = readable_pair();
    let watched = watch(services, here, Ready::READ, move |_| {
        handler.touch();
        Ready::NONE
    });
    assert_eq!(watched.expect_err("the loop has gone").kind(), ErrorKind::Other);
    services.set_timer(None);
    services.defer();
    assert_eq!(services.core().turn(), None);
    services.core().detach();
    assert_eq!(probes.live(), 0);
}

/// Whoever holds the services may end them, from inside of them and before their loop: nothing of
/// them is left with it.
pub(in crate::conformance) fn services_that_are_detached_leave_the_loop(stage: &Stage) {
    let (services, probes, peer) = (stage.services(), Probes::default(), obedient());
    let [handler, timer] = [(); 2].map(|()| probes.probe());
    let (mut there, here) = UnixStream::pair().expect("a pair");
    stage.watch(here, Ready::READ, move |_| {
        handler.touch();
        Ready::NONE
    });
    services.call_later(HOUR, move || timer.touch());
    let (detach, stop) = (services.clone(), stage.stopper());
    let opened = move |_: &Connection| {
        detach.core().detach();
        stop();
    };
    let connection = services.connect(peer.parameters(), callbacks(&probes, opened));
    stage.run();
    assert!(connection.is_closed());
    assert_eq!(probes.live(), 0, "of {} closures, so many live on", probes.made());
    assert_eq!(there.read(&mut [0]).expect("an end"), 0, "what was watched is closed");
    assert_gone(&services);
    peer.join();
}

/// A name is looked up on another thread: a host whose run ends when nothing is watched has nothing
/// to wait for then, and must run on all the same. Nor may it stay when that is over.
pub(in crate::conformance) fn a_connection_keeps_its_loop_running(stage: &Stage) {
    let peer = obedient();
    let mut known = peer.parameters();
    known.set_host("localhost");
    let mut unknown = peers::parameters_of(peers::dead_end());
    unknown.set_host("no-such-host.invalid");
    let ended = Trace::new();
    for (host, parameters) in [("known", known), ("unknown", unknown)] {
        let [closed, failed] = [ended.clone(), ended.clone()];
        let callbacks = ConnectionCallbacks::new()
            .on_open(close)
            .on_open_error(move |_, _| failed.add(host))
            .on_close(move |_, _| closed.add(host));
        stage.services().connect(parameters, callbacks);
        let over = ended.clone();
        stage.run_until_over(move || !over.is_empty());
        assert_eq!(ended.take(), [host]);
    }
    peer.join();
}

/// Whoever connects again by a timer has no connection meanwhile.
pub(in crate::conformance) fn a_loop_runs_on_for_the_next_attempt(stage: &Stage) {
    let (peer, closed) = (obedient(), Rc::new(Cell::new(false)));
    let (parameters, services) = (peer.parameters(), stage.services().downgrade());
    let close_it = Rc::clone(&closed);
    let again = move |_: &Connection, _| {
        let services = services.upgrade().expect("the loop runs");
        services.clone().call_later(Duration::from_millis(20), move || {
            let callbacks =
                ConnectionCallbacks::new().on_open(close).on_close(move |_, _| close_it.set(true));
            services.connect(parameters, callbacks);
        });
    };
    let refused = peers::parameters_of(peers::dead_end());
    stage.services().connect(refused, ConnectionCallbacks::new().on_open_error(again));
    stage.run_until_over(move || closed.get());
    peer.join();
}

/// In its own callbacks: the handles, the services, and what they were captured with.
pub(in crate::conformance) fn callbacks_drop_what_they_hold(stage: &Stage) {
    let peer = obedient();
    let connection = Rc::new(Cell::new(None::<Connection>));
    let held = Rc::new(Cell::new(Some((Rc::clone(&connection), stage.services()))));
    let (open, stop) = (Rc::clone(&held), stage.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            close(connection);
            let (handle, services) = open.take().expect("it is still held");
            drop(handle.take());
            drop(services);
        })
        .on_close(move |connection, reason| {
            assert_closed(reason);
            let services = connection.services().expect("the loop runs");
            services.add_callback(move || stop());
        });
    connection.set(Some(stage.connect(peer.parameters(), callbacks)));
    stage.run();
    assert!(held.take().is_none());
    peer.join();
}
