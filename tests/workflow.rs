//! From parameters to an open connection, over real sockets: several hosts and addresses, lookups,
//! deadlines, aborts. What is tried when is shown under a virtual clock, beside the code.

mod support;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{
    ConnectError, Connection, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow, Error,
    FdHandler, FdKey, HandshakeError, Interest, IoServices, Lookup, LoopCore, Phase,
    PlainCredentials, ResolveCallback, Services,
};
use support::peers::{self, Peer, SECRET, Wire, dead_end, parameters_of, silent};
use support::{Host, Probes, broker, close, every_host, logs};

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

/// What the callbacks of a connection were told.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Opened,
    Failed(Error),
    Closed,
}

/// A loop whose names resolve to what a test says.
struct Scene<H> {
    host: H,
    services: Services,
    told: Rc<RefCell<Vec<Told>>>,
}

#[derive(Clone)]
enum Answer {
    Addresses(Vec<SocketAddr>),
    Never,
}

impl<H: Host> Scene<H> {
    fn new(names: &[(&str, Answer)]) -> Self {
        logs::keep();
        let host = H::new();
        let names = names.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone()));
        let services = Services::new(Named { host: host.services(), names: names.collect() });
        Self { host, services, told: Rc::default() }
    }

    /// Starts to connect. It is closed when it is open; the loop ends when the connection has.
    fn connect(&self, workflow: impl Into<ConnectionWorkflow>) -> Connection {
        let (opened, failed, closed) =
            (Rc::clone(&self.told), Rc::clone(&self.told), Rc::clone(&self.told));
        let (stop, stop_too) = (self.host.stopper(), self.host.stopper());
        let callbacks = ConnectionCallbacks::new()
            .on_open(move |connection| {
                opened.borrow_mut().push(Told::Opened);
                close(connection);
            })
            .on_open_error(move |connection, error| {
                assert!(connection.is_closed());
                failed.borrow_mut().push(Told::Failed(error));
                stop();
            })
            .on_close(move |_, _| {
                closed.borrow_mut().push(Told::Closed);
                stop_too();
            });
        self.services.connect(workflow, callbacks)
    }

    /// Runs until the connection has ended. Whatever is told comes once, and nothing is left.
    fn run(self) -> Vec<Told> {
        assert_eq!(self.told.take(), [], "told from inside the call");
        self.host.run();
        let told = self.told.take();
        for _ in 0..3 {
            let stop = self.host.stopper();
            self.services.add_callback(move || stop());
            self.host.run();
        }
        assert_eq!(self.services.core().turn(), None, "a timer or callback is left");
        assert_eq!(self.told.take(), [], "told more than once");
        let texts = format!("{told:?} {:?}", logs::take());
        assert!(!texts.contains(SECRET), "{texts}");
        told
    }

    fn run_into_failure(self) -> Error {
        let told = self.run();
        let [Told::Failed(error)] = &told[..] else { panic!("{told:?}") };
        error.clone()
    }

    fn opens(self, workflow: impl Into<ConnectionWorkflow>) {
        self.connect(workflow);
        assert_eq!(self.run(), [Told::Opened, Told::Closed]);
    }
}

/// The services of a loop, with names of their own.
struct Named {
    host: Services,
    names: HashMap<String, Answer>,
}

impl IoServices for Named {
    fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        self.host.add_fd(interest, handler)
    }

    fn modify_fd(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        self.host.modify_fd(key, interest)
    }

    fn remove_fd(&self, key: FdKey) {
        self.host.remove_fd(key);
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        self.host.set_timer(deadline);
    }

    fn defer(&self) {
        self.host.defer();
    }

    fn core(&self) -> &Rc<LoopCore> {
        self.host.core()
    }

    fn resolve(&self, host: &str, port: u16, done: ResolveCallback) -> Lookup {
        let Some(answer) = self.names.get(host).cloned() else {
            return self.host.resolve(host, port, done);
        };
        let done = Rc::new(RefCell::new(Some(done)));
        let cancelled = Rc::clone(&done);
        if let Answer::Addresses(addresses) = answer {
            self.host.add_callback(move || {
                let done = done.take();
                if let Some(done) = done {
                    done(Ok(addresses));
                }
            });
        }
        Lookup::new(move || drop(cancelled.take()))
    }

    fn keep_alive(&self, needed: bool) {
        self.host.keep_alive(needed);
    }

    fn unhandled_error(&self, error: Error) {
        self.host.unhandled_error(error);
    }
}

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

/// Parameters of a host that takes long, wherever it gets stuck.
fn slow(name: &str) -> ConnectionParameters {
    let mut parameters = parameters_of(dead_end());
    parameters.set_host(name);
    parameters
}

const MOMENT: Duration = Duration::from_millis(20);
const HOUR: Duration = Duration::from_secs(3600);

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

/// A place where connecting gets stuck.
struct Stuck {
    phase: &'static str,
    names: Vec<(&'static str, Answer)>,
    workflow: ConnectionWorkflow,
    /// Ends when its client has gone.
    peer: Option<Peer>,
}

fn everywhere() -> Vec<Stuck> {
    let reserved = || {
        Peer::new(|wire| {
            wire.header();
            assert_eq!(wire.read_to_end(), 0);
        })
    };
    let busy = reserved();
    let in_the_handshake = busy.address();
    let behind = reserved();
    let raced = vec![silent(), silent_too(), behind.address()];
    let mut racing = ConnectionWorkflow::from(slow("raced"));
    racing.set_connection_attempt_delay(Duration::from_millis(10)).unwrap();
    let mut pausing = ConnectionWorkflow::from(slow("down"));
    pausing.set_connection_attempts(2).unwrap().set_retry_delay(HOUR).set_max_retry_delay(HOUR);
    let stuck = |phase, name, answer, workflow: ConnectionWorkflow, peer| Stuck {
        phase,
        names: vec![(name, answer)],
        workflow,
        peer,
    };
    vec![
        stuck("lookup", "hangs", Answer::Never, slow("hangs").into(), None),
        stuck("connect", "full", Answer::Addresses(vec![silent()]), slow("full").into(), None),
        stuck(
            "handshake",
            "busy",
            Answer::Addresses(vec![in_the_handshake]),
            slow("busy").into(),
            Some(busy),
        ),
        stuck("race", "raced", Answer::Addresses(raced), racing, Some(behind)),
        stuck("pause", "down", Answer::Addresses(vec![dead_end()]), pausing, None),
    ]
}

/// Calls `then` once the connection is in that phase.
fn once_there(
    services: &Services,
    connection: &Connection,
    phase: &'static str,
    then: impl FnOnce() + 'static,
) {
    match phase {
        "handshake" | "race" => support::once_sent(connection.clone(), then),
        // Long enough for what needs no answer; too short is too early, and shows the same.
        _ => drop(services.call_later(2 * MOMENT, then)),
    }
}

/// The address of [`silent`] by another way of writing it.
fn silent_too() -> SocketAddr {
    let std::net::IpAddr::V4(ip) = silent().ip() else { unreachable!("it is of version 4") };
    SocketAddr::new(ip.to_ipv6_mapped().into(), silent().port())
}

fn one_deadline_ends_each_phase<H: Host>() {
    let limit = Duration::from_secs(1);
    for Stuck { phase, names, mut workflow, peer } in everywhere() {
        if phase == "pause" {
            continue;
        }
        workflow.set_timeout(Some(limit)).unwrap();
        let scene = Scene::<H>::new(&names);
        let before = Instant::now();
        scene.connect(workflow);
        let error = scene.run_into_failure();
        assert!(before.elapsed() >= limit, "{phase}");
        let Error::Connect(ConnectError::TimedOut { limit: told, failures }) = &error else {
            panic!("{phase}: {error:?}");
        };
        assert_eq!(*told, limit);
        let last = &failures.last().expect("what was under way").cause;
        let is_right = match phase {
            "lookup" => matches!(last, Error::Connect(ConnectError::Resolve { cause, .. })
                if cause.kind() == io::ErrorKind::TimedOut),
            "connect" => matches!(last, Error::Connect(ConnectError::Socket { cause, .. })
                if cause.kind() == io::ErrorKind::TimedOut),
            _ => *last == HandshakeError::TimedOut { phase: Phase::Protocol, limit }.into(),
        };
        assert!(is_right, "{phase}: {error:?}");
        assert!(error.to_string().starts_with("no connection within 1s: "), "{error}");
        peer.into_iter().for_each(Peer::join);
    }
}

fn one_deadline_ends_a_peer_that_dribbles<H: Host>() {
    let peer = Peer::new(|wire| {
        wire.header();
        for byte in peers::method_bytes(0, &peers::start()) {
            std::thread::sleep(5 * MOMENT);
            wire.send([byte]);
            if wire.has_gone() {
                return;
            }
        }
        panic!("nobody ended it");
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

fn close_ends_each_phase_once_and_leaves_nothing<H: Host>() {
    for Stuck { phase, names, workflow, peer } in everywhere() {
        println!("{phase}");
        let scene = Scene::<H>::new(&names);
        let connection = scene.connect(workflow);
        let aborted = connection.clone();
        once_there(&scene.services, &connection, phase, move || {
            aborted.close(200, "no more").expect("it is not closed");
            aborted.close(200, "again").expect_err("it is");
        });
        assert_eq!(scene.run(), [Told::Failed(ConnectError::Aborted.into())]);
        assert!(connection.is_closed());
        peer.into_iter().for_each(Peer::join);
    }
    // And before anything has begun.
    let scene = Scene::<H>::new(&[]);
    let connection = scene.connect(vec![slow("never"), broker()]);
    close(&connection);
    assert_eq!(scene.run(), [Told::Failed(ConnectError::Aborted.into())]);
}

fn a_loop_that_goes_in_each_phase_tells_nothing<H: Host>() {
    for Stuck { phase, names, workflow, peer } in everywhere() {
        println!("{phase}");
        let scene = Scene::<H>::new(&names);
        let probes = Probes::default();
        let (one, other) = (probes.probe(), probes.probe());
        let callbacks = ConnectionCallbacks::new()
            .on_open_error(move |_, error| {
                one.touch();
                unreachable!("{error}")
            })
            .on_close(move |_, _| other.touch());
        let connection = scene.services.connect(workflow, callbacks);
        let stop = scene.host.stopper();
        once_there(&scene.services, &connection, phase, move || stop());
        scene.host.run();
        assert_eq!(probes.live(), 2);
        drop(scene);
        assert_eq!(probes.live(), 0, "{phase}");
        assert!(connection.is_closed());
        peer.into_iter().for_each(Peer::join);
    }
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
