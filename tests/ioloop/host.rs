//! What a host loop may rely on, shown with one that only notes what it is asked for.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use haypile::{FdHandler, FdKey, Interest, IoServices, LoopCore, LoopError, Ready, Services};

use crate::tools::{Drops, Trace, keep};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

struct Host {
    core: Rc<LoopCore>,
    /// The one descriptor that it can watch.
    watched: RefCell<Option<Rc<dyn FdHandler>>>,
    can_watch: Cell<bool>,
    timer: Cell<Option<Instant>>,
    asked: Trace<&'static str>,
}

impl IoServices for Host {
    fn add_fd(&self, _: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        if !self.can_watch.get() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.watched.replace(Some(handler));
        Ok(FdKey(0))
    }

    fn modify_fd(&self, _: FdKey, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn remove_fd(&self, _: FdKey) {
        self.watched.take();
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        self.timer.set(deadline);
        self.asked.add("set_timer");
    }

    fn defer(&self) {
        self.asked.add("defer");
    }

    fn core(&self) -> &Rc<LoopCore> {
        &self.core
    }
}

fn host() -> (Services, Rc<Host>, Arc<Wakes>) {
    let wakes = Arc::new(Wakes::default());
    let core = LoopCore::new(Waker::from(Arc::clone(&wakes)));
    let host = Rc::new(Host {
        core,
        watched: RefCell::default(),
        can_watch: Cell::new(false),
        timer: Cell::new(None),
        asked: Trace::new(),
    });
    (Services::from(Rc::clone(&host) as Rc<dyn IoServices>), host, wakes)
}

#[test]
fn a_turn_is_asked_for_once() {
    let (services, host, _) = host();
    services.add_callback(|| ());
    services.add_callback(|| ());
    assert_eq!(host.asked.take(), ["defer"]);
    assert_eq!(services.core().turn(), None);
    // What is added in a turn is in what the turn gives.
    let weak = services.downgrade();
    services.add_callback(move || {
        let services = weak.upgrade().unwrap();
        services.add_callback(|| ());
        services.call_later(Duration::from_secs(1), || ());
    });
    assert_eq!(host.asked.take(), ["defer"]);
    assert!(services.core().turn().unwrap() <= Instant::now());
    assert!(services.core().turn().unwrap() > Instant::now());
    assert_eq!(host.asked.take(), [""; 0]);
}

#[test]
fn the_timer_is_set_for_a_new_first_deadline_and_unset_with_the_last() {
    let (services, host, _) = host();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let late = services.add_timeout(at(20), || ());
    assert_eq!(host.timer.get(), Some(at(20)));
    let first = services.add_timeout(at(10), || ());
    assert_eq!(host.timer.get(), Some(at(10)));
    host.asked.take();
    services.add_timeout(at(10), || ());
    let last = services.add_timeout(at(30), || ());
    assert!(services.remove_timeout(first));
    assert!(services.remove_timeout(late));
    assert_eq!(host.asked.take(), [""; 0]);
    assert_eq!(services.core().turn(), Some(at(10)));
    assert!(services.remove_timeout(last));
    assert_eq!(host.asked.take(), [""; 0]);

    let (services, host, _) = self::host();
    let only = services.add_timeout(at(10), || ());
    assert!(services.remove_timeout(only));
    assert_eq!(host.timer.get(), None);
    services.add_timeout(at(20), || ());
    assert_eq!(host.timer.get(), Some(at(20)));
}

/// Regression: a turn that leaves something to do asks for the next by the host's timer.
#[test]
fn the_removal_of_the_last_timer_leaves_the_turn_that_is_owed() {
    let (services, host, _) = host();
    let only = services.call_later(Duration::from_secs(1), || ());
    let weak = services.downgrade();
    services.add_callback(move || weak.upgrade().unwrap().add_callback(|| ()));
    let next = services.core().turn();
    host.set_timer(next);
    assert!(services.remove_timeout(only));
    assert_eq!(host.timer.get(), next);
    assert_eq!(services.core().turn(), None);
}

#[test]
fn the_waker_is_called_once_for_all_that_waits() {
    let (services, _, wakes) = host();
    let remote = services.remote();
    let posts = || (0..1000).for_each(|_| remote.add_callback(|| ()).unwrap());
    posts();
    assert_eq!(wakes.take(), 1);
    services.core().turn();
    posts();
    assert_eq!(wakes.take(), 1);
    services.core().detach();
    assert_eq!(remote.add_callback(|| ()), Err(LoopError::Gone));
    assert_eq!(wakes.take(), 0);
}

#[test]
fn a_panic_is_caught_told_and_loses_only_that_call() {
    let (services, _, _) = host();
    let trace = Trace::new();
    let t = trace.clone();
    services.core().set_on_panic(move |message| {
        t.add(message.to_owned());
        panic!("in on_panic");
    });
    services.add_callback(|| panic!("callback"));
    services.add_callback(|| panic!("{}", "formatted"));
    services.add_callback(|| std::panic::panic_any(1));
    services.remote().add_callback(|| panic!("remote")).unwrap();
    services.add_timeout(Instant::now(), || panic!("timer"));
    let t = trace.clone();
    services.add_timeout(Instant::now(), move || t.add("last".into()));
    assert_eq!(services.core().turn(), None);
    let expected = ["callback", "formatted", "not a message", "remote", "timer", "last"];
    assert_eq!(trace.take(), expected);
}

#[test]
fn a_nested_turn_does_nothing_and_is_made_up_for() {
    let (services, host, wakes) = host();
    let ran = Trace::new();
    let (weak, r) = (services.downgrade(), ran.clone());
    services.add_callback(move || {
        let services = weak.upgrade().unwrap();
        services.add_callback(move || r.add("later"));
        assert_eq!(services.core().turn(), None);
    });
    assert!(services.core().turn().is_some());
    assert_eq!(ran.take(), [""; 0]);
    assert_eq!(wakes.take(), 1);
    assert_eq!(services.core().turn(), None);
    assert_eq!(ran.take(), ["later"]);
    assert_eq!(host.asked.take(), ["defer"]);
}

#[test]
fn detach_drops_everything_and_may_be_called_from_a_callback_and_twice() {
    let (services, host, _) = host();
    let drops = Drops::default();
    let (first, second, timer) = (drops.probe(), drops.probe(), drops.probe());
    let (on_panic, lookup) = (drops.probe(), drops.probe());
    let weak = services.downgrade();
    services.add_callback(move || {
        let _first = &first;
        let services = weak.upgrade().unwrap();
        services.core().detach();
        services.core().detach();
        services.add_callback(|| panic!("gone"));
        services.call_later(Duration::ZERO, || panic!("gone"));
    });
    services.add_callback(move || drop(second));
    services.call_later(Duration::ZERO, move || drop(timer));
    services.resolve("127.0.0.1", 1, Box::new(move |_| drop(lookup)));
    services.core().set_on_panic(move |_| keep(&on_panic));
    assert_eq!(services.core().turn(), None);
    assert_eq!(drops.count(), 5);
    services.core().set_on_panic(|_| ());
    host.asked.take();
    services.add_callback(|| panic!("gone"));
    services.add_timeout(Instant::now(), || panic!("gone"));
    assert_eq!(services.core().turn(), None);
    assert_eq!(host.asked.take(), [""; 0]);
}

/// A core that is dropped without `detach` lets go of everything too.
#[test]
fn the_drop_of_the_core_detaches() {
    let (services, host, _) = host();
    let (remote, drops) = (services.remote(), Drops::default());
    let probe = drops.probe();
    services.call_later(Duration::ZERO, move || drop(probe));
    drop((services, host));
    assert_eq!(drops.count(), 1);
    assert_eq!(remote.add_callback(|| ()), Err(LoopError::Gone));
}

#[test]
fn an_adapter_that_cannot_watch_fails_a_connect_from_its_turn() {
    let (services, _, _) = host();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let outcome = Rc::new(RefCell::new(None));
    let o = Rc::clone(&outcome);
    let address = listener.local_addr().unwrap();
    services.connect_socket(address, Some(Duration::from_secs(1)), move |result| {
        *o.borrow_mut() = Some(result.map(drop));
    });
    assert!(outcome.borrow().is_none());
    assert_eq!(services.core().turn(), None);
    let outcome = outcome.take().unwrap().unwrap_err();
    assert_eq!(outcome.kind(), io::ErrorKind::Unsupported);
}

/// The handler is held by the dispatch, and with it the socket that is handed over.
#[test]
fn a_host_may_hold_a_handler_while_it_dispatches() {
    let (services, host, _) = host();
    host.can_watch.set(true);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connected = Rc::new(Cell::new(None));
    let c = Rc::clone(&connected);
    services.connect_socket(address, None, move |result| c.set(Some(result.unwrap())));
    let handler = host.watched.borrow().clone().unwrap();
    Rc::clone(&handler).on_ready(Ready::WRITE);
    assert!(host.watched.borrow().is_none());
    drop(handler);
    let stream = std::net::TcpStream::from(connected.take().unwrap());
    assert_eq!(stream.peer_addr().unwrap(), address);
}

#[test]
fn a_connect_sees_through_spurious_readiness() {
    let (services, host, _) = host();
    host.can_watch.set(true);
    let (_listener, _fillers, address) = crate::connecting::full_listener();
    let timeout = Some(Duration::from_secs(3600));
    services.connect_socket(address, timeout, |_| panic!("not connected")).cancel();
    let attempt = services.connect_socket(address, timeout, |_| panic!("not connected"));
    let handler = host.watched.borrow().clone().unwrap();
    assert_eq!(handler.on_ready(Ready::WRITE), Ready::WRITE);
    attempt.cancel();
    assert!(host.watched.borrow().is_none());
    assert_eq!(host.timer.get(), None);
}
