//! Batches: the time in which callbacks run, at whose end the sessions with output write once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::core::LoopCore;
use crate::io_services::Session;

#[derive(Default)]
pub(super) struct Batches {
    depth: Cell<usize>,
    /// Those with output, each once, in the order marked.
    dirty: RefCell<VecDeque<Rc<dyn Session>>>,
    /// A turn was refused, or something is left to flush: the host owes a turn.
    wake: Cell<bool>,
}

impl Batches {
    pub(super) fn depth(&self) -> usize {
        self.depth.get()
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.borrow().is_empty()
    }

    /// True: no batch is under way, and none has been asked for.
    pub(super) fn mark_dirty(&self, session: Rc<dyn Session>) -> bool {
        let mut dirty = self.dirty.borrow_mut();
        dirty.push_back(session);
        dirty.len() == 1 && self.depth() == 0
    }

    pub(super) fn take_dirty(&self) -> VecDeque<Rc<dyn Session>> {
        self.dirty.take()
    }

    /// Wakes the host at the end of the outermost batch.
    pub(super) fn wake_after(&self) {
        self.wake.set(true);
    }
}

impl LoopCore {
    /// Begins a batch, or one inside of it: what descriptors, timers and posts call runs in one.
    /// The end of the outermost flushes the sessions with output.
    pub(crate) fn batch(&self) -> BatchGuard<'_> {
        self.batches.depth.set(self.batches.depth() + 1);
        BatchGuard(self)
    }

    /// Flushes those that are dirty now. What a panic leaves is flushed by the next call.
    pub(super) fn flush_dirty(&self) {
        let count = self.batches.dirty.borrow().len();
        for _ in 0..count {
            let session = self.batches.dirty.borrow_mut().pop_front();
            match session {
                Some(session) => session.flush(),
                None => break,
            }
        }
    }
}

/// A batch under way.
#[must_use = "a batch ends where its guard is dropped"]
pub(crate) struct BatchGuard<'a>(&'a LoopCore);

impl Drop for BatchGuard<'_> {
    fn drop(&mut self) {
        let core = self.0;
        let _depth = Leave(&core.batches.depth);
        if core.batches.depth() > 1 {
            return;
        }
        if std::thread::panicking() {
            // No user code in an unwind: the next turn flushes.
            core.batches.wake_after();
        } else {
            core.flush_dirty();
        }
        if core.batches.wake.take() || core.batches.has_dirty() {
            core.remote().wake();
        }
    }
}

/// Counts a batch out, after its flush, however that ends.
struct Leave<'a>(&'a Cell<usize>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
