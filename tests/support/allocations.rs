//! Counts what each thread allocates: tests run side by side, and a peer has a thread of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread has allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocations {
    /// How often it has asked for memory.
    pub count: u64,
    /// Bytes that it holds.
    pub live: isize,
    /// The most bytes that it ever held.
    pub most: isize,
}

thread_local! {
    static ALLOCATIONS: Cell<Allocations> = const {
        Cell::new(Allocations { count: 0, live: 0, most: 0 })
    };
}

impl Allocations {
    /// Those of this thread so far.
    pub fn now() -> Self {
        ALLOCATIONS.get()
    }

    /// Forgets what was the most before.
    pub fn watch_most() {
        let now = Self::now();
        ALLOCATIONS.set(Self { most: now.live, ..now });
    }
}

/// For `#[global_allocator]`, in the test binaries that count.
pub struct Counting;

fn note(count: u64, grown: isize) {
    let before = ALLOCATIONS.get();
    let live = before.live + grown;
    let (count, most) = (before.count + count, before.most.max(live));
    ALLOCATIONS.set(Allocations { count, live, most });
}

// SAFETY: the system's allocator does the work; counting allocates nothing and touches no memory
// but this thread's counter, which has no destructor.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(0, -(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size as isize - layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}
