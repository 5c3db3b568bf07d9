//! The poller of a loop. The default's wait is known to the compiler: it is the hottest of all calls.

use std::io;
use std::ops::Deref;

use super::mio::MioPoller;
use super::poll::PollPoller;
use super::polling::PollingPoller;
use super::select::SelectPoller;
use super::{Event, Poller, PollerKind, Wait};

pub(in crate::ioloop) enum AnyPoller {
    Mio(MioPoller),
    Other(Box<dyn Poller>),
}

impl AnyPoller {
    pub(in crate::ioloop) fn open(kind: PollerKind) -> io::Result<Self> {
        Ok(match kind {
            PollerKind::Mio => Self::Mio(MioPoller::new()?),
            PollerKind::Polling => Self::Other(Box::new(PollingPoller::new()?)),
            PollerKind::Poll => Self::Other(Box::new(PollPoller::new()?)),
            PollerKind::Select => Self::Other(Box::new(SelectPoller::new()?)),
        })
    }

    #[inline]
    pub(in crate::ioloop) fn wait(&self, wait: Wait, events: &mut Vec<Event>) -> io::Result<bool> {
        match self {
            Self::Mio(poller) => poller.wait(wait, events),
            Self::Other(poller) => poller.wait(wait, events),
        }
    }
}

impl Deref for AnyPoller {
    type Target = dyn Poller;

    fn deref(&self) -> &(dyn Poller + 'static) {
        match self {
            Self::Mio(poller) => poller,
            Self::Other(poller) => &**poller,
        }
    }
}
