//! mio's selector and waker. mio itself is edge-triggered; descriptors are put on its selector
//! directly, without the edge (see `level`).

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use super::limit::Limit;
use super::{Event, Interest, Poller, Token, level};

/// Events taken at once. Those beyond come with the next wait.
const CAPACITY: usize = 1024;

const WAKE: mio::Token = mio::Token(usize::MAX);
const LIMIT: mio::Token = mio::Token(usize::MAX - 1);

pub(in crate::ioloop) struct MioPoller {
    poll: mio::Poll,
    events: mio::Events,
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
        let waker = Arc::new(MioWaker(mio::Waker::new(poll.registry(), WAKE)?)).into();
        Ok(Self { poll, events: mio::Events::with_capacity(CAPACITY), limit, waker })
    }
}

impl Poller for MioPoller {
    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn add(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        level::add(self.poll.registry(), fd, token, interest)
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        old: Interest,
        new: Interest,
    ) -> io::Result<()> {
        level::modify(self.poll.registry(), fd, token, old, new)
    }

    fn remove(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        level::remove(self.poll.registry(), fd, interest)
    }

    fn wait(&mut self, deadline: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        loop {
            let timeout = self.limit.timeout(deadline)?;
            match self.poll.poll(&mut self.events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        }
        for event in &self.events {
            match event.token() {
                WAKE => {}
                LIMIT => self.limit.expired(),
                mio::Token(token) => {
                    events.push(Event { token: Token(token), ready: level::ready(event) });
                }
            }
        }
        Ok(())
    }
}
