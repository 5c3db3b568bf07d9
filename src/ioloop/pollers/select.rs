//! `select(2)`: looks at every descriptor at each wait, and takes none from 1,024 on. For systems
//! that have nothing else, and for comparison.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::task::Waker;

use rustix::event::{
    FdSetElement, FdSetIter, fd_set_insert, fd_set_num_elements, fd_set_remove, select,
};
use rustix::io::Errno;

use super::wake_pair::WakePair;
use super::{Event, Interest, Poller, Ready, Token, WAKE, Wait, level};

/// What the C library's sets have room for.
const FD_SETSIZE: RawFd = 1024;

pub(in crate::ioloop) struct SelectPoller {
    wake: WakePair,
    watched: RefCell<Watched>,
}

struct Watched {
    /// By descriptor.
    tokens: Vec<Option<Token>>,
    read: Vec<FdSetElement>,
    write: Vec<FdSetElement>,
    /// The sets that a wait writes its answer to.
    ready: (Vec<FdSetElement>, Vec<FdSetElement>),
}

impl Watched {
    fn watch(&mut self, fd: RawFd, interest: Interest) {
        for (set, condition) in [(&mut self.read, Ready::READ), (&mut self.write, Ready::WRITE)] {
            if interest.contains(condition) {
                fd_set_insert(set, fd);
            } else {
                fd_set_remove(set, fd);
            }
        }
    }

    fn slot(&mut self, fd: BorrowedFd<'_>) -> io::Result<&mut Option<Token>> {
        let slot = self.tokens.get_mut(fd.as_raw_fd() as usize);
        slot.filter(|slot| slot.is_some()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SelectPoller {
    pub(in crate::ioloop) fn new() -> io::Result<Self> {
        let wake = WakePair::new()?;
        let set =
            vec![FdSetElement::default(); fd_set_num_elements(FD_SETSIZE as usize, FD_SETSIZE)];
        let watched = Watched {
            tokens: Vec::new(),
            read: set.clone(),
            write: set.clone(),
            ready: (set.clone(), set),
        };
        let this = Self { wake, watched: RefCell::new(watched) };
        this.add(this.wake.fd(), WAKE, Interest::READ)?;
        Ok(this)
    }
}

impl Poller for SelectPoller {
    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn add(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        if fd >= FD_SETSIZE {
            let reason =
                format!("select(2) takes no descriptor from {FD_SETSIZE} on, this is {fd}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let mut watched = self.watched.borrow_mut();
        let index = fd as usize;
        if watched.tokens.len() <= index {
            watched.tokens.resize(index + 1, None);
        }
        if watched.tokens[index].is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        watched.tokens[index] = Some(token);
        watched.watch(fd, interest);
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
        *watched.slot(fd)? = Some(token);
        watched.watch(fd.as_raw_fd(), new);
        Ok(())
    }

    fn remove(&self, fd: BorrowedFd<'_>, _: Interest) -> io::Result<()> {
        let mut watched = self.watched.borrow_mut();
        *watched.slot(fd)? = None;
        watched.watch(fd.as_raw_fd(), Interest::NONE);
        while let Some(None) = watched.tokens.last() {
            watched.tokens.pop();
        }
        Ok(())
    }

    fn wait(&self, wait: Wait, events: &mut Vec<Event>) -> io::Result<bool> {
        let mut watched = self.watched.borrow_mut();
        let Watched { tokens, read, write, ready } = &mut *watched;
        loop {
            ready.0.clone_from(read);
            ready.1.clone_from(write);
            let timeout = wait.left_as_timespec();
            let (read, write) = (Some(&mut ready.0[..]), Some(&mut ready.1[..]));
            #[allow(unsafe_code)]
            // SAFETY: whoever adds a descriptor removes it before it is closed.
            let told = unsafe { select(tokens.len() as i32, read, write, None, timeout.as_ref()) };
            match told {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                // A wait that timed out leaves nothing in the sets.
                Ok(_) => break,
            }
        }
        let (readable, writable) = (FdSetIter::new(&ready.0), FdSetIter::new(&ready.1));
        let (mut readable, mut writable) = (readable.peekable(), writable.peekable());
        events.clear();
        // Both go upwards: a descriptor that is in both is told once.
        while let Some(&fd) = readable.peek().into_iter().chain(writable.peek()).min() {
            let told = Ready::READ.when(readable.next_if_eq(&fd).is_some())
                | Ready::WRITE.when(writable.next_if_eq(&fd).is_some());
            match tokens.get(fd as usize) {
                Some(Some(WAKE)) => self.wake.drain(),
                Some(&Some(token)) => events.push(level::event(token, told)),
                _ => {}
            }
        }
        Ok(false)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
