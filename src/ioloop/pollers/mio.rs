//! mio's selector and waker. mio itself is edge-triggered; descriptors are put on its selector
//! directly, without the edge (see `level`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::limit::Limit;
use super::{Event, Interest, Poller, Token, WAKE, Wait, level};

const LIMIT: Token = Token(WAKE.0 - 1);

pub(in crate::ioloop) struct MioPoller {
    /// Beside the selector's own.
    registry: mio::Registry,
    selector: level::Selector,
    limit: Limit,
    waker: Waker,
}

/// In an `Arc`, through which the loop and every waker share the eventfd: one that is closed
/// takes its wake along.
struct MioWaker(mio::Waker);

impl Wake for MioWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            log::error!("cannot wake the event loop: {error}");
        }
    }
}

impl MioPoller {
    pub(in crate::ioloop) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let limit = Limit::new(poll.registry(), LIMIT)?;
        let waker =
            Arc::new(MioWaker(mio::Waker::new(poll.registry(), mio::Token(WAKE.0))?)).into();
        let registry = poll.registry().try_clone()?;
        Ok(Self { registry, selector: level::Selector::new(poll), limit, waker })
    }
}

/// A signal does not end a wait.
#[cold]
fn interrupted(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

impl Poller for MioPoller {
    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn add(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        level::add(&self.registry, fd, token, interest)
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        old: Interest,
        new: Interest,
    ) -> io::Result<()> {
        level::modify(&self.registry, fd, token, old, new)
    }

    fn remove(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        level::remove(&self.registry, fd, interest)
    }

    #[inline(always)]
    fn wait(&self, wait: Wait, events: &mut Vec<Event>) -> io::Result<bool> {
        loop {
            let timeout = self.limit.timeout(wait)?;
            match self.selector.wait(timeout, events) {
                Ok(()) => {
                    self.limit.note_expired(events);
                    return Ok(timeout.is_none());
                }
                Err(error) => interrupted(error)?,
            }
        }
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.registry.as_fd())
    }
}
