//! `poll(2)`: looks at every descriptor at each wait. For few descriptors, and for systems that
//! have nothing better.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::Waker;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::wake_pair::WakePair;
use super::{Event, Interest, Poller, Ready, Token, WAKE, Wait, level};

pub(in crate::ioloop) struct PollPoller {
    wake: WakePair,
    watched: RefCell<Watched>,
}

/// Two lists side by side: one as the system wants it.
#[derive(Default)]
struct Watched {
    fds: Vec<PollFd<'static>>,
    tokens: Vec<Token>,
    /// Where each descriptor is in the lists, by its number.
    places: Vec<Option<usize>>,
}

impl Watched {
    fn index(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let place = self.places.get(fd.as_raw_fd() as usize).copied().flatten();
        place.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl PollPoller {
    pub(in crate::ioloop) fn new() -> io::Result<Self> {
        let wake = WakePair::new()?;
        let this = Self { wake, watched: RefCell::default() };
        // The first place is the waker's, whose token is never told.
        this.add(this.wake.fd(), WAKE, Interest::READ)?;
        Ok(this)
    }
}

impl Poller for PollPoller {
    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn add(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let mut watched = self.watched.borrow_mut();
        if watched.index(fd).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = fd.as_raw_fd() as usize;
        if watched.places.len() <= number {
            watched.places.resize(number + 1, None);
        }
        watched.places[number] = Some(watched.fds.len());
        #[allow(unsafe_code)]
        // SAFETY: whoever adds a descriptor removes it before it is closed.
        let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        watched.fds.push(PollFd::from_borrowed_fd(fd, flags(interest)));
        watched.tokens.push(token);
        Ok(())
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        _old: Interest,
        new: Interest,
    ) -> io::Result<()> {
        let mut watched = self.watched.borrow_mut();
        let index = watched.index(fd)?;
        watched.tokens[index] = token;
        #[allow(unsafe_code)]
        // SAFETY: as in `add`.
        let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        watched.fds[index] = PollFd::from_borrowed_fd(fd, flags(new));
        Ok(())
    }

    fn remove(&self, fd: BorrowedFd<'_>, _: Interest) -> io::Result<()> {
        let mut watched = self.watched.borrow_mut();
        let index = watched.index(fd)?;
        watched.fds.swap_remove(index);
        watched.tokens.swap_remove(index);
        watched.places[fd.as_raw_fd() as usize] = None;
        if let Some(moved) = watched.fds.get(index).map(|moved| moved.as_fd().as_raw_fd()) {
            watched.places[moved as usize] = Some(index);
        }
        Ok(())
    }

    fn wait(&self, wait: Wait, events: &mut Vec<Event>) -> io::Result<bool> {
        let mut watched = self.watched.borrow_mut();
        let Watched { fds, tokens, places: _ } = &mut *watched;
        let mut ready = loop {
            match poll(fds, wait.left_as_timespec().as_ref()) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        events.clear();
        for (fd, &token) in fds.iter().zip(&*tokens) {
            let told = fd.revents();
            if ready == 0 {
                break;
            }
            if told.is_empty() {
                continue;
            }
            ready -= 1;
            if token == WAKE {
                self.wake.drain();
            } else {
                events.push(level::event(token, as_ready(told)));
            }
        }
        Ok(false)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn flags(interest: Interest) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.contains(Ready::READ));
    flags.set(PollFlags::OUT, interest.contains(Ready::WRITE));
    flags
}

fn as_ready(told: PollFlags) -> Ready {
    Ready::READ.when(told.contains(PollFlags::IN))
        | Ready::WRITE.when(told.contains(PollFlags::OUT))
        | Ready::ERROR.when(told.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL))
}
