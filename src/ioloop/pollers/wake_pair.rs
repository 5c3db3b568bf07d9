//! Wakes a wait that has no queue of its own to put an event in: a byte on a socket pair.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Wake, Waker};

pub(crate) struct WakePair {
    here: UnixStream,
    /// In an `Arc`, so that a waker may outlive the poller.
    there: Arc<There>,
}

struct There(UnixStream);

impl WakePair {
    pub(crate) fn new() -> io::Result<Self> {
        let (here, there) = UnixStream::pair()?;
        here.set_nonblocking(true)?;
        there.set_nonblocking(true)?;
        Ok(Self { here, there: Arc::new(There(there)) })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.there))
    }

    /// What to watch for reading.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// Forgets the wakes so far.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.here).read(&mut bytes), Ok(count) if count == bytes.len()) {}
    }
}

impl Wake for There {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match (&self.0).write(&[0]) {
            Ok(_) => {}
            // So many wakes wait already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The poller has gone, and with it the loop.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => log::error!("cannot wake the event loop: {error}"),
        }
    }
}
