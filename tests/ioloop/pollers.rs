//! Every poller that a scenario runs over, and what it promises beyond what all of them do.

use std::os::fd::RawFd;

use haypile::{IOLoop, PollerKind, Ready};

/// Handed to each scenario. Where the scenario's outcome is the poller's own, it asks here.
#[derive(Clone, Copy, Debug)]
pub struct Poller(PollerKind);

pub const MIO: Poller = Poller(PollerKind::Mio);
pub const POLLING: Poller = Poller(PollerKind::Polling);
pub const POLL: Poller = Poller(PollerKind::Poll);
pub const SELECT: Poller = Poller(PollerKind::Select);

/// On epoll, unless on a kqueue.
const HAS_EPOLL: bool = cfg!(any(target_os = "linux", target_os = "android"));

impl Poller {
    pub const ALL: [Self; 4] = [MIO, POLLING, POLL, SELECT];

    pub fn new_loop(self) -> IOLoop {
        IOLoop::with_poller(self.0).unwrap()
    }

    pub fn kind(self) -> PollerKind {
        self.0
    }

    /// Whether it waits by the system's queue: epoll or kqueue.
    pub fn has_queue(self) -> bool {
        matches!(self.0, PollerKind::Mio | PollerKind::Polling)
    }

    /// Whether files of a disk can be watched, which are always ready.
    pub fn takes_files(self) -> bool {
        !(self.has_queue() && HAS_EPOLL)
    }

    /// The first descriptor that is refused.
    pub fn limit(self) -> Option<RawFd> {
        matches!(self.0, PollerKind::Select).then_some(1024)
    }

    /// What is told of a hang-up or error to whoever watches for `interest`.
    pub fn hang_up(self, interest: Ready) -> Ready {
        match self.0 {
            PollerKind::Select => interest - Ready::ERROR,
            _ => interest | Ready::ERROR,
        }
    }
}

/// Makes a test of each scenario over each poller.
macro_rules! every_poller {
    ($($scenario:ident),* $(,)?) => {
        mod over_mio {
            $(#[test] fn $scenario() { super::$scenario(crate::pollers::MIO); })*
        }
        mod over_polling {
            $(#[test] fn $scenario() { super::$scenario(crate::pollers::POLLING); })*
        }
        mod over_poll {
            $(#[test] fn $scenario() { super::$scenario(crate::pollers::POLL); })*
        }
        mod over_select {
            $(#[test] fn $scenario() { super::$scenario(crate::pollers::SELECT); })*
        }
    };
}
pub(crate) use every_poller;
