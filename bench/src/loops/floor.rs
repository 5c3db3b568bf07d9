//! The least that each job takes: bare system calls, a bare heap, a bare queue. No loop is here:
//! what a loop adds to it is what that loop costs.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::measure::*;
use super::subject::Subject;

pub struct Floor;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

struct Epoll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Epoll {
    fn new() -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll");
        Self { epoll, events: Vec::with_capacity(64) }
    }

    fn add(&self, fd: &OwnedFd, data: u64) {
        epoll::add(&self.epoll, fd, EventData::new_u64(data), EventFlags::IN).expect("a fd");
    }

    fn modify(&self, fd: &OwnedFd, flags: EventFlags) {
        epoll::modify(&self.epoll, fd, EventData::new_u64(0), flags).expect("a fd");
    }

    fn wait(&mut self, timeout: Option<&Timespec>) -> &[Event] {
        self.events.clear();
        let events = rustix::buffer::spare_capacity(&mut self.events);
        epoll::wait(&self.epoll, events, timeout).expect("a wait");
        &self.events
    }
}

/// A 4-ary heap of deadlines that knows where each timer is.
#[derive(Default)]
struct Heap {
    nodes: Vec<(u64, u32)>,
    places: Vec<u32>,
}

impl Heap {
    fn put(&mut self, index: usize, node: (u64, u32)) {
        self.nodes[index] = node;
        self.places[node.1 as usize] = index as u32;
    }

    fn push(&mut self, at: u64, timer: u32) {
        self.nodes.push((at, timer));
        self.up(self.nodes.len() - 1);
    }

    fn remove(&mut self, index: usize) -> (u64, u32) {
        let node = self.nodes.swap_remove(index);
        if index < self.nodes.len() {
            self.settle(index);
        }
        node
    }

    fn settle(&mut self, index: usize) {
        match index > 0 && self.nodes[index].0 < self.nodes[(index - 1) / 4].0 {
            true => self.up(index),
            false => self.down(index),
        }
    }

    fn up(&mut self, mut index: usize) {
        let node = self.nodes[index];
        while index > 0 && node.0 < self.nodes[(index - 1) / 4].0 {
            self.put(index, self.nodes[(index - 1) / 4]);
            index = (index - 1) / 4;
        }
        self.put(index, node);
    }

    fn down(&mut self, mut index: usize) {
        let node = self.nodes[index];
        loop {
            let first = index * 4 + 1;
            let children = first..(first + 4).min(self.nodes.len());
            let Some(least) = children.min_by_key(|&child| self.nodes[child].0) else { break };
            if node.0 <= self.nodes[least].0 {
                break;
            }
            self.put(index, self.nodes[least]);
            index = least;
        }
        self.put(index, node);
    }
}

fn outstanding(n: usize, rng: &mut Rng) -> Heap {
    let mut heap = Heap { nodes: Vec::new(), places: vec![0; n] };
    (0..n as u32).for_each(|timer| heap.push(rng.far().as_nanos() as u64, timer));
    heap
}

impl Subject for Floor {
    fn cancel_insert(&self, n: usize, ops: u64) -> Option<Outcome> {
        let mut rng = Rng::new();
        let mut heap = outstanding(n, &mut rng);
        Some(timed(ops, || {
            for _ in 0..ops {
                let place = heap.places[rng.below(n)];
                let (_, timer) = heap.remove(place as usize);
                heap.push(rng.far().as_nanos() as u64, timer);
            }
        }))
    }

    fn reset(&self, n: usize, ops: u64) -> Option<Outcome> {
        let mut rng = Rng::new();
        let mut heap = outstanding(n, &mut rng);
        Some(timed(ops, || {
            for _ in 0..ops {
                let place = heap.places[rng.below(n)] as usize;
                heap.nodes[place].0 = rng.far().as_nanos() as u64;
                heap.settle(place);
            }
        }))
    }

    fn insert_fire(&self, n: usize, ops: u64) -> Option<Outcome> {
        let mut heap = Heap { nodes: Vec::new(), places: vec![0; n] };
        let left = Cell::new(ops);
        let fire: &dyn Fn() = &|| left.set(left.get() - 1);
        Some(timed(ops, || {
            for _ in 0..ops / n as u64 {
                (0..n as u32).for_each(|timer| heap.push(0, timer));
                while !heap.nodes.is_empty() {
                    heap.remove(0);
                    std::hint::black_box(fire)();
                }
            }
        }))
    }

    fn rearm_fire(&self, n: usize, ops: u64) -> Option<Outcome> {
        self.insert_fire(n, ops)
    }

    fn lateness(&self, late: Rc<Late>) -> Option<Outcome> {
        let mut epoll = Epoll::new();
        // Exact, where a wait's own timeout is given the slack of the thread's timers.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC);
        let timer = timer.expect("a timerfd");
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll.epoll, &timer, EventData::new_u64(0), flags).expect("a fd");
        let timing = Timing::begin();
        loop {
            late.arm();
            let delay = late.delay.try_into().expect("a time");
            let value = Itimerspec { it_interval: NOW, it_value: delay };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &value).expect("a timer");
            epoll.wait(None);
            if !late.fired() {
                break;
            }
        }
        Some(late.report(timing))
    }

    fn ping_pong(&self, transport: Transport, ops: u64) -> Option<Outcome> {
        let mut epoll = Epoll::new();
        let ends = End::pair(transport);
        (0..2).for_each(|index| epoll.add(&ends[index].from, index as u64));
        let mut left = ops;
        Some(timed(ops, || {
            while left > 0 {
                for event in epoll.wait(None) {
                    ends[event.data.u64() as usize].hop();
                    left -= 1;
                }
            }
        }))
    }

    fn one_of_many(&self, n: usize, ops: u64) -> Option<Outcome> {
        let mut epoll = Epoll::new();
        let fds: Vec<_> = (0..n).map(|index| new_eventfd((index == n / 2).into())).collect();
        (0..n).for_each(|index| epoll.add(&fds[index], index as u64));
        let mut left = ops;
        Some(timed(ops, || {
            while left > 0 {
                for event in epoll.wait(None) {
                    let fd = &fds[event.data.u64() as usize];
                    drain(fd);
                    kick(fd);
                    left -= 1;
                }
            }
        }))
    }

    fn flip(&self, ops: u64) -> Option<Outcome> {
        let mut epoll = Epoll::new();
        let [_other, end] = End::pair(Transport::Socket);
        epoll.add(&end.from, 0);
        Some(timed(ops, || {
            for _ in 0..ops {
                epoll.modify(&end.from, EventFlags::IN | EventFlags::OUT);
                assert_eq!(epoll.wait(Some(&NOW)).len(), 1);
                epoll.modify(&end.from, EventFlags::IN);
            }
        }))
    }

    /// Nothing has changed when it waits.
    fn toggle(&self, ops: u64) -> Option<Outcome> {
        let mut epoll = Epoll::new();
        let [_other, end] = End::pair(Transport::Socket);
        epoll.add(&end.from, 0);
        Some(timed(ops, || (0..ops).for_each(|_| assert!(epoll.wait(Some(&NOW)).is_empty()))))
    }

    fn posts(&self, posts: &'static Posts) -> Option<Outcome> {
        let mut epoll = Epoll::new();
        let fd = Arc::new(
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd"),
        );
        // By the edge, it never needs to be read.
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll.epoll, &fd, EventData::new_u64(0), flags).expect("a fd");
        let queue = Arc::new(Mutex::new(Vec::<Box<dyn FnOnce() + Send>>::new()));
        let (theirs, wake) = (Arc::clone(&queue), Arc::clone(&fd));
        let send = move |post: Post| {
            let post = Box::new(move || post.run());
            let mut queue = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push(post);
            let first = queue.len() == 1;
            drop(queue);
            if first {
                kick(&wake);
            }
        };
        Some(posts.run(send, || {
            let mut spare = Vec::new();
            while !posts.is_done() {
                epoll.wait(None);
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut *queue, &mut spare);
                drop(queue);
                spare.drain(..).for_each(|post| post());
            }
        }))
    }

    fn idle_turn(&self, ops: u64) -> Option<Outcome> {
        let mut epoll = Epoll::new();
        let silent = new_eventfd(0);
        epoll.add(&silent, 0);
        let far = Instant::now() + Duration::from_secs(1000);
        Some(timed(ops, || {
            for _ in 0..ops {
                epoll.wait(Some(&NOW));
                assert!(Instant::now() < far);
            }
        }))
    }

    fn chain(&self, ops: u64) -> Option<Outcome> {
        type Queue = VecDeque<Box<dyn FnOnce(&mut Queues)>>;
        struct Queues(Queue);
        fn post(queue: &mut Queue, left: Rc<Cell<u64>>, beside: Rc<OwnedFd>) {
            queue.push_back(Box::new(move |queues| {
                if count_down(&left) {
                    return;
                }
                if left.get().is_multiple_of(PING_EVERY) {
                    kick(&beside);
                }
                post(&mut queues.0, left, beside);
            }));
        }
        let mut epoll = Epoll::new();
        let (beside, mut served) = (new_eventfd(0), 0);
        epoll.add(&beside, 0);
        let mut queues = Queues(VecDeque::new());
        post(&mut queues.0, Rc::new(Cell::new(ops)), Rc::clone(&beside));
        let outcome = timed(ops, || {
            while let Some(callback) = queues.0.pop_front() {
                if !epoll.wait(Some(&NOW)).is_empty() {
                    drain(&beside);
                    served += 1;
                }
                callback(&mut queues);
            }
        });
        Some(outcome.with("served", served.into()))
    }

    /// Whatever is served beside something busy is a loop.
    fn starve(&self, _beside: Beside, _ms: u64) -> Option<Outcome> {
        None
    }
}
