//! A host's waker that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    /// A waker, and what counts its wakes.
    pub(crate) fn new() -> (Waker, Arc<Self>) {
        let wakes = Arc::new(Self::default());
        (Waker::from(Arc::clone(&wakes)), wakes)
    }

    /// How many there were since the last time.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
