//! Counts what each thread allocates: tests run side by side, and a peer has a thread of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread has allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocations {
    /// How often it has asked for memory.
    pub count: u64,
    /// The bytes that it has asked for, together.
    pub asked: u64,
    /// The most bytes that it has asked for at once.
    pub largest: usize,
    /// Bytes that it holds.
    pub live: isize,
    /// The most bytes that it ever held.
    pub most: isize,
}

thread_local! {
    static ALLOCATIONS: Cell<Allocations> = const {
        Cell::new(Allocations { count: 0, asked: 0, largest: 0, live: 0, most: 0 })
    };
}

impl Allocations {
    /// Those of this thread so far.
    pub fn now() -> Self {
        ALLOCATIONS.get()
    }

    /// Forgets what was the most, and the largest, before.
    pub fn watch_most() {
        let now = Self::now();
        ALLOCATIONS.set(Self { most: now.live, largest: 0, ..now });
    }
}

/// For `#[global_allocator]`, in the test binaries that count.
pub struct Counting;

/// So many bytes were asked for, and so many more are held, or fewer.
fn note(asked: usize, grown: isize) {
    let before = ALLOCATIONS.get();
    let live = before.live + grown;
    ALLOCATIONS.set(Allocations {
        count: before.count + 1,
        asked: before.asked + asked as u64,
        largest: before.largest.max(asked),
        live,
        most: before.most.max(live),
    });
}

// SAFETY: the system's allocator does the work; counting allocates nothing and touches no memory
// but this thread's counter, which has no destructor.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let before = ALLOCATIONS.get();
        ALLOCATIONS.set(Allocations { live: before.live - layout.size() as isize, ..before });
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, size as isize - layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}
