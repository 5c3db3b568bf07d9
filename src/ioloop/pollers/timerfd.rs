//! Bounds a wait to the nanosecond: mio's own timeout is in milliseconds.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::{Event, Token, Wait, timespec, token};

/// A timerfd, set only when a wait must end earlier than it would. That it wakes the loop for a
/// deadline that was removed costs one turn; to set it for each would cost a system call a time.
pub(super) struct Limit {
    timerfd: OwnedFd,
    token: Token,
    /// What it is set to, until it has expired and said so.
    armed: Cell<Option<Instant>>,
}

impl Limit {
    /// Registered once and edge-triggered, so that it is never read: to set it resets it.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timerfd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let fd = timerfd.as_raw_fd();
        registry.register(&mut SourceFd(&fd), mio::Token(token.0), Interest::READABLE)?;
        Ok(Self { timerfd, token, armed: Cell::new(None) })
    }

    /// The timeout to wait with, so that the wait ends in time, or for nothing before it. The clock
    /// is not looked at if the timerfd sees to it already: even one that has expired meanwhile has
    /// still to say so.
    #[inline]
    pub(super) fn timeout(&self, wait: Wait) -> io::Result<Option<Duration>> {
        match wait {
            Wait::Not => Ok(Some(Duration::ZERO)),
            Wait::Forever => Ok(None),
            Wait::Until(deadline) if self.armed.get().is_some_and(|armed| armed <= deadline) => {
                Ok(None)
            }
            Wait::Until(deadline) => self.arm(deadline),
        }
    }

    #[inline(never)]
    fn arm(&self, deadline: Instant) -> io::Result<Option<Duration>> {
        let left = Wait::Until(deadline).left().unwrap_or_default();
        if left.is_zero() {
            return Ok(Some(Duration::ZERO));
        }
        let value = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        timerfd_settime(&self.timerfd, TimerfdTimerFlags::empty(), &value)?;
        self.armed.set(Some(deadline));
        Ok(None)
    }

    /// To be called with what each wait has told: that it expired may be among that.
    #[inline]
    pub(super) fn note_expired(&self, events: &[Event]) {
        let is_its = |event| token(event) == self.token;
        if self.armed.get().is_some() && events.iter().any(is_its) {
            self.armed.set(None);
        }
    }
}
