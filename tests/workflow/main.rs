//! From parameters to an open connection, over real sockets: several hosts and addresses, lookups,
//! deadlines, aborts. What is tried when is shown under a virtual clock, beside the code.

mod phases;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{
    ConnectError, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow, Error,
    HandshakeError, PlainCredentials,
};

use phases::{
    a_loop_that_goes_in_each_phase_tells_nothing, close_ends_each_phase_once_and_leaves_nothing,
    one_deadline_ends_each_phase,
};
use scene::{Answer, HOUR, MOMENT, Scene, slow};
use support::peers::{self, Peer, SECRET, Wire, dead_end, silent};
use support::{Host, broker, close, every_host};

every_host!(
    a_silent_address_is_raced_by_the_next,
    an_address_of_the_other_family_is_tried,
    an_address_that_is_no_broker_leads_to_the_next,
    a_host_that_does_not_resolve_leads_to_the_next,
    a_host_whose_lookup_hangs_leads_to_the_next,
    a_host_that_refuses_the_credentials_leads_to_the_next,
    each_hosts_story_is_told,
    no_parameters_are_no_host,
    one_deadline_ends_each_phase,
    one_deadline_ends_a_peer_that_dribbles,
    no_pause_outlasts_the_deadline,
    close_ends_each_phase_once_and_leaves_nothing,
    a_loop_that_goes_in_each_phase_tells_nothing,
    many_connections_on_one_loop,
    the_way_in_for_other_threads_outlives_a_host_that_fails,
    what_was_set_before_outlives_a_host_that_fails,
);

fn address_of_the_broker() -> SocketAddr {
    let broker = broker();
    let mut addresses = (broker.host(), broker.port()).to_socket_addrs().expect("it resolves");
    addresses.find(SocketAddr::is_ipv4).expect("an address of version 4")
}

/// The broker's parameters, by another name.
fn named(name: &str) -> ConnectionParameters {
    let mut parameters = broker();
    parameters.set_host(name);
    parameters
}

fn a_silent_address_is_raced_by_the_next<H: Host>() {
    let addresses = vec![silent(), address_of_the_broker()];
    let mut parameters = named("two");
    parameters.set_socket_timeout(None).unwrap().set_stack_timeout(None).unwrap();
    let mut workflow = ConnectionWorkflow::from(parameters);
    workflow.set_connection_attempt_delay(MOMENT).unwrap();
    Scene::<H>::new(&[("two", Answer::Addresses(addresses))]).opens(workflow);
}

/// Whether this machine has an IPv6 or not: its loopback address does not have the broker.
fn an_address_of_the_other_family_is_tried<H: Host>() {
    let dead = SocketAddr::new("::1".parse().unwrap(), dead_end().port());
    let scene =
        Scene::<H>::new(&[("both", Answer::Addresses(vec![dead, address_of_the_broker()]))]);
    scene.opens(named("both"));

    let both = Answer::Addresses(vec![dead_end(), dead, dead_end()]);
    let scene = Scene::<H>::new(&[("both", both)]);
    scene.connect(named("both"));
    let error = scene.run_into_failure();
    let Error::Connect(ConnectError::Failed { failures }) = error else { panic!("{error:?}") };
    let addresses = failures.iter().map(|failure| failure.address.expect("an address"));
    let families: Vec<_> = addresses.map(|address| address.is_ipv6()).collect();
    assert_eq!(families, [false, true, false]);
}

/// In each phase of the handshake.
fn an_address_that_is_no_broker_leads_to_the_next<H: Host>() {
    let scripts: [fn(&mut Wire); 4] = [
        |wire| wire.header(),
        |wire| wire.send("HTTP/1.1 400 Bad Request\r\n\r\n"),
        |wire| {
            wire.header();
            // With more behind it, that is nothing to the next broker.
            let mut bytes = peers::method_bytes(0, &peers::start());
            bytes.extend(peers::method_bytes(0, &peers::start()));
            bytes.extend([1, 2, 3]);
            wire.send(bytes);
            wire.read_to_end();
        },
        |wire| {
            wire.header();
            wire.method(0, &peers::start());
            wire.expect("connection.start-ok");
            wire.method(0, &peers::tune());
            wire.expect("connection.open");
            let (reply_code, reply_text) = (541, "vhost is down".into());
            let close = haypile::protocol::connection::Close {
                reply_code,
                reply_text,
                ..Default::default()
            };
            wire.method(0, &close);
            wire.expect("connection.close-ok");
        },
    ];
    for script in scripts {
        let peer = Peer::new(script);
        let addresses = vec![peer.address(), address_of_the_broker()];
        Scene::<H>::new(&[("two", Answer::Addresses(addresses))]).opens(named("two"));
        peer.join();
    }
}

fn a_host_that_does_not_resolve_leads_to_the_next<H: Host>() {
    let scene = Scene::<H>::new(&[("empty", Answer::Addresses(Vec::new()))]);
    scene.opens(vec![slow("no-such-host.invalid"), slow("empty"), broker()]);
}

fn a_host_whose_lookup_hangs_leads_to_the_next<H: Host>() {
    let mut hangs = slow("hangs");
    hangs.set_stack_timeout(Some(MOMENT)).unwrap();
    Scene::<H>::new(&[("hangs", Answer::Never)]).opens(vec![hangs, broker()]);
}

fn a_host_that_refuses_the_credentials_leads_to_the_next<H: Host>() {
    let mut stranger = broker();
    stranger.set_credentials(PlainCredentials::new("nobody", SECRET));
    Scene::<H>::new(&[]).opens(vec![stranger, broker()]);
}

fn each_hosts_story_is_told<H: Host>() {
    let peer = Peer::several(2, |wire| wire.send("SSH-2.0-OpenSSH_9.2\r\n"));
    let (dead, mute) = (dead_end(), silent());
    let mut hangs = slow("hangs");
    hangs.set_stack_timeout(Some(MOMENT)).unwrap();
    let mut full = slow("full");
    full.set_socket_timeout(Some(MOMENT)).unwrap();
    let mut stranger = broker();
    stranger.set_credentials(PlainCredentials::new("nobody", SECRET));
    let mut lost = broker();
    lost.set_virtual_host("nowhere").unwrap();
    let hosts = vec![hangs, slow("down"), full, slow("ssh"), stranger, lost];
    let mut workflow = ConnectionWorkflow::from(hosts);
    workflow.set_connection_attempts(2).unwrap().set_retry_delay(Duration::ZERO);
    let scene = Scene::<H>::new(&[
        ("hangs", Answer::Never),
        ("down", Answer::Addresses(vec![dead])),
        ("full", Answer::Addresses(vec![mute])),
        ("ssh", Answer::Addresses(vec![peer.address()])),
    ]);
    scene.connect(workflow);
    let error = scene.run_into_failure();
    peer.join();
    let text = error.to_string();
    let rabbit = address_of_the_broker();
    for part in [
        "no connection: cannot resolve host \"hangs\": timed out (2 times); ",
        &format!(
            "cannot connect to \"down\" at {dead}: Connection refused (os error 111) (2 times); "
        ),
        &format!("cannot connect to \"full\" at {mute}: timed out (2 times); "),
        "the server does not speak AMQP: its first bytes are \"SSH-2.0-OpenSSH_\" (2 times); ",
        &format!("at {rabbit}: authentication failed: (403) ACCESS_REFUSED"),
        &format!("at {rabbit}: access to virtual host \"nowhere\" denied: (530) NOT_ALLOWED"),
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    let Error::Connect(ConnectError::Failed { failures }) = error else { panic!("{error:?}") };
    assert_eq!(failures.len(), 6);
    assert!(failures.iter().all(|failure| failure.times == 2));
    assert!(matches!(
        &failures[4].cause,
        Error::Handshake(HandshakeError::BadCredentials { reply_code: 403, .. })
    ));
}

fn no_parameters_are_no_host<H: Host>() {
    let scene = Scene::<H>::new(&[]);
    scene.connect(Vec::new());
    assert_eq!(scene.run_into_failure(), ConnectError::NoHost.into());
}

fn one_deadline_ends_a_peer_that_dribbles<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.header();
        let start = peers::method_bytes(0, &peers::start());
        assert!(!wire.send_slowly(start, 5 * MOMENT), "nobody ended it");
    });
    let limit = Duration::from_secs(1);
    let mut workflow = ConnectionWorkflow::from(peer.parameters());
    workflow.set_timeout(Some(limit)).unwrap();
    let scene = Scene::<H>::new(&[]);
    scene.connect(workflow);
    let error = scene.run_into_failure();
    assert!(matches!(error, Error::Connect(ConnectError::TimedOut { .. })), "{error:?}");
    peer.join();
}

fn no_pause_outlasts_the_deadline<H: Host>() {
    let mut workflow = ConnectionWorkflow::from(slow("down"));
    workflow.set_connection_attempts(1_000_000).unwrap();
    workflow.set_retry_delay(MOMENT).set_max_retry_delay(HOUR);
    workflow.set_timeout(Some(Duration::from_secs(1))).unwrap();
    let address = dead_end();
    let scene = Scene::<H>::new(&[("down", Answer::Addresses(vec![address]))]);
    let before = Instant::now();
    scene.connect(workflow);
    let error = scene.run_into_failure();
    // It ends when no time is left for another pause, with what was the matter all along.
    assert!(before.elapsed() < Duration::from_secs(30));
    let cause = io::Error::from_raw_os_error(libc::ECONNREFUSED).into();
    assert_eq!(error, ConnectError::Socket { host: "down".into(), address, cause }.into());
}

fn many_connections_on_one_loop<H: Host>() {
    const EACH: usize = 10;
    let scene = Scene::<H>::new(&[
        ("hangs", Answer::Never),
        ("raced", Answer::Addresses(vec![silent(), address_of_the_broker()])),
        ("down", Answer::Addresses(vec![dead_end()])),
    ]);
    let counts = Rc::new(RefCell::new((0, 0, 0)));
    let mut hangs = slow("hangs");
    hangs.set_stack_timeout(Some(MOMENT)).unwrap();
    let ended = |stop: Rc<dyn Fn()>| {
        let counts = Rc::clone(&counts);
        move || {
            let (_, failed, closed) = *counts.borrow();
            if failed + closed == 4 * EACH {
                stop();
            }
        }
    };
    let workflows =
        vec![vec![broker()], vec![named("raced")], vec![hangs, broker()], vec![slow("down")]];
    for workflow in std::iter::repeat_n(workflows, EACH).flatten() {
        let (opened, failed, closed) = (Rc::clone(&counts), Rc::clone(&counts), Rc::clone(&counts));
        let (ended, ended_too) = (ended(scene.host.stopper()), ended(scene.host.stopper()));
        let callbacks = ConnectionCallbacks::new()
            .on_open(move |connection| {
                opened.borrow_mut().0 += 1;
                close(connection);
            })
            .on_open_error(move |_, _| {
                failed.borrow_mut().1 += 1;
                ended();
            })
            .on_close(move |_, _| {
                closed.borrow_mut().2 += 1;
                ended_too();
            });
        scene.services.connect(workflow, callbacks);
    }
    scene.host.run();
    assert_eq!(*counts.borrow(), (3 * EACH, EACH, 3 * EACH));
    assert_eq!(scene.services.core().turn(), None);
}

fn the_way_in_for_other_threads_outlives_a_host_that_fails<H: Host>() {
    let peer = Peer::new(|wire| wire.header());
    let host = H::new();
    let (ended, stop) = (Rc::new(RefCell::new(None)), host.stopper());
    let note = Rc::clone(&ended);
    let (is_open, opened) = std::sync::mpsc::channel();
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |_| is_open.send(()).expect("the thread waits"))
        .on_close(move |_, reason| {
            note.replace(Some(reason));
            stop();
        });
    let connection = host.connect(vec![peer.parameters(), broker()], callbacks);
    let remote = connection.remote();
    let thread = std::thread::spawn(move || {
        opened.recv().expect("it opens");
        remote.add_callback(close).expect("it is open");
    });
    host.run();
    assert!(matches!(ended.take(), Some(Error::ConnectionClosed(_))));
    thread.join().expect("no panic");
    peer.join();
}

fn what_was_set_before_outlives_a_host_that_fails<H: Host>() {
    let strange = Peer::new(|wire| wire.header());
    let mute = Peer::new(|wire| {
        wire.open();
        wire.expect("channel.open");
        // It never answers that.
        wire.read_to_end();
    });
    let mut last = mute.parameters();
    last.set_stack_timeout(Some(Duration::from_secs(1))).unwrap();
    let host = H::new();
    let (told, stop) = (Rc::new(RefCell::new(None)), host.stopper());
    let (note, told_at) = (Rc::clone(&told), Instant::now());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let opened = move |channel: &haypile::Channel, opened: haypile::Result<()>| {
                note.replace(Some(opened));
                close(&channel.connection());
            };
            connection.channel(None, opened).expect("it is open");
        })
        .on_close(move |_, _| stop());
    let connection = host.connect(vec![strange.parameters(), last], callbacks);
    connection.set_request_timeout(MOMENT).expect("it has not ended");
    host.run();
    assert!(matches!(told.take(), Some(Err(Error::RequestTimeout { .. }))), "{told:?}");
    assert!(told_at.elapsed() >= MOMENT);
    strange.join();
    mute.join();
}
