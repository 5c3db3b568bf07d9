//! tokio's current-thread runtime with a `LocalSet`. A callback is a local task.

use std::cell::Cell;
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Sleep, sleep_until};

use super::measure::*;
use super::subject::Subject;

pub struct Tokio;

fn builder() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    builder
}

fn runtime() -> Runtime {
    builder().build().expect("a runtime")
}

/// Runs `main`, which may spawn local tasks.
fn run<T>(runtime: &Runtime, main: impl Future<Output = T>) -> T {
    LocalSet::new().block_on(runtime, main)
}

struct Shared(Rc<OwnedFd>);

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn watch(fd: &Rc<OwnedFd>) -> AsyncFd<Shared> {
    #[allow(unsafe_code)]
    // SAFETY: the descriptor lives as long as the `AsyncFd`, which shares its ownership.
    let watched = unsafe { AsyncFd::register_with_interest(Shared(Rc::clone(fd)), INTEREST) };
    watched.map_err(std::io::Error::from).expect("a registration")
}

const INTEREST: Interest = Interest::READABLE;

/// Waits until it is readable, and reads it with `read`, which empties it.
async fn once(fd: &AsyncFd<Shared>, read: impl FnOnce()) {
    let mut ready = fd.readable().await.expect("readiness");
    read();
    // As tokio's own streams do after a short read: it saves the read that would block.
    ready.clear_ready();
}

fn register<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn sleep(deadline: Instant) -> Sleep {
    sleep_until(deadline.into())
}

fn outstanding(n: usize, base: Instant, rng: &mut Rng) -> Vec<std::pin::Pin<Box<Sleep>>> {
    let mut timers: Vec<_> = (0..n).map(|_| Box::pin(sleep(base + rng.far()))).collect();
    timers.iter_mut().for_each(|timer| register(timer.as_mut()));
    timers
}

impl Subject for Tokio {
    fn cancel_insert(&self, n: usize, ops: u64) -> Option<Outcome> {
        runtime().block_on(async {
            let (base, mut rng) = (Instant::now(), Rng::new());
            let mut timers = outstanding(n, base, &mut rng);
            Some(timed(ops, || {
                for _ in 0..ops {
                    let timer = &mut timers[rng.below(n)];
                    *timer = Box::pin(sleep(base + rng.far()));
                    register(timer.as_mut());
                }
            }))
        })
    }

    fn reset(&self, n: usize, ops: u64) -> Option<Outcome> {
        runtime().block_on(async {
            let (base, mut rng) = (Instant::now(), Rng::new());
            let mut timers = outstanding(n, base, &mut rng);
            Some(timed(ops, || {
                for _ in 0..ops {
                    let timer = &mut timers[rng.below(n)];
                    timer.as_mut().reset((base + rng.far()).into());
                }
            }))
        })
    }

    /// A task each.
    fn insert_fire(&self, n: usize, ops: u64) -> Option<Outcome> {
        static DONE: Notify = Notify::const_new();
        Some(run(&runtime(), async {
            let timing = Timing::begin();
            for _ in 0..ops / n as u64 {
                expect_fires(n as u64);
                let now = Instant::now();
                for _ in 0..n {
                    spawn_local(async move {
                        sleep(now).await;
                        if fire() {
                            DONE.notify_one();
                        }
                    });
                }
                DONE.notified().await;
            }
            timing.end(ops)
        }))
    }

    fn lateness(&self, late: Rc<Late>) -> Option<Outcome> {
        let runtime = runtime();
        let timing = Timing::begin();
        run(&runtime, async {
            loop {
                sleep(late.arm()).await;
                if !late.fired() {
                    break;
                }
            }
        });
        Some(late.report(timing))
    }

    fn ping_pong(&self, transport: Transport, ops: u64) -> Option<Outcome> {
        Some(run(&runtime(), async {
            let (left, done) = (Rc::new(Cell::new(ops)), Rc::new(Notify::new()));
            for end in End::pair(transport) {
                let (left, done) = (Rc::clone(&left), Rc::clone(&done));
                let fd = watch(&end.from);
                spawn_local(async move {
                    while left.get() > 0 {
                        once(&fd, || end.hop()).await;
                        if count_down(&left) {
                            done.notify_one();
                        }
                    }
                });
            }
            let timing = Timing::begin();
            done.notified().await;
            timing.end(ops)
        }))
    }

    fn one_of_many(&self, n: usize, ops: u64) -> Option<Outcome> {
        Some(run(&runtime(), async {
            let fds: Vec<_> = (0..n).map(|index| new_eventfd((index == n / 2).into())).collect();
            let watched: Vec<_> = fds.iter().map(watch).collect();
            let (active, fd) = (&watched[n / 2], &fds[n / 2]);
            let timing = Timing::begin();
            for _ in 0..ops {
                once(active, || {
                    drain(fd);
                    kick(fd);
                })
                .await;
            }
            timing.end(ops)
        }))
    }

    /// Both interests are watched, always.
    fn flip(&self, _ops: u64) -> Option<Outcome> {
        None
    }

    fn toggle(&self, _ops: u64) -> Option<Outcome> {
        None
    }

    fn posts(&self, posts: &'static Posts) -> Option<Outcome> {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let runtime = runtime();
        let send = move |post: Post| {
            let post: Box<dyn FnOnce() + Send> = Box::new(move || post.run());
            assert!(sender.send(post).is_ok());
        };
        Some(posts.run(send, || {
            run(&runtime, async {
                while !posts.is_done()
                    && let Some(post) = receiver.recv().await
                {
                    post();
                }
            })
        }))
    }

    /// The runtime looks at its driver every 61st time; here, every time.
    fn idle_turn(&self, ops: u64) -> Option<Outcome> {
        let runtime = builder().event_interval(1).build().expect("a runtime");
        Some(runtime.block_on(async {
            let mut far = Box::pin(sleep(Instant::now() + Duration::from_secs(1000)));
            register(far.as_mut());
            let _silent = watch(&new_eventfd(0));
            let timing = Timing::begin();
            for _ in 0..ops {
                yield_now().await;
            }
            timing.end(ops)
        }))
    }

    fn chain(&self, ops: u64) -> Option<Outcome> {
        fn post(left: Rc<Cell<u64>>, beside: Rc<OwnedFd>, done: Rc<Notify>) {
            spawn_local(async move {
                if count_down(&left) {
                    return done.notify_one();
                }
                if left.get().is_multiple_of(PING_EVERY) {
                    kick(&beside);
                }
                post(left, beside, done);
            });
        }
        let served = Rc::new(Cell::new(0));
        let outcome = run(&runtime(), async {
            let (beside, done) = (new_eventfd(0), Rc::new(Notify::new()));
            let (own, counter) = (Rc::clone(&beside), Rc::clone(&served));
            let watched = watch(&own);
            spawn_local(async move {
                loop {
                    once(&watched, || drain(&own)).await;
                    counter.set(counter.get() + 1);
                }
            });
            let timing = Timing::begin();
            post(Rc::new(Cell::new(ops)), beside, Rc::clone(&done));
            done.notified().await;
            timing.end(ops)
        });
        Some(outcome.with("served", served.get().into()))
    }

    fn starve(&self, beside: Beside, ms: u64) -> Option<Outcome> {
        fn repost(starved: Rc<Starved>, done: Rc<Notify>) {
            spawn_local(async move {
                match starved.busy() {
                    true => repost(starved, done),
                    false => done.notify_one(),
                }
            });
        }
        let starved = Starved::new(ms);
        run(&runtime(), async {
            let done = Rc::new(Notify::new());
            let timing = Timing::begin();
            let timers = Rc::clone(&starved);
            spawn_local(async move {
                loop {
                    sleep(timers.arm()).await;
                    timers.fired();
                }
            });
            let (ticked, ticker) = (Rc::clone(&starved), watch(&starved.ticker));
            spawn_local(async move {
                loop {
                    once(&ticker, || ticked.ticked()).await;
                }
            });
            let (busy, over) = (Rc::clone(&starved), Rc::clone(&done));
            match beside {
                Beside::Callback => repost(busy, over),
                Beside::Fd => {
                    let watched = watch(&new_eventfd(1));
                    spawn_local(async move {
                        while watched.readable().await.is_ok() && busy.busy() {}
                        over.notify_one();
                    });
                }
            }
            done.notified().await;
            Some(starved.report(timing))
        })
    }
}
