//! What happened, and what still lives.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::rc::Rc;

/// What happened, in order.
pub struct Trace<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Trace<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for Trace<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T: Debug + PartialEq> Trace<T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&self, item: T) {
        self.0.borrow_mut().push(item);
    }

    pub fn take(&self) -> Vec<T> {
        self.0.take()
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Counts the closures that still live: each captures a [`Probe`].
#[derive(Clone, Default)]
pub struct Probes {
    made: Rc<Cell<usize>>,
    live: Rc<Cell<usize>>,
}

impl Probes {
    /// A probe that does nothing else when it is dropped.
    pub fn probe(&self) -> Probe {
        self.probe_that(|| ())
    }

    /// A probe that calls something, such as the API, when it is dropped.
    pub fn probe_that(&self, on_drop: impl Fn() + 'static) -> Probe {
        self.made.set(self.made.get() + 1);
        self.live.set(self.live.get() + 1);
        Probe { live: Rc::clone(&self.live), on_drop: Box::new(on_drop) }
    }

    pub fn live(&self) -> usize {
        self.live.get()
    }

    pub fn made(&self) -> usize {
        self.made.get()
    }
}

pub struct Probe {
    live: Rc<Cell<usize>>,
    on_drop: Box<dyn Fn()>,
}

impl Probe {
    /// Has the closure that calls this capture the whole probe.
    pub fn touch(&self) {}
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
        (self.on_drop)();
    }
}
