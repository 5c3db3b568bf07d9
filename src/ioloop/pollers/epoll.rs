//! Level-triggered descriptors on mio's epoll: as mio does it, without `EPOLLET`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Event;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::Token;
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

pub(super) fn ready(event: &Event) -> Ready {
    let mut ready = Ready::NONE;
    if event.is_readable() {
        ready |= Ready::READ;
    }
    if event.is_writable() {
        ready |= Ready::WRITE;
    }
    // With `EPOLLRDHUP` never asked for, a closed read side means `EPOLLHUP`.
    if event.is_error() || event.is_read_closed() {
        ready |= Ready::ERROR;
    }
    ready
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
