//! Bounds a wait to the nanosecond: mio's own timeout is in milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::time_left;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timerfd, set only when a wait must end earlier than it would. That it wakes the loop for a
/// deadline that was removed costs one turn; to set it for each would cost a system call a time.
pub(super) struct Limit {
    timerfd: OwnedFd,
    /// What it is set to, until it has expired and said so.
    armed: Option<Instant>,
}

impl Limit {
    /// Registered once and edge-triggered, so that it is never read: to set it resets it.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timerfd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timerfd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timerfd, armed: None })
    }

    /// The timeout to wait with, so that the wait ends at `deadline`, or for nothing before it.
    pub(super) fn timeout(&mut self, deadline: Option<Instant>) -> io::Result<Option<Duration>> {
        let (Some(deadline), Some(left)) = (deadline, time_left(deadline)) else { return Ok(None) };
        if (left.tv_sec, left.tv_nsec) == (0, 0) {
            return Ok(Some(Duration::ZERO));
        }
        if self.armed.is_none_or(|armed| deadline < armed) {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let value = Itimerspec { it_interval: zero, it_value: left };
            timerfd_settime(&self.timerfd, TimerfdTimerFlags::empty(), &value)?;
            self.armed = Some(deadline);
        }
        Ok(None)
    }

    /// The wait has told that it expired.
    pub(super) fn expired(&mut self) {
        self.armed = None;
    }
}
