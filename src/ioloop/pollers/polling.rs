//! The `polling` crate's poller. Beside mio it costs a few system calls more for each wait.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use ::polling as backend;

use super::{Event, Interest, Poller, Ready, Token, Wait, level};

pub(in crate::ioloop) struct PollingPoller {
    poller: Arc<Notified>,
    events: RefCell<backend::Events>,
}

struct Notified(backend::Poller);

impl Wake for Notified {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.notify() {
            log::error!("cannot wake the event loop: {error}");
        }
    }
}

impl PollingPoller {
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where it cannot be level-triggered.
    pub(in crate::ioloop) fn new() -> io::Result<Self> {
        let poller = backend::Poller::new()?;
        if !poller.supports_level() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { poller: Arc::new(Notified(poller)), events: backend::Events::new().into() })
    }
}

impl Poller for PollingPoller {
    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.poller))
    }

    fn add(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let (event, level) = (event(token, interest), backend::PollMode::Level);
        #[allow(unsafe_code)]
        // SAFETY: whoever adds a descriptor removes it before it is closed.
        unsafe {
            self.poller.0.add_with_mode(&fd, event, level)
        }
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        _old: Interest,
        new: Interest,
    ) -> io::Result<()> {
        self.poller.0.modify_with_mode(fd, event(token, new), backend::PollMode::Level)
    }

    fn remove(&self, fd: BorrowedFd<'_>, _: Interest) -> io::Result<()> {
        self.poller.0.delete(fd)
    }

    fn wait(&self, wait: Wait, events: &mut Vec<Event>) -> io::Result<bool> {
        let mut told = self.events.borrow_mut();
        told.clear();
        // A signal does not end it: it goes on until the same deadline.
        match wait {
            Wait::Until(deadline) => self.poller.0.wait_deadline(&mut told, deadline)?,
            Wait::Not | Wait::Forever => self.poller.0.wait(&mut told, wait.left())?,
        };
        events.clear();
        for event in told.iter() {
            let failed = event.is_interrupt() || event.is_err() == Some(true);
            let ready = Ready::READ.when(event.readable)
                | Ready::WRITE.when(event.writable)
                | Ready::ERROR.when(failed);
            events.push(level::event(Token(event.key), ready));
        }
        Ok(false)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poller.0.as_fd())
    }
}

fn event(token: Token, interest: Interest) -> backend::Event {
    backend::Event::new(token.0, interest.contains(Ready::READ), interest.contains(Ready::WRITE))
}
