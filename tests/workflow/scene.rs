//! A loop whose names resolve to what a test says.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{
    Connection, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow, Error, FdHandler,
    FdKey, Interest, IoServices, Lookup, LoopCore, ResolveCallback, Services,
};

use crate::support::peers::{SECRET, dead_end, parameters_of};
use crate::support::{Host, close, logs};

/// What the callbacks of a connection were told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Opened,
    Failed(Error),
    Closed,
}

/// A loop whose names resolve to what a test says.
pub struct Scene<H> {
    pub host: H,
    pub services: Services,
    told: Rc<RefCell<Vec<Told>>>,
}

#[derive(Clone)]
pub enum Answer {
    Addresses(Vec<SocketAddr>),
    Never,
}

impl<H: Host> Scene<H> {
    pub fn new(names: &[(&str, Answer)]) -> Self {
        logs::keep();
        let host = H::new();
        let names = names.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone()));
        let services = Services::new(Named { host: host.services(), names: names.collect() });
        Self { host, services, told: Rc::default() }
    }

    /// Starts to connect. It is closed when it is open; the loop ends when the connection has.
    pub fn connect(&self, workflow: impl Into<ConnectionWorkflow>) -> Connection {
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
    pub fn run(self) -> Vec<Told> {
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

    pub fn run_into_failure(self) -> Error {
        let told = self.run();
        let [Told::Failed(error)] = &told[..] else { panic!("{told:?}") };
        error.clone()
    }

    pub fn opens(self, workflow: impl Into<ConnectionWorkflow>) {
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

/// Parameters of a host that takes long, wherever it gets stuck.
pub fn slow(name: &str) -> ConnectionParameters {
    let mut parameters = parameters_of(dead_end());
    parameters.set_host(name);
    parameters
}

pub const MOMENT: Duration = Duration::from_millis(20);
pub const HOUR: Duration = Duration::from_secs(3600);
