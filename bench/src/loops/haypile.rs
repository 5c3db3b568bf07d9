//! haypile's own loop.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{IOLoop, LoopHandle, PollerKind, Ready, TimerId};

use super::measure::*;
use super::subject::Subject;

pub struct Haypile(pub PollerKind);

impl Haypile {
    fn ioloop(&self) -> IOLoop {
        IOLoop::with_poller(self.0).expect("a loop")
    }
}

fn start(ioloop: &IOLoop) {
    ioloop.start().expect("a run");
}

/// One turn that does not wait.
fn turn(ioloop: &IOLoop) {
    ioloop.run_once(Some(Duration::ZERO)).expect("a turn");
}

/// Has the loop do now what it puts off until its next turn.
fn pay(ioloop: &IOLoop, op: u64) {
    if op % 1000 == 999 {
        turn(ioloop);
    }
}

struct Outstanding {
    base: Instant,
    rng: Rng,
    fired: Rc<Cell<u64>>,
    ids: Vec<TimerId>,
}

impl Outstanding {
    fn new(ioloop: &IOLoop, n: usize) -> Self {
        let mut this =
            Self { base: Instant::now(), rng: Rng::new(), fired: Rc::default(), ids: Vec::new() };
        for _ in 0..n {
            let id = this.insert(ioloop);
            this.ids.push(id);
        }
        this
    }

    fn insert(&mut self, ioloop: &IOLoop) -> TimerId {
        let fired = Rc::clone(&self.fired);
        ioloop.add_timeout(self.base + self.rng.far(), move || fired.set(fired.get() + 1))
    }
}

impl Subject for Haypile {
    fn cancel_insert(&self, n: usize, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let mut timers = Outstanding::new(&ioloop, n);
        Some(timed(ops, || {
            for op in 0..ops {
                let index = timers.rng.below(n);
                assert!(ioloop.remove_timeout(timers.ids[index]));
                timers.ids[index] = timers.insert(&ioloop);
                pay(&ioloop, op);
            }
        }))
    }

    fn reset(&self, n: usize, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let mut timers = Outstanding::new(&ioloop, n);
        Some(timed(ops, || {
            for op in 0..ops {
                let id = timers.ids[timers.rng.below(n)];
                assert!(ioloop.reset_timeout(id, timers.base + timers.rng.far()));
                pay(&ioloop, op);
            }
        }))
    }

    fn insert_fire(&self, n: usize, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        Some(timed(ops, || {
            for _ in 0..ops / n as u64 {
                expect_fires(n as u64);
                let now = Instant::now();
                for _ in 0..n {
                    ioloop.add_timeout(now, || _ = fire());
                }
                while fires_left() {
                    turn(&ioloop);
                }
            }
        }))
    }

    /// With periodic timers, which keep their closures.
    fn rearm_fire(&self, n: usize, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let left = Rc::new(Cell::new(0));
        let ids: Vec<_> = (0..n)
            .map(|_| {
                let left = Rc::clone(&left);
                ioloop.call_every(Duration::from_secs(1000), move || left.set(left.get() - 1))
            })
            .collect();
        Some(timed(ops, || {
            for _ in 0..ops / n as u64 {
                left.set(n as u64);
                let now = Instant::now();
                for &id in &ids {
                    assert!(ioloop.reset_timeout(id, now));
                }
                while left.get() > 0 {
                    turn(&ioloop);
                }
            }
        }))
    }

    fn lateness(&self, late: Rc<Late>) -> Option<Outcome> {
        fn arm(ioloop: LoopHandle, late: Rc<Late>) {
            let deadline = late.arm();
            ioloop.clone().add_timeout(deadline, move || match late.fired() {
                true => arm(ioloop, late),
                false => ioloop.stop(),
            });
        }
        let ioloop = self.ioloop();
        let timing = Timing::begin();
        arm(ioloop.handle(), Rc::clone(&late));
        start(&ioloop);
        Some(late.report(timing))
    }

    fn ping_pong(&self, transport: Transport, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let left = Rc::new(Cell::new(ops));
        for end in End::pair(transport) {
            let left = Rc::clone(&left);
            watch(&ioloop, &Rc::clone(&end.from), move |ioloop, _| {
                end.hop();
                if count_down(&left) {
                    ioloop.stop();
                }
            });
        }
        Some(timed(ops, || start(&ioloop)))
    }

    fn one_of_many(&self, n: usize, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let left = Rc::new(Cell::new(ops));
        for index in 0..n {
            let fd = new_eventfd((index == n / 2).into());
            let left = Rc::clone(&left);
            let own = Rc::clone(&fd);
            watch(&ioloop, &fd, move |ioloop, _| {
                drain(&own);
                if count_down(&left) {
                    ioloop.stop();
                }
                kick(&own);
            });
        }
        Some(timed(ops, || start(&ioloop)))
    }

    fn flip(&self, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let [_other, end] = End::pair(Transport::Socket);
        let key = Rc::new(Cell::new(None));
        let (own, left) = (Rc::clone(&key), Rc::new(Cell::new(ops)));
        let counter = Rc::clone(&left);
        key.set(Some(watch(&ioloop, &end.from, move |ioloop, ready| {
            if ready.contains(Ready::WRITE)
                && let Some(key) = own.get()
            {
                counter.set(counter.get() - 1);
                ioloop.update_handler(key, Ready::READ).expect("an update");
            }
        })));
        let key = key.get()?;
        Some(timed(ops, || {
            while left.get() > 0 {
                ioloop.update_handler(key, Ready::READ | Ready::WRITE).expect("an update");
                turn(&ioloop);
            }
        }))
    }

    fn toggle(&self, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let [_other, end] = End::pair(Transport::Socket);
        let key = watch(&ioloop, &end.from, |_, _| {});
        Some(timed(ops, || {
            for _ in 0..ops {
                ioloop.update_handler(key, Ready::READ | Ready::WRITE).expect("an update");
                ioloop.update_handler(key, Ready::READ).expect("an update");
                turn(&ioloop);
            }
        }))
    }

    fn posts(&self, posts: &'static Posts) -> Option<Outcome> {
        let ioloop = self.ioloop();
        let (remote, stopper) = (ioloop.remote(), ioloop.stopper());
        posts.on_done(move || stopper.stop().expect("a stop"));
        let send = move |post: Post| remote.add_callback(move || post.run()).expect("a post");
        Some(posts.run(send, || start(&ioloop)))
    }

    fn idle_turn(&self, ops: u64) -> Option<Outcome> {
        let ioloop = self.ioloop();
        ioloop.call_later(Duration::from_secs(1000), || {});
        watch(&ioloop, &new_eventfd(0), |_, _| {});
        Some(timed(ops, || (0..ops).for_each(|_| turn(&ioloop))))
    }

    fn chain(&self, ops: u64) -> Option<Outcome> {
        fn post(ioloop: LoopHandle, left: Rc<Cell<u64>>, beside: Rc<OwnedFd>) {
            ioloop.clone().add_callback(move || {
                if count_down(&left) {
                    return ioloop.stop();
                }
                if left.get().is_multiple_of(PING_EVERY) {
                    kick(&beside);
                }
                post(ioloop, left, beside);
            });
        }
        let ioloop = self.ioloop();
        let beside = new_eventfd(0);
        let served = Rc::new(RefCell::new(0));
        let (own, counter) = (Rc::clone(&beside), Rc::clone(&served));
        watch(&ioloop, &beside, move |_, _| {
            drain(&own);
            *counter.borrow_mut() += 1;
        });
        post(ioloop.handle(), Rc::new(Cell::new(ops)), beside);
        let outcome = timed(ops, || start(&ioloop));
        let served = *served.borrow();
        Some(outcome.with("served", served.into()))
    }

    fn starve(&self, beside: Beside, ms: u64) -> Option<Outcome> {
        fn arm(ioloop: LoopHandle, starved: Rc<Starved>) {
            let deadline = starved.arm();
            ioloop.clone().add_timeout(deadline, move || {
                starved.fired();
                arm(ioloop, starved);
            });
        }
        fn repost(ioloop: LoopHandle, starved: Rc<Starved>) {
            ioloop.clone().add_callback(move || match starved.busy() {
                true => repost(ioloop, starved),
                false => ioloop.stop(),
            });
        }
        let ioloop = self.ioloop();
        let starved = Starved::new(ms);
        let ticked = Rc::clone(&starved);
        watch(&ioloop, &starved.ticker, move |_, _| ticked.ticked());
        let busy = Rc::clone(&starved);
        match beside {
            Beside::Callback => repost(ioloop.handle(), busy),
            Beside::Fd => {
                watch(&ioloop, &new_eventfd(1), move |ioloop, _| {
                    if !busy.busy() {
                        ioloop.stop();
                    }
                });
            }
        }
        let timing = Timing::begin();
        arm(ioloop.handle(), Rc::clone(&starved));
        start(&ioloop);
        Some(starved.report(timing))
    }
}

fn watch(
    ioloop: &IOLoop,
    fd: &Rc<OwnedFd>,
    handler: impl FnMut(&LoopHandle, Ready) + 'static,
) -> haypile::FdKey {
    ioloop.add_handler(Rc::clone(fd), Ready::READ, handler).expect("a handler")
}
