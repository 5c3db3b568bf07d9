//! A user's closure as a descriptor's handler.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::LoopHandle;
use crate::io_services::{FdHandler, Ready};

type Callback = Box<dyn FnMut(&LoopHandle, Ready)>;

pub(super) struct UserHandler<F> {
    fd: F,
    ioloop: LoopHandle,
    /// Out of its place while it runs.
    callback: Cell<Option<Callback>>,
}

impl<F: AsFd> UserHandler<F> {
    pub(super) fn new(fd: F, ioloop: LoopHandle, callback: Callback) -> Self {
        Self { fd, ioloop, callback: Cell::new(Some(callback)) }
    }
}

impl<F: AsFd> AsFd for UserHandler<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<F: AsFd> FdHandler for UserHandler<F> {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        // On this loop a panic unwinds: there is nothing to be caught.
        let mut taken = Taken { place: &self.callback, callback: self.callback.take() };
        taken.call(&self.ioloop, ready);
        Ready::NONE
    }
}

/// Puts the closure back, also when it panics.
struct Taken<'a> {
    place: &'a Cell<Option<Callback>>,
    callback: Option<Callback>,
}

impl Taken<'_> {
    fn call(&mut self, ioloop: &LoopHandle, ready: Ready) {
        if let Some(callback) = &mut self.callback {
            callback(ioloop, ready);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.place.set(self.callback.take());
    }
}
