//! The waker of whoever waits.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Room for one waker. What a waker does when it is cloned, called or dropped is the executor's: it
/// happens with nothing borrowed.
#[derive(Default)]
pub(super) struct WakerCell(Cell<Option<Waker>>);

impl WakerCell {
    /// Takes the place of the last one.
    pub(super) fn set(&self, waker: &Waker) {
        let old = self.0.take();
        let new = match &old {
            Some(old) if old.will_wake(waker) => None,
            _ => Some(waker.clone()),
        };
        match new {
            None => self.0.set(old),
            Some(new) => drop((self.0.replace(Some(new)), old)),
        }
    }

    /// Nobody waits any more.
    pub(super) fn clear(&self) {
        drop(self.0.take());
    }

    /// Wakes whoever waits, once. It is called from the loop's callbacks and from drops, where a panic
    /// of the executor would harm others than its task.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.0.take()
            && catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err()
        {
            log::error!("the waker of a future panicked");
        }
    }
}
