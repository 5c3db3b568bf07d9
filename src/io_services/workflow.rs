//! From a host's name to a connected socket: resolve, then try each address in turn.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{ConnectAttempt, Lookup, Services, WeakServices};
use crate::connection::TcpOptions;
use crate::error::{ConnectError, IoError};

type Done = Box<dyn FnOnce(Result<OwnedFd, ConnectError>)>;

/// A connect workflow under way. Dropping it abandons it: `done` is dropped uncalled.
pub(crate) struct Workflow(Rc<Steps>);

struct Steps {
    services: WeakServices,
    host: String,
    timeout: Option<Duration>,
    options: TcpOptions,
    /// Addresses still to try, the next one last.
    addresses: RefCell<Vec<SocketAddr>>,
    failures: RefCell<Vec<(SocketAddr, IoError)>>,
    lookup: Cell<Option<Lookup>>,
    attempt: Cell<Option<ConnectAttempt>>,
    done: RefCell<Option<Done>>,
}

impl Workflow {
    /// Starts it. `done` is called once, from the loop. `timeout` is for each address.
    pub(crate) fn start(
        services: &Services,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
        options: TcpOptions,
        done: Done,
    ) -> Self {
        let steps = Rc::new(Steps {
            services: services.downgrade(),
            host: host.to_owned(),
            timeout,
            options,
            addresses: RefCell::default(),
            failures: RefCell::default(),
            lookup: Cell::new(None),
            attempt: Cell::new(None),
            done: RefCell::new(Some(done)),
        });
        let weak = Rc::downgrade(&steps);
        let on_resolved = Box::new(move |resolved| {
            if let Some(steps) = weak.upgrade() {
                steps.resolved(resolved);
            }
        });
        steps.lookup.set(Some(services.resolve(host, port, on_resolved)));
        Self(steps)
    }
}

impl Drop for Workflow {
    fn drop(&mut self) {
        if let Some(lookup) = self.0.lookup.take() {
            lookup.cancel();
        }
        if let Some(attempt) = self.0.attempt.take() {
            attempt.cancel();
        }
        drop(self.0.done.take());
    }
}

impl Steps {
    fn resolved(self: &Rc<Self>, resolved: io::Result<Vec<SocketAddr>>) {
        let resolved = resolved.and_then(|addresses| match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(addresses),
        });
        match resolved {
            Ok(mut addresses) => {
                addresses.reverse();
                self.addresses.replace(addresses);
                self.try_next();
            }
            Err(cause) => {
                let host = self.host.clone();
                self.finish(Err(ConnectError::Resolve { host, cause: cause.into() }));
            }
        }
    }

    fn try_next(self: &Rc<Self>) {
        let Some(services) = self.services.upgrade() else { return };
        let next = self.addresses.borrow_mut().pop();
        let Some(address) = next else {
            let (host, failures) = (self.host.clone(), self.failures.take());
            return self.finish(Err(ConnectError::Unreachable { host, failures }));
        };
        let weak: Weak<Self> = Rc::downgrade(self);
        let attempt =
            services.connect_with(address, Some(&self.options), self.timeout, move |connected| {
                if let Some(steps) = weak.upgrade() {
                    steps.tried(address, connected);
                }
            });
        self.attempt.set(Some(attempt));
    }

    fn tried(self: &Rc<Self>, address: SocketAddr, connected: io::Result<OwnedFd>) {
        match connected {
            Ok(socket) => self.finish(Ok(socket)),
            Err(error) => {
                self.failures.borrow_mut().push((address, error.into()));
                self.try_next();
            }
        }
    }

    fn finish(&self, result: Result<OwnedFd, ConnectError>) {
        let done = self.done.take();
        if let Some(done) = done {
            done(result);
        }
    }
}
