//! A user's closure as a descriptor's handler.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::LoopHandle;
use crate::io_services::{FdHandler, Ready};

pub(super) struct UserHandler<F, C> {
    fd: F,
    ioloop: LoopHandle,
    /// Borrowed while it runs, which is never inside of itself: no turn runs inside of a turn.
    callback: RefCell<C>,
}

impl<F: AsFd, C: FnMut(&LoopHandle, Ready)> UserHandler<F, C> {
    pub(super) fn new(fd: F, ioloop: LoopHandle, callback: C) -> Self {
        Self { fd, ioloop, callback: RefCell::new(callback) }
    }
}

impl<F: AsFd, C> AsFd for UserHandler<F, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<F: AsFd, C: FnMut(&LoopHandle, Ready)> FdHandler for UserHandler<F, C> {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        // On this loop a panic unwinds: there is nothing to be caught.
        if let Ok(mut callback) = self.callback.try_borrow_mut() {
            callback(&self.ioloop, ready);
        }
        Ready::NONE
    }
}
