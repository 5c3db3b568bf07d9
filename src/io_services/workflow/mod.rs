//! From the parameters of several hosts to a connected socket, with TLS on it if it is to be, and on
//! to the next one when AMQP cannot be opened over it. [`Plan`] says what to do; here it is done, on any loop.

mod addresses;
mod failures;
mod pauses;
mod plan;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use socket2::SockRef;

#[cfg(feature = "tls")]
use super::tls::TlsHandshake;
use super::{ConnectAttempt, Connected, Lookup, Services, WeakServices};
use crate::connection::{ConnectionParameters, ConnectionWorkflow, Limit};
use crate::error::Error;
#[cfg(feature = "tls")]
use crate::error::TlsError;
use crate::ioloop::TimerId;
use plan::{Action, AttemptId, Plan};

/// What a workflow has come to.
pub(crate) enum Progress {
    /// A socket is connected, over which AMQP is to be opened within the limit.
    Connected { connected: Connected, parameters: Box<ConnectionParameters>, limit: Option<Limit> },
    /// There will be no connection.
    Failed(Error),
}

pub(crate) type OnProgress = Box<dyn Fn(Progress)>;

/// A workflow under way. Dropping it abandons it.
pub(crate) struct Workflow(Rc<Steps>);

struct Steps {
    services: WeakServices,
    plan: RefCell<Plan>,
    lookup: Cell<Option<Lookup>>,
    attempts: RefCell<Vec<(AttemptId, ConnectAttempt)>>,
    #[cfg(feature = "tls")]
    handshake: Cell<Option<TlsHandshake>>,
    timer: Cell<Option<(Instant, TimerId)>>,
    on_progress: OnProgress,
}

impl Workflow {
    /// Starts it, in the loop's next turn. `on_progress` is called from the loop: each time a
    /// socket is connected, and once if nothing is left to try.
    pub(crate) fn start(
        services: &Services,
        workflow: ConnectionWorkflow,
        on_progress: OnProgress,
    ) -> Self {
        Self::begin(services, workflow, on_progress, |steps| steps.tell(None, Plan::start))
    }

    /// Starts it with a socket that the user has connected.
    pub(crate) fn start_over(
        services: &Services,
        socket: OwnedFd,
        parameters: ConnectionParameters,
        on_progress: OnProgress,
    ) -> Self {
        Self::begin(services, parameters.into(), on_progress, |steps| {
            match SockRef::from(&socket).set_nonblocking(true) {
                Ok(()) => steps.tell(Some(socket), Plan::start_connected),
                Err(error) => (steps.on_progress)(Progress::Failed(error.into())),
            }
        })
    }

    fn begin(
        services: &Services,
        workflow: ConnectionWorkflow,
        on_progress: OnProgress,
        begin: impl FnOnce(&Rc<Steps>) + 'static,
    ) -> Self {
        let seed = RandomState::new().build_hasher().finish();
        let steps = Rc::new(Steps {
            services: services.downgrade(),
            plan: RefCell::new(Plan::new(workflow, seed)),
            lookup: Cell::new(None),
            attempts: RefCell::default(),
            #[cfg(feature = "tls")]
            handshake: Cell::new(None),
            timer: Cell::new(None),
            on_progress,
        });
        let weak = Rc::downgrade(&steps);
        services.add_callback(move || {
            if let Some(steps) = weak.upgrade() {
                begin(&steps);
            }
        });
        Self(steps)
    }

    /// AMQP could not be opened over the socket that was connected last. Goes on to the next thing
    /// to try.
    ///
    /// # Errors
    /// What to end with, if nothing is left to try.
    pub(crate) fn failed(&self, cause: Error) -> Result<(), Error> {
        let Some(services) = self.0.services.upgrade() else { return Err(cause) };
        if !self.0.plan.borrow().is_opening() {
            return Err(cause);
        }
        self.0.plan.borrow_mut().failed(services.now(), cause);
        self.0.act(&services, None)
    }

    /// Leaves nothing with the loop, and tells nothing any more.
    pub(crate) fn abandon(&self) {
        if let Some(lookup) = self.0.lookup.take() {
            lookup.cancel();
        }
        for (_, attempt) in self.0.attempts.take() {
            attempt.cancel();
        }
        #[cfg(feature = "tls")]
        drop(self.0.handshake.take());
        if let Some(services) = self.0.services.upgrade() {
            self.0.arm(&services, None);
        }
    }
}

impl Drop for Workflow {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Steps {
    /// Something has happened: tells the plan, and does what it says.
    fn tell(self: &Rc<Self>, socket: Option<OwnedFd>, happened: impl FnOnce(&mut Plan, Instant)) {
        let Some(services) = self.services.upgrade() else { return };
        happened(&mut self.plan.borrow_mut(), services.now());
        if let Err(error) = self.act(&services, socket) {
            (self.on_progress)(Progress::Failed(error));
        }
    }

    /// `socket` is the one that has just connected, if that is what has happened.
    fn act(self: &Rc<Self>, services: &Services, mut socket: Option<OwnedFd>) -> Result<(), Error> {
        loop {
            let action = self.plan.borrow_mut().next_action();
            match action {
                None => break,
                Some(Action::Resolve) => self.resolve(services),
                Some(Action::CancelLookup) => {
                    if let Some(lookup) = self.lookup.take() {
                        lookup.cancel();
                    }
                }
                Some(Action::Connect(id, address)) => self.connect(services, id, address),
                Some(Action::Cancel(id)) => {
                    if let Some(attempt) = self.take_attempt(id) {
                        attempt.cancel();
                    }
                }
                Some(Action::Open(limit)) => {
                    let parameters = self.plan.borrow().parameters().cloned();
                    if let Some((socket, parameters)) = socket.take().zip(parameters) {
                        self.open(services, socket, Box::new(parameters), limit);
                    }
                }
                Some(Action::GiveUp(error)) => {
                    self.arm(services, None);
                    return Err(error);
                }
            }
        }
        let deadline = self.plan.borrow().deadline();
        self.arm(services, deadline);
        Ok(())
    }

    fn resolve(self: &Rc<Self>, services: &Services) {
        let plan = self.plan.borrow();
        let Some(parameters) = plan.parameters() else { return };
        let (host, port) = (parameters.host().to_owned(), parameters.port());
        drop(plan);
        let weak = Rc::downgrade(self);
        let on_resolved = Box::new(move |resolved: io::Result<Vec<SocketAddr>>| {
            if let Some(steps) = weak.upgrade() {
                steps.lookup.take();
                steps.tell(None, |plan, now| plan.resolved(now, resolved));
            }
        });
        self.lookup.set(Some(services.resolve(&host, port, on_resolved)));
    }

    fn connect(self: &Rc<Self>, services: &Services, id: AttemptId, address: SocketAddr) {
        let plan = self.plan.borrow();
        let options = plan.parameters().map(|parameters| parameters.tcp_options().clone());
        drop(plan);
        let weak = Rc::downgrade(self);
        let attempt = services.connect_with(address, options.as_ref(), None, move |connected| {
            if let Some(steps) = weak.upgrade() {
                steps.take_attempt(id);
                let (socket, connected) = match connected {
                    Ok(socket) => (Some(socket), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                steps.tell(socket, |plan, now| plan.connected(now, id, connected));
            }
        });
        self.attempts.borrow_mut().push((id, attempt));
    }

    /// Goes on with a socket that is connected.
    fn open(
        self: &Rc<Self>,
        services: &Services,
        socket: OwnedFd,
        parameters: Box<ConnectionParameters>,
        limit: Option<Limit>,
    ) {
        #[cfg(feature = "tls")]
        if let Some(options) = parameters.tls().cloned() {
            let host = parameters.host().to_owned();
            let weak = Rc::downgrade(self);
            let done = move |secured| {
                let Some(steps) = weak.upgrade() else { return };
                drop(steps.handshake.take());
                match secured {
                    Ok(stream) => {
                        let connected = Connected::Secured(stream);
                        (steps.on_progress)(Progress::Connected { connected, parameters, limit });
                    }
                    Err(cause) => {
                        let cause: TlsError = cause;
                        steps.tell(None, |plan, now| plan.failed(now, cause.into()));
                    }
                }
            };
            let handshake = TlsHandshake::start(services, socket, &options, &host, limit, done);
            return self.handshake.set(Some(handshake));
        }
        #[cfg(not(feature = "tls"))]
        let _ = services;
        let connected = Connected::Plain(socket);
        (self.on_progress)(Progress::Connected { connected, parameters, limit });
    }

    fn take_attempt(&self, id: AttemptId) -> Option<ConnectAttempt> {
        let mut attempts = self.attempts.borrow_mut();
        let index = attempts.iter().position(|(known, _)| *known == id)?;
        Some(attempts.swap_remove(index).1)
    }

    fn arm(self: &Rc<Self>, services: &Services, deadline: Option<Instant>) {
        if self.timer.get().map(|(armed, _)| armed) == deadline {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            services.remove_timeout(timer);
        }
        let Some(deadline) = deadline else { return };
        let weak = Rc::downgrade(self);
        let timer = services.add_timeout(deadline, move || {
            if let Some(steps) = weak.upgrade() {
                steps.timer.set(None);
                steps.tell(None, Plan::deadline_passed);
            }
        });
        self.timer.set(Some((deadline, timer)));
    }
}
