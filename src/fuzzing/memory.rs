//! How much memory something takes: what the peer may make of few bytes is bounded.

// A global allocator is the only way to count, and its trait is unsafe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// What this thread holds, and the most that it has held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(size: isize) {
    // Fails only while a thread ends.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + size, most.max(now + size)));
    });
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Watches what this thread holds from here on.
pub(super) struct Watch {
    before: isize,
}

impl Watch {
    pub(super) fn start() -> Self {
        HELD.with(|held| {
            let (before, _) = held.get();
            held.set((before, before));
            Self { before }
        })
    }

    /// The most bytes that were held at once since the start, beyond what was held then.
    pub(super) fn most(&self) -> usize {
        HELD.with(|held| held.get().1 - self.before).unsigned_abs()
    }
}
