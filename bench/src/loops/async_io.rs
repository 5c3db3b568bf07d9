//! async-io, with its neighbours of smol: async-executor for tasks, async-channel for posts.

use std::cell::Cell;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::{Async, Timer, block_on};
use futures_lite::future::yield_now;

use super::measure::*;
use super::subject::Subject;

pub struct AsyncIo;

type Executor = Rc<LocalExecutor<'static>>;

fn run<T>(executor: &Executor, main: impl Future<Output = T>) -> T {
    block_on(executor.run(main))
}

fn watch(fd: &Rc<OwnedFd>) -> Async<Rc<OwnedFd>> {
    Async::new_nonblocking(Rc::clone(fd)).expect("a registration")
}

async fn readable(fd: &Async<Rc<OwnedFd>>) {
    fd.readable().await.expect("readiness");
}

fn register(timer: &mut Timer) {
    assert!(Pin::new(timer).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn outstanding(n: usize, base: Instant, rng: &mut Rng) -> Vec<Timer> {
    let mut timers: Vec<_> = (0..n).map(|_| Timer::at(base + rng.far())).collect();
    timers.iter_mut().for_each(register);
    timers
}

/// Only then does it turn here: a thread of its own does, while no other seems to. And it would again
/// after twenty.
pub async fn settle() {
    Timer::after(Duration::from_millis(15)).await;
}

/// Waits for what tasks count down.
async fn until_done(done: async_channel::Receiver<()>) {
    done.recv().await.expect("an end");
}

impl Subject for AsyncIo {
    fn cancel_insert(&self, n: usize, ops: u64) -> Option<Outcome> {
        block_on(async {
            let (base, mut rng) = (Instant::now(), Rng::new());
            let mut timers = outstanding(n, base, &mut rng);
            Some(timed(ops, || {
                for _ in 0..ops {
                    let index = rng.below(n);
                    timers[index] = Timer::at(base + rng.far());
                    register(&mut timers[index]);
                }
            }))
        })
    }

    fn reset(&self, n: usize, ops: u64) -> Option<Outcome> {
        block_on(async {
            let (base, mut rng) = (Instant::now(), Rng::new());
            let mut timers = outstanding(n, base, &mut rng);
            Some(timed(ops, || {
                for _ in 0..ops {
                    timers[rng.below(n)].set_at(base + rng.far());
                }
            }))
        })
    }

    /// A task each.
    fn insert_fire(&self, n: usize, ops: u64) -> Option<Outcome> {
        static SENDER: OnceLock<Done> = OnceLock::new();
        let executor = Executor::default();
        let (sender, done) = async_channel::bounded(1);
        let sender = SENDER.get_or_init(|| sender);
        Some(run(&executor, async {
            let timing = Timing::begin();
            for _ in 0..ops / n as u64 {
                expect_fires(n as u64);
                let now = Instant::now();
                for _ in 0..n {
                    let one = async move {
                        Timer::at(now).await;
                        if fire() {
                            sender.try_send(()).expect("an end");
                        }
                    };
                    executor.spawn(one).detach();
                }
                until_done(done.clone()).await;
            }
            timing.end(ops)
        }))
    }

    fn lateness(&self, late: Rc<Late>) -> Option<Outcome> {
        let timing = Timing::begin();
        block_on(async {
            loop {
                Timer::at(late.arm()).await;
                if !late.fired() {
                    break;
                }
            }
        });
        Some(late.report(timing))
    }

    fn ping_pong(&self, transport: Transport, ops: u64) -> Option<Outcome> {
        let executor = Executor::default();
        Some(run(&executor, async {
            let (sender, done) = async_channel::bounded(1);
            let left = Rc::new(Cell::new(ops));
            for end in End::pair(transport) {
                let (left, sender, fd) = (Rc::clone(&left), sender.clone(), watch(&end.from));
                let play = async move {
                    while left.get() > 0 {
                        readable(&fd).await;
                        end.hop();
                        if count_down(&left) {
                            sender.try_send(()).expect("an end");
                        }
                    }
                };
                executor.spawn(play).detach();
            }
            let timing = Timing::begin();
            until_done(done).await;
            timing.end(ops)
        }))
    }

    fn one_of_many(&self, n: usize, ops: u64) -> Option<Outcome> {
        Some(block_on(async {
            let fds: Vec<_> = (0..n).map(|index| new_eventfd((index == n / 2).into())).collect();
            let watched: Vec<_> = fds.iter().map(watch).collect();
            let (active, fd) = (&watched[n / 2], &fds[n / 2]);
            // To be waited for is what puts a descriptor on its poller.
            let mut context = Context::from_waker(Waker::noop());
            for silent in watched.iter().filter(|other| !Rc::ptr_eq(other.get_ref(), fd)) {
                assert!(silent.poll_readable(&mut context).is_pending());
            }
            let timing = Timing::begin();
            for _ in 0..ops {
                readable(active).await;
                drain(fd);
                kick(fd);
            }
            timing.end(ops)
        }))
    }

    /// Interest is what is waited for: to read as well, each time.
    fn flip(&self, ops: u64) -> Option<Outcome> {
        Some(block_on(async {
            let [_other, end] = End::pair(Transport::Socket);
            let fd = watch(&end.from);
            let timing = Timing::begin();
            for _ in 0..ops {
                assert!(fd.poll_readable(&mut Context::from_waker(Waker::noop())).is_pending());
                fd.writable().await.expect("readiness");
            }
            timing.end(ops)
        }))
    }

    fn toggle(&self, _ops: u64) -> Option<Outcome> {
        None
    }

    fn posts(&self, posts: &'static Posts) -> Option<Outcome> {
        let (sender, receiver) = async_channel::unbounded();
        let send = move |post: Post| {
            let post: Box<dyn FnOnce() + Send> = Box::new(move || post.run());
            assert!(sender.try_send(post).is_ok());
        };
        let receive = async {
            while !posts.is_done()
                && let Ok(post) = receiver.recv().await
            {
                post();
            }
        };
        Some(block_on(async {
            settle().await;
            posts.run(send, || block_on(receive))
        }))
    }

    fn idle_turn(&self, ops: u64) -> Option<Outcome> {
        Some(block_on(async {
            let mut far = Timer::after(Duration::from_secs(1000));
            register(&mut far);
            let silent = watch(&new_eventfd(0));
            assert!(silent.poll_readable(&mut Context::from_waker(Waker::noop())).is_pending());
            settle().await;
            let timing = Timing::begin();
            for _ in 0..ops {
                yield_now().await;
            }
            timing.end(ops)
        }))
    }

    fn chain(&self, ops: u64) -> Option<Outcome> {
        fn post(executor: Executor, left: Rc<Cell<u64>>, beside: Rc<OwnedFd>, done: Done) {
            let own = Rc::clone(&executor);
            let callback = async move {
                if count_down(&left) {
                    return done.try_send(()).expect("an end");
                }
                if left.get().is_multiple_of(PING_EVERY) {
                    kick(&beside);
                }
                post(executor, left, beside, done);
            };
            own.spawn(callback).detach();
        }
        let executor = Executor::default();
        let (sender, done) = async_channel::bounded(1);
        let (beside, served) = (new_eventfd(0), Rc::new(Cell::new(0)));
        let (own, counter) = (Rc::clone(&beside), Rc::clone(&served));
        let watched = watch(&beside);
        let serve = async move {
            loop {
                readable(&watched).await;
                drain(&own);
                counter.set(counter.get() + 1);
            }
        };
        executor.spawn(serve).detach();
        let outcome = timed(ops, || {
            post(Rc::clone(&executor), Rc::new(Cell::new(ops)), beside, sender);
            run(&executor, until_done(done));
        });
        Some(outcome.with("served", served.get().into()))
    }

    fn starve(&self, beside: Beside, ms: u64) -> Option<Outcome> {
        fn repost(executor: Executor, starved: Rc<Starved>, done: Done) {
            let own = Rc::clone(&executor);
            let callback = async move {
                match starved.busy() {
                    true => repost(executor, starved, done),
                    false => done.try_send(()).expect("an end"),
                }
            };
            own.spawn(callback).detach();
        }
        let executor = Executor::default();
        let starved = Starved::new(ms);
        let (sender, done) = async_channel::bounded(1);
        let timers = Rc::clone(&starved);
        let timer = async move {
            loop {
                Timer::at(timers.arm()).await;
                timers.fired();
            }
        };
        let (ticked, ticker) = (Rc::clone(&starved), watch(&starved.ticker));
        let tick = async move {
            loop {
                readable(&ticker).await;
                ticked.ticked();
            }
        };
        let timing = Timing::begin();
        executor.spawn(timer).detach();
        executor.spawn(tick).detach();
        let busy = Rc::clone(&starved);
        match beside {
            Beside::Callback => repost(Rc::clone(&executor), busy, sender),
            Beside::Fd => {
                let watched = watch(&new_eventfd(1));
                let keep_busy = async move {
                    while watched.readable().await.is_ok() && busy.busy() {}
                    sender.try_send(()).expect("an end");
                };
                executor.spawn(keep_busy).detach();
            }
        }
        run(&executor, until_done(done));
        Some(starved.report(timing))
    }
}

type Done = async_channel::Sender<()>;
