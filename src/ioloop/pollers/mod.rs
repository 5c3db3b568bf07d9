//! The system's ways to wait for descriptors, one file a backend, all with the same few methods.
//!
//! All are level-triggered: what a handler left unread is told again. A hang-up or an error is told
//! as [`Ready::ERROR`], and belongs to what the descriptor is watched for; the loop adds that.

mod mio;

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "epoll.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "kqueue.rs")]
mod level;

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "timerfd.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "timeout.rs")]
mod limit;

use std::io;
use std::os::fd::BorrowedFd;
use std::task::Waker;
use std::time::Instant;

pub(super) use self::mio::MioPoller;
use crate::io_services::{Interest, Ready};

/// What a poller hands back with an event. The two highest numbers are the pollers' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) usize);

pub(super) struct Event {
    pub(super) token: Token,
    pub(super) ready: Ready,
}

/// A backend. A descriptor that is watched for nothing is not in it at all, since a hang-up would
/// be told for ever.
pub(super) trait Poller {
    /// Wakes a `wait`, the one under way or else the next, from any thread. It holds what it needs
    /// open, so that it may outlive the poller.
    fn waker(&self) -> Waker;

    fn add(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()>;

    /// `old` is what the descriptor is watched for so far.
    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        old: Interest,
        new: Interest,
    ) -> io::Result<()>;

    /// Called before the descriptor is closed.
    fn remove(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()>;

    /// Waits for events or a wake, at most until `deadline`, and puts the events into `events`,
    /// which is empty. It may return early with none. A deadline that has passed only looks.
    fn wait(&mut self, deadline: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()>;
}
