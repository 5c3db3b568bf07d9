//! Level-triggered descriptors on mio's epoll: as mio does it, without `EPOLLET`, and waited for
//! without what mio's own wait adds to the system call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::{Token, timespec};
use crate::io_services::{Interest, Ready};

pub(super) fn add(
    epoll: impl AsFd,
    fd: BorrowedFd<'_>,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    Ok(epoll::add(epoll, fd, data(token), flags(interest))?)
}

pub(super) fn modify(
    epoll: impl AsFd,
    fd: BorrowedFd<'_>,
    token: Token,
    _old: Interest,
    new: Interest,
) -> io::Result<()> {
    Ok(epoll::modify(epoll, fd, data(token), flags(new))?)
}

pub(super) fn remove(epoll: impl AsFd, fd: BorrowedFd<'_>, _: Interest) -> io::Result<()> {
    Ok(epoll::delete(epoll, fd)?)
}

/// The system writes them straight to where the loop reads them.
pub(in crate::ioloop) use rustix::event::epoll::Event;

pub(super) fn event(token: Token, ready: Ready) -> Event {
    let mut told = flags(ready);
    told.set(EventFlags::ERR, ready.contains(Ready::ERROR));
    Event { flags: told, data: data(token) }
}

#[inline]
pub(in crate::ioloop) fn token(event: &Event) -> Token {
    Token(event.data.u64() as usize)
}

#[inline]
pub(in crate::ioloop) fn ready(event: &Event) -> Ready {
    let flags = event.flags;
    let mut ready = Ready::NONE;
    if flags.contains(EventFlags::IN) {
        ready |= Ready::READ;
    }
    if flags.contains(EventFlags::OUT) {
        ready |= Ready::WRITE;
    }
    ready
}

#[inline]
pub(in crate::ioloop) fn has_failed(event: &Event) -> bool {
    let flags = event.flags;
    flags.intersects(EventFlags::ERR | EventFlags::HUP)
}

/// mio's, waited for directly.
pub(super) struct Selector(mio::Poll);

impl Selector {
    pub(super) fn new(poll: mio::Poll) -> Self {
        Self(poll)
    }

    /// Waits for as long as `timeout` says, in milliseconds rounded up.
    #[inline]
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        events.clear();
        let (epoll, told) = (self.0.registry(), rustix::buffer::spare_capacity(events));
        match timeout {
            None => epoll::wait(epoll, told, None)?,
            Some(timeout) => epoll::wait(epoll, told, Some(&timespec(timeout)))?,
        };
        Ok(())
    }
}

/// mio reads its token from here.
fn data(token: Token) -> EventData {
    EventData::new_u64(token.0 as u64)
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.contains(Ready::READ));
    flags.set(EventFlags::OUT, interest.contains(Ready::WRITE));
    flags
}
