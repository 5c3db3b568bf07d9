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
    Event { flags: EventFlags::from_bits_retain(ready.bits().into()), data: data(token) }
}

#[inline]
pub(in crate::ioloop) fn token(event: &Event) -> Token {
    Token(event.data.u64() as usize)
}

/// Of one that has not failed: what is left of its bits is what it was watched for.
#[inline]
pub(in crate::ioloop) fn ready(event: &Event) -> Ready {
    let flags = event.flags;
    Ready::from_bits(flags.bits() as u8)
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

/// Errors are told of, wanted or not.
fn flags(interest: Interest) -> EventFlags {
    EventFlags::from_bits_retain((interest - Ready::ERROR).bits().into())
}

const _: () = {
    assert!(Ready::READ.bits() as u32 == EventFlags::IN.bits());
    assert!(Ready::WRITE.bits() as u32 == EventFlags::OUT.bits());
    assert!(Ready::ERROR.bits() as u32 == EventFlags::ERR.bits());
};
