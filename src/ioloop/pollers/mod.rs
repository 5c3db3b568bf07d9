//! The system's ways to wait for descriptors, one file a backend, all with the same few methods.
//!
//! All are level-triggered: what a handler left unread is told again. A hang-up or an error is told
//! as [`Ready::ERROR`], and belongs to what the descriptor is watched for; the loop adds that.

mod any;
mod kind;
mod mio;
mod poll;
mod polling;
mod select;
mod wake_pair;

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "epoll.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "kqueue.rs")]
mod level;

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "timerfd.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "timeout.rs")]
mod limit;

use std::io;
use std::os::fd::BorrowedFd;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::event::Timespec;

pub(super) use self::any::AnyPoller;
pub use self::kind::PollerKind;
pub(super) use self::level::{Event, has_failed, ready, token};
#[cfg(feature = "libevent")]
pub(crate) use self::wake_pair::WakePair;
use crate::io_services::{Interest, Ready};

/// What a poller hands back with an event. The two highest numbers are the pollers' own: whoever
/// looks for one among the descriptors finds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) usize);

/// Room for events, which an epoll or a kqueue fills at most. Those beyond come with the next wait.
pub(super) const EVENTS: usize = 1024;

/// The waker's.
const WAKE: Token = Token(usize::MAX);

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

    /// Waits for events or a wake, and puts the events into `events`, in place of what is there. It may
    /// return early with none. True: the wait stands, and a next one for ever ends with an event: one
    /// of the poller's own tokens for a wake, or when the time comes that `wait` named.
    fn wait(&self, wait: Wait, events: &mut Vec<Event>) -> io::Result<bool>;

    /// A descriptor that is readable when a wait would give something, deadlines apart.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Only look.
    Not,
    Until(Instant),
    Forever,
}

impl Wait {
    /// The time to wait, by the clock. What is longer than a system call takes is cut short: a wait
    /// may end early.
    fn left(self) -> Option<Duration> {
        match self {
            Self::Not => Some(Duration::ZERO),
            Self::Until(deadline) => {
                Some(deadline.saturating_duration_since(Instant::now()).min(LONGEST))
            }
            Self::Forever => None,
        }
    }

    fn left_as_timespec(self) -> Option<Timespec> {
        self.left().map(timespec)
    }
}

fn timespec(left: Duration) -> Timespec {
    Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() }
}

/// Longer than any machine is up.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
