//! What a callback tells once, as a future.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::wake::WakerCell;
use crate::error::{LoopError, Result};

/// The reply to a request that has been made: ready when the broker has answered, or with what ended
/// the request. It needs no poll for the request to go out.
///
/// Dropping it abandons the reply, and takes back no request.
///
/// # Panics
/// If it is polled after it was ready.
#[must_use = "the reply tells whether the request was granted"]
pub struct Reply<T>(Rc<Slot<T>>);

struct Slot<T> {
    state: Cell<State<T>>,
    waker: WakerCell,
    /// What becomes of a reply that nobody takes.
    abandon: fn(T),
}

enum State<T> {
    Waiting,
    Told(Result<T>),
    Taken,
    /// Nobody waits any more.
    Dropped,
}

/// The other end: for a callback to capture.
pub(super) struct Teller<T>(Rc<Slot<T>>);

impl<T> Reply<T> {
    /// Makes a request, which is to tell what became of it. Its reply is dropped if nobody takes it.
    pub(super) fn to(request: impl FnOnce(Teller<T>) -> Result<()>) -> Self {
        Self::or_else(drop, request)
    }

    /// The same, with what is to be done with a reply that nobody takes.
    pub(super) fn or_else(abandon: fn(T), request: impl FnOnce(Teller<T>) -> Result<()>) -> Self {
        let state = Cell::new(State::Waiting);
        let slot = Rc::new(Slot { state, waker: WakerCell::default(), abandon });
        if let Err(refused) = request(Teller(Rc::clone(&slot))) {
            slot.state.set(State::Told(Err(refused)));
        }
        Self(slot)
    }
}

impl<T> Teller<T> {
    pub(super) fn tell(self, result: Result<T>) {
        self.0.tell(result);
    }
}

impl<T> Drop for Teller<T> {
    /// A callback that is dropped without a call was that of a loop which is gone.
    fn drop(&mut self) {
        self.0.tell(Err(LoopError::Gone.into()));
    }
}

impl<T> Slot<T> {
    /// The first that is told counts.
    fn tell(&self, result: Result<T>) {
        match self.state.replace(State::Taken) {
            State::Waiting => {
                self.state.set(State::Told(result));
                self.waker.wake();
            }
            State::Dropped => {
                self.state.set(State::Dropped);
                if let Ok(reply) = result {
                    (self.abandon)(reply);
                }
            }
            told => self.state.set(told),
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        match self.0.state.replace(State::Taken) {
            State::Told(result) => Poll::Ready(result),
            State::Waiting => {
                self.0.state.set(State::Waiting);
                self.0.waker.set(context.waker());
                Poll::Pending
            }
            State::Taken | State::Dropped => panic!("a reply was polled after it was ready"),
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let state = self.0.state.replace(State::Dropped);
        self.0.waker.clear();
        if let State::Told(Ok(reply)) = state {
            (self.0.abandon)(reply);
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}
