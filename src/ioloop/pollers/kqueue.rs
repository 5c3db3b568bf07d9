//! Level-triggered descriptors on mio's kqueue: as mio does it, without `EV_CLEAR`.
//!
//! A kqueue watches by filters: one for reading and one for writing. Each is one event, and errors
//! come with either; a descriptor watched for errors alone is not watched.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::event::kqueue::{Event as Change, EventFilter, EventFlags, kevent_timespec};
use rustix::io::Errno;

use super::{EVENTS, Token};
use crate::io_services::{Interest, Ready};

pub(super) fn add(
    kqueue: impl AsFd,
    fd: BorrowedFd<'_>,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    modify(kqueue, fd, token, Interest::NONE, interest)
}

pub(super) fn modify(
    kqueue: impl AsFd,
    fd: BorrowedFd<'_>,
    token: Token,
    old: Interest,
    new: Interest,
) -> io::Result<()> {
    let filters = [
        (Ready::READ, EventFilter::Read(fd.as_raw_fd())),
        (Ready::WRITE, EventFilter::Write(fd.as_raw_fd())),
    ];
    for (condition, filter) in filters {
        match (old.contains(condition), new.contains(condition)) {
            (false, true) => change(&kqueue, filter, EventFlags::ADD, token)?,
            (true, false) => change(&kqueue, filter, EventFlags::DELETE, token)?,
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn remove(kqueue: impl AsFd, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    modify(kqueue, fd, Token(0), interest, Interest::NONE)
}

#[derive(Clone, Copy)]
pub(in crate::ioloop) struct Event {
    token: Token,
    ready: Ready,
}

pub(super) fn event(token: Token, ready: Ready) -> Event {
    Event { token, ready }
}

pub(in crate::ioloop) fn token(event: &Event) -> Token {
    event.token
}

pub(in crate::ioloop) fn ready(event: &Event) -> Ready {
    event.ready
}

pub(in crate::ioloop) fn has_failed(event: &Event) -> bool {
    event.ready.contains(Ready::ERROR)
}

/// mio's, waited for as mio does it.
pub(super) struct Selector(RefCell<(mio::Poll, mio::Events)>);

impl Selector {
    pub(super) fn new(poll: mio::Poll) -> Self {
        Self(RefCell::new((poll, mio::Events::with_capacity(EVENTS))))
    }

    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let (poll, told) = &mut *self.0.borrow_mut();
        poll.poll(told, timeout)?;
        events.clear();
        events.extend(told.iter().map(|told| event(Token(told.token().0), conditions(told))));
        Ok(())
    }
}

fn conditions(event: &mio::event::Event) -> Ready {
    let mut ready = Ready::NONE;
    if event.is_readable() {
        ready |= Ready::READ;
    }
    if event.is_writable() {
        ready |= Ready::WRITE;
    }
    // The end of what can be read is no error; that nothing can be written any more is one.
    if event.is_error() || event.is_write_closed() {
        ready |= Ready::ERROR;
    }
    ready
}

/// One change a call: its error is then the call's.
fn change(
    kqueue: impl AsFd,
    filter: EventFilter,
    flags: EventFlags,
    token: Token,
) -> io::Result<()> {
    // mio reads its token from the user data, which nobody takes for a pointer.
    let change = Change::new(filter, flags, token.0 as *mut _);
    let mut events: [Change; 0] = [];
    #[allow(unsafe_code)]
    // SAFETY: the filter names a descriptor that the caller of this module has borrowed.
    let done = unsafe { kevent_timespec(kqueue, &[change], &mut events[..], None) };
    match done {
        Ok(_) => Ok(()),
        // macOS says so of a pipe whose other end is closed, and watches it all the same.
        Err(Errno::PIPE) if flags.contains(EventFlags::ADD) => Ok(()),
        // All changes were made.
        Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
