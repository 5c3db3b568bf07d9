//! The event loop with a million of everything, in bounded memory.
//!
//! The tests share an allocator that counts the bytes of the process, and so take turns.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use haypile::{IOLoop, LoopHandle, PollerKind, Ready};

const MILLION: usize = 1_000_000;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work; counting touches two numbers.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may exist for a moment.
        grow(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn grow(size: usize) {
    let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static TURNS: Mutex<()> = Mutex::new(());

/// What the process has allocated since a test began, which has it for itself.
struct Memory {
    before: usize,
    start: Instant,
    _turn: MutexGuard<'static, ()>,
}

impl Memory {
    fn watch() -> Self {
        let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        Self { before, start: Instant::now(), _turn: turn }
    }

    fn live(&self) -> usize {
        LIVE.load(Ordering::Relaxed).saturating_sub(self.before)
    }

    /// The most that there was at any time, for each of `count`.
    fn peak_each(&self, count: usize) -> usize {
        PEAK.load(Ordering::Relaxed).saturating_sub(self.before) / count
    }

    fn tell(&self, what: &str, count: usize) {
        let (peak, kept, time) = (self.peak_each(count), self.live(), self.start.elapsed());
        println!("{what}: {time:.2?}, at most {peak} bytes each, {kept} bytes kept after");
    }
}

/// What a loop may keep of the room that a burst has taken, for the next one.
const KEPT: usize = 1024 * 1024;

/// Numbers in no order, the same in each run.
fn scattered(number: usize) -> u64 {
    (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

#[test]
fn a_million_timers_fire_in_order_and_give_their_memory_back() {
    let memory = Memory::watch();
    let ioloop = IOLoop::new().unwrap();
    let (fired, last) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let start = Instant::now();
    for number in 0..MILLION {
        let due = start + Duration::from_nanos(scattered(number) % 1_000_000);
        let (fired, last) = (Rc::clone(&fired), Rc::clone(&last));
        ioloop.add_timeout(due, move || {
            fired.set(fired.get() + 1);
            assert!(last.replace(Some(due)).is_none_or(|last| last <= due));
        });
    }
    while fired.get() < MILLION {
        assert_eq!(ioloop.run_once(None), Ok(true));
    }
    assert_eq!(ioloop.process_due(), Ok(true), "the next turn");
    memory.tell("a million timers that fire", MILLION);
    assert!(memory.peak_each(MILLION) < 250);
    assert!(memory.live() < KEPT);
}

#[test]
fn a_million_timers_come_and_go_without_firing() {
    let memory = Memory::watch();
    let ioloop = IOLoop::new().unwrap();
    let hour = Instant::now() + Duration::from_secs(3600);
    let mut ids: Vec<_> = (0..MILLION)
        .map(|number| {
            let due = hour + Duration::from_nanos(scattered(number));
            ioloop.add_timeout(due, || panic!("removed"))
        })
        .collect();
    for (number, &id) in ids.iter().enumerate().step_by(2) {
        assert!(ioloop.reset_timeout(id, hour + Duration::from_nanos(scattered(number + 1))));
    }
    assert_eq!(ioloop.process_due(), Ok(true));
    ids.drain(..).for_each(|id| assert!(ioloop.remove_timeout(id)));
    drop(ids);
    assert_eq!(ioloop.process_due(), Ok(true), "the next turn");
    memory.tell("a million timers that are moved and removed", MILLION);
    assert!(memory.peak_each(MILLION) < 250);
    assert!(memory.live() < KEPT);
}

/// As a connection does that times out, with a deadline for each of its requests.
#[test]
fn the_first_of_a_great_batch_removes_the_rest() {
    const TIMERS: usize = 200_000;
    let memory = Memory::watch();
    let ioloop = IOLoop::new().unwrap();
    let ids = Rc::new(Cell::new(Vec::new()));
    let (now, all, handle) = (Instant::now(), Rc::clone(&ids), ioloop.handle());
    ioloop.add_timeout(now, move || {
        assert!(all.take().into_iter().all(|id| handle.remove_timeout(id)));
    });
    ids.set((0..TIMERS).map(|_| ioloop.add_timeout(now, || panic!("removed"))).collect());
    assert_eq!(ioloop.process_due(), Ok(true));
    assert_eq!(ioloop.process_due(), Ok(true), "the next turn");
    memory.tell("a batch of timers removed by its first", TIMERS);
    assert!(memory.start.elapsed() < Duration::from_secs(10));
    assert!(memory.live() < KEPT);
}

#[test]
fn a_million_posts_of_four_threads_give_their_memory_back() {
    const THREADS: usize = 4;
    for before in [true, false] {
        let memory = Memory::watch();
        let ioloop = IOLoop::new().unwrap();
        let (ran, ready) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(THREADS)));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (remote, ran) = (ioloop.remote(), Arc::clone(&ran));
                let ready = Arc::clone(&ready);
                thread::spawn(move || {
                    ready.wait();
                    for _ in 0..MILLION / THREADS {
                        let ran = Arc::clone(&ran);
                        let callback = move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                        };
                        remote.add_callback(callback).unwrap();
                    }
                })
            })
            .collect();
        // All of them wait for one turn, or are taken as they come.
        let mut threads = threads.into_iter();
        if before {
            threads.by_ref().for_each(|thread| thread.join().unwrap());
        }
        let mut turns = 0;
        while ran.load(Ordering::Relaxed) < MILLION {
            assert_eq!(ioloop.run_once(None), Ok(true));
            turns += 1;
        }
        threads.for_each(|thread| thread.join().unwrap());
        memory.tell(&format!("a million posts in {turns} turns"), MILLION);
        assert!(memory.peak_each(MILLION) < 150);
        assert!(memory.live() < KEPT);
    }
}

#[test]
fn ten_thousand_descriptors_are_served_by_every_poller() {
    let allowed = raise_descriptor_limit();
    for &kind in PollerKind::ALL {
        // Some are the test's and the harness's.
        let most = if kind == PollerKind::Select { 1024 } else { allowed };
        let count = most.saturating_sub(64).min(10_000) as usize / 2 * 2;
        if count < 10_000 {
            println!("{kind} takes {count} descriptors in this process");
        }
        let memory = Memory::watch();
        let pairs: Vec<_> = (0..count / 2).map(|_| UnixStream::pair().unwrap()).collect();
        let ioloop = IOLoop::with_poller(kind).unwrap();
        let served = Rc::new(Cell::new(0));
        let ends = pairs.into_iter().flat_map(|(one, other)| [one, other]);
        let mut keys = Vec::with_capacity(count);
        for end in ends {
            let (end, served) = (Rc::new(end), Rc::clone(&served));
            rustix::io::write(&end, b"x").unwrap();
            let stream = Rc::clone(&end);
            let handler = move |_: &LoopHandle, _| {
                served.set(served.get() + rustix::io::read(&stream, &mut [0; 2]).unwrap());
            };
            keys.push(ioloop.add_handler(end, Ready::READ, handler).unwrap());
        }
        let mut turns = 0;
        while served.get() < count {
            assert_eq!(ioloop.run_once(None), Ok(true));
            turns += 1;
        }
        // A wait is not cut short by their number either.
        assert_eq!(ioloop.run_once(Some(Duration::ZERO)), Ok(true));
        assert!(keys.drain(..).all(|key| ioloop.remove_handler(key)));
        drop(keys);
        memory.tell(&format!("{count} descriptors by {kind} in {turns} turns"), count);
        assert_eq!(served.get(), count);
        assert!(memory.peak_each(count) < 600);
        assert!(memory.live() < 2 * KEPT);
    }
}

/// Lets this process have as many descriptors as it may, and gives their number.
fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[allow(unsafe_code)]
    // SAFETY: the structure is one that the C library takes.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
    limit.rlim_cur
}
