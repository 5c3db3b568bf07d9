//! What the Rust loops share: random numbers, descriptors, sender threads.
//! `bench/c/loop.h` is the same for the C programs.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

pub use crate::outcome::*;

/// The timer of the lateness and starvation benches.
const LATE: Duration = Duration::from_millis(5);
/// The callback's work before it arms that timer.
const WORK: Duration = Duration::from_micros(700);
/// The timer that is set over and over.
const SHORT: Duration = Duration::from_millis(1);
/// The other descriptor of the starvation benches.
const TICK: Duration = Duration::from_millis(2);
/// The pause before each wake of an idle loop.
const PAUSE: Duration = Duration::from_micros(100);
/// Callbacks of a chain per write to the descriptor beside it.
pub const PING_EVERY: u64 = 1000;

/// The same numbers for all.
pub struct Rng(u64);

impl Rng {
    pub fn new() -> Self {
        Self(88_172_645_463_325_252)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A delay that is never over.
    pub fn far(&mut self) -> Duration {
        Duration::from_millis(1_000_000 + self.next() % 1_000_000)
    }
}

pub fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {}
}

/// Counts down; true at the end.
pub fn count_down(left: &Cell<u64>) -> bool {
    left.set(left.get() - 1);
    left.get() == 0
}

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// So many are to fire on this thread. They count down a number that is the thread's, as the C
/// programs' do: a closure that captures nothing needs no memory.
pub fn expect_fires(count: u64) {
    LEFT.set(count);
}

/// One fires. True: it is the last.
pub fn fire() -> bool {
    LEFT.with(count_down)
}

pub fn fires_left() -> bool {
    LEFT.get() > 0
}

/// A timer that its callback sets again.
pub struct Late {
    pub delay: Duration,
    work: Duration,
    ops: u64,
    left: Cell<u64>,
    due: Cell<Instant>,
    samples: RefCell<Samples>,
}

impl Late {
    /// After so much work that a loop's idea of the time is old.
    pub fn busy(ops: u64) -> Rc<Self> {
        Self::new(ops, LATE, WORK)
    }

    /// At once.
    pub fn idle(ops: u64) -> Rc<Self> {
        Self::new(ops, SHORT, Duration::ZERO)
    }

    fn new(ops: u64, delay: Duration, work: Duration) -> Rc<Self> {
        let (left, due) = (Cell::new(ops), Cell::new(Instant::now()));
        Rc::new(Self { delay, work, ops, left, due, samples: RefCell::default() })
    }

    /// The deadline to arm the timer with, now.
    pub fn arm(&self) -> Instant {
        self.due.set(Instant::now() + self.delay);
        self.due.get()
    }

    /// To be called when it fires. True: it is to be armed again, the work being done.
    pub fn fired(&self) -> bool {
        self.samples.borrow_mut().add(self.due.get());
        if count_down(&self.left) {
            return false;
        }
        spin(self.work);
        true
    }

    pub fn report(&self, timing: Timing) -> Outcome {
        self.samples.borrow().report(timing.end(self.ops), "")
    }
}

pub fn new_eventfd(value: u32) -> Rc<OwnedFd> {
    Rc::new(eventfd(value, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd"))
}

pub fn drain(fd: &OwnedFd) {
    let mut value = [0; 8];
    assert_eq!(read(fd, &mut value), Ok(8));
}

pub fn kick(fd: &OwnedFd) {
    assert_eq!(write(fd, &1u64.to_ne_bytes()), Ok(8));
}

#[derive(Clone, Copy, PartialEq)]
pub enum Transport {
    Socket,
    Eventfd,
}

/// One of two that hand a message to each other.
pub struct End {
    pub from: Rc<OwnedFd>,
    to: Rc<OwnedFd>,
    size: usize,
}

impl End {
    /// Both, with a message under way to the first.
    pub fn pair(transport: Transport) -> [Self; 2] {
        let ends = match transport {
            Transport::Socket => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                    .expect("a socketpair");
                [Rc::new(a), Rc::new(b)].map(|fd| Self { from: Rc::clone(&fd), to: fd, size: 1 })
            }
            Transport::Eventfd => {
                let (a, b) = (new_eventfd(0), new_eventfd(0));
                let there = Self { from: Rc::clone(&a), to: Rc::clone(&b), size: 8 };
                [there, Self { from: b, to: a, size: 8 }]
            }
        };
        ends[1].send();
        ends
    }

    fn send(&self) {
        let one = 1u64.to_ne_bytes();
        assert_eq!(write(&self.to, &one[..self.size]), Ok(self.size));
    }

    pub fn hop(&self) {
        let mut value = [0; 8];
        assert_eq!(read(&self.from, &mut value[..self.size]), Ok(self.size));
        self.send();
    }
}

/// What keeps the loop busy in the starvation benches.
#[derive(Clone, Copy, PartialEq)]
pub enum Beside {
    Fd,
    Callback,
}

/// A timer and a timerfd beside something busy.
pub struct Starved {
    pub ticker: Rc<OwnedFd>,
    tick_due: Cell<Instant>,
    timer_due: Cell<Instant>,
    until: Instant,
    turns: Cell<u64>,
    timers: RefCell<Samples>,
    ticks: RefCell<Samples>,
}

impl Starved {
    pub fn new(ms: u64) -> Rc<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let ticker = timerfd_create(TimerfdClockId::Monotonic, flags).expect("a timerfd");
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let now = Instant::now();
        let value = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&ticker, TimerfdTimerFlags::empty(), &value).expect("a timerfd set");
        Rc::new(Self {
            ticker: Rc::new(ticker),
            tick_due: Cell::new(now),
            timer_due: Cell::new(now),
            until: now + Duration::from_millis(ms),
            turns: Cell::new(0),
            timers: RefCell::default(),
            ticks: RefCell::default(),
        })
    }

    /// What keeps the loop busy. False: it is to stop.
    pub fn busy(&self) -> bool {
        self.turns.set(self.turns.get() + 1);
        Instant::now() < self.until
    }

    pub fn ticked(&self) {
        let mut count = [0; 8];
        if read(&self.ticker, &mut count) != Ok(8) {
            return;
        }
        let count = u64::from_ne_bytes(count) as u32;
        self.tick_due.set(self.tick_due.get() + TICK * count);
        self.ticks.borrow_mut().add(self.tick_due.get());
    }

    pub fn arm(&self) -> Instant {
        self.timer_due.set(Instant::now() + LATE);
        self.timer_due.get()
    }

    pub fn fired(&self) {
        self.timers.borrow_mut().add(self.timer_due.get());
    }

    pub fn report(&self, timing: Timing) -> Outcome {
        let outcome = timing.end(self.turns.get().max(1));
        let outcome = self.timers.borrow().report(outcome, "timer_");
        self.ticks.borrow().report(outcome, "fd_")
    }
}

/// Closures posted to the loop from other threads.
pub struct Posts {
    pace: Pace,
    wanted: u64,
    /// Only the loop's thread touches it.
    ran: AtomicU64,
    epoch: Instant,
    samples: Mutex<Samples>,
    done: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// How they are sent.
enum Pace {
    /// By so many threads, as fast as they can.
    Flood(u64),
    /// One by one to a loop that sleeps, and timed.
    Paced,
    /// Each once the one before has been called, which this descriptor tells, and the loop sleeps
    /// again.
    InStep(OwnedFd),
}

/// What a posted closure captures: as much as the C programs' posts hold.
pub struct Post {
    posts: &'static Posts,
    argument: u64,
}

impl Posts {
    pub fn flood(senders: u64, ops: u64) -> &'static Self {
        Self::new(Pace::Flood(senders), ops / senders * senders)
    }

    pub fn paced(ops: u64) -> &'static Self {
        Self::new(Pace::Paced, ops)
    }

    pub fn in_step(ops: u64) -> &'static Self {
        let called = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        Self::new(Pace::InStep(called), ops)
    }

    fn new(pace: Pace, wanted: u64) -> &'static Self {
        Box::leak(Box::new(Self {
            pace,
            wanted,
            ran: AtomicU64::new(0),
            epoch: Instant::now(),
            samples: Mutex::default(),
            done: OnceLock::new(),
        }))
    }

    /// Has `done` called by the last of them, on the loop's thread.
    pub fn on_done(&self, done: impl Fn() + Send + Sync + 'static) {
        assert!(self.done.set(Box::new(done)).is_ok());
    }

    pub fn is_done(&self) -> bool {
        self.ran.load(Ordering::Relaxed) == self.wanted
    }

    /// Starts the senders; each calls `send` with what its closure is to run. `run` runs the loop
    /// until the last one.
    pub fn run(
        &'static self,
        send: impl Fn(Post) + Clone + Send + 'static,
        run: impl FnOnce(),
    ) -> Outcome {
        let writes = writes_so_far();
        let timing = Timing::begin();
        let threads: Vec<_> = (0..self.senders())
            .map(|_| {
                let send = send.clone();
                std::thread::spawn(move || self.send(send))
            })
            .collect();
        run();
        let outcome = timing.end(self.wanted);
        for thread in threads {
            thread.join().expect("a sender");
        }
        match self.pace {
            Pace::Paced => {
                self.samples.lock().unwrap_or_else(PoisonError::into_inner).report(outcome, "")
            }
            Pace::Flood(_) => outcome
                .with("callbacks", self.ran.load(Ordering::Relaxed) as f64)
                .with("wakes", (writes_so_far() - writes) as f64),
            Pace::InStep(_) => outcome,
        }
    }

    fn senders(&self) -> u64 {
        match self.pace {
            Pace::Flood(senders) => senders,
            Pace::Paced | Pace::InStep(_) => 1,
        }
    }

    fn send(&'static self, send: impl Fn(Post)) {
        if let Pace::InStep(_) = self.pace {
            give_way();
        }
        for left in (1..=self.wanted / self.senders()).rev() {
            let mut argument = left;
            if let Pace::Paced = self.pace {
                std::thread::sleep(PAUSE);
                argument = self.epoch.elapsed().as_nanos() as u64;
            }
            send(Post { posts: self, argument });
            if let Pace::InStep(called) = &self.pace {
                drain(called);
            }
        }
    }
}

impl Post {
    pub fn run(self) {
        let posts = self.posts;
        if let Pace::Paced = posts.pace {
            let sent = posts.epoch + Duration::from_nanos(self.argument);
            posts.samples.lock().unwrap_or_else(PoisonError::into_inner).add(sent);
        }
        let ran = posts.ran.load(Ordering::Relaxed) + 1;
        posts.ran.store(ran, Ordering::Relaxed);
        if let Pace::InStep(called) = &posts.pace {
            kick(called);
        }
        if ran == posts.wanted
            && let Some(done) = posts.done.get()
        {
            done();
        }
    }
}

/// Has this thread run only when no other one of its CPU does.
#[allow(unsafe_code)]
fn give_way() {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: a structure that is there; 0 is this thread.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &none) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Writes of this process so far: in a flood, these are the wakes.
fn writes_so_far() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let writes = io.lines().find_map(|line| line.strip_prefix("syscw: "));
    writes.and_then(|count| count.parse().ok()).unwrap_or(0)
}
