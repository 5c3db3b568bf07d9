//! What several wait for: that a connection or channel changes, until it has ended.

use std::cell::{OnceCell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use slab::Slab;

use super::wake::WakerCell;
use crate::error::{Error, LoopError};

/// What those wait by who wait for a connection or a channel.
#[derive(Default)]
pub(crate) struct Watch {
    cause: OnceCell<Error>,
    waiting: RefCell<Slab<Rc<WakerCell>>>,
}

impl Watch {
    /// One of what has ended.
    pub(crate) fn ended(cause: Error) -> Rc<Self> {
        let watch = Rc::<Self>::default();
        watch.end(&cause);
        watch
    }

    /// What has ended it, if it has ended.
    pub(super) fn cause(&self) -> Option<&Error> {
        self.cause.get()
    }

    /// Has all who wait look again.
    pub(crate) fn changed(&self) {
        let waiting: Vec<_> =
            self.waiting.borrow().iter().map(|(_, waker)| Rc::clone(waker)).collect();
        waiting.iter().for_each(|waker| waker.wake());
    }

    /// Takes the cause of the end, of which the first counts. Gives whether anybody waits.
    fn end(&self, cause: &Error) -> bool {
        if self.cause.set(cause.clone()).is_err() {
            return false;
        }
        let is_awaited = !self.waiting.borrow().is_empty();
        self.changed();
        is_awaited
    }
}

/// By what a callback tells of the end. Dropped without, the loop is gone.
pub(crate) struct Ending(Rc<Watch>);

impl Ending {
    pub(crate) fn of(watch: &Rc<Watch>) -> Self {
        Self(Rc::clone(watch))
    }

    /// Gives whether anybody waits for what has ended.
    pub(crate) fn tell(self, cause: &Error) -> bool {
        self.0.end(cause)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(&LoopError::Gone.into());
    }
}

/// A future that looks whether what it waits for is there, when it is polled after each change.
pub(super) struct Waiting<F> {
    watch: Rc<Watch>,
    key: usize,
    waker: Rc<WakerCell>,
    look: F,
}

impl<T, F: FnMut(&Watch) -> Option<T>> Waiting<F> {
    pub(super) fn new(watch: &Rc<Watch>, look: F) -> Self {
        let (watch, waker) = (Rc::clone(watch), Rc::<WakerCell>::default());
        let key = watch.waiting.borrow_mut().insert(Rc::clone(&waker));
        Self { watch, key, waker, look }
    }
}

impl<T, F: FnMut(&Watch) -> Option<T> + Unpin> Future for Waiting<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        match (this.look)(&this.watch) {
            Some(found) => Poll::Ready(found),
            None => {
                this.waker.set(context.waker());
                Poll::Pending
            }
        }
    }
}

impl<F> Drop for Waiting<F> {
    fn drop(&mut self) {
        let mut waiting = self.watch.waiting.borrow_mut();
        // Its waker lives on in this future, and is dropped with it.
        drop(waiting.try_remove(self.key));
        if waiting.is_empty() {
            *waiting = Slab::new();
        }
    }
}
