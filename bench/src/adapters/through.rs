//! Jobs of `bench loop`, done through haypile's services on a loop.

use std::cell::{Cell, OnceCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Instant;

use haypile::{FdHandler, Interest, Ready, Services};

use crate::Result;
use crate::hosts::Host;
use crate::loops::measure::{
    End, Late, Outcome, Post, Posts, Timing, Transport, count_down, expect_fires, fire, timed,
};
use crate::loops::spec::Job;

thread_local! {
    static STOP: OnceCell<Rc<dyn Fn()>> = const { OnceCell::new() };
}

/// Stops the loop of this thread.
fn stop() {
    STOP.with(|stop| stop.get().expect("it is set")());
}

pub fn run<H: Host>(job: Job, n: u64, ops: u64) -> Result<Option<Outcome>> {
    let host = H::new()?;
    STOP.with(|stop| assert!(stop.set(host.stopper()).is_ok()));
    // As with a connection: a loop may end that has nothing but descriptors and timers of ours.
    let _guard = host.services().work_guard();
    let outcome = match job {
        Job::PingSocket => ping_pong(&host, ops)?,
        Job::SetFire => set_fire(&host, Late::idle(ops)),
        Job::InsertFire => insert_fire(&host, n, ops),
        Job::WakeStep => posts(&host, Posts::in_step(ops)),
        _ => return Ok(None),
    };
    Ok(Some(outcome))
}

struct Hop {
    end: End,
    left: Rc<Cell<u64>>,
}

impl AsFd for Hop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.from.as_fd()
    }
}

impl FdHandler for Hop {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        self.end.hop();
        if count_down(&self.left) {
            stop();
        }
        ready
    }
}

fn ping_pong(host: &impl Host, ops: u64) -> Result<Outcome> {
    let left = Rc::new(Cell::new(ops));
    for end in End::pair(Transport::Socket) {
        let hop = Hop { end, left: Rc::clone(&left) };
        host.services().add_fd(Interest::READ, Rc::new(hop))?;
    }
    Ok(timed(ops, || host.run()))
}

fn set_fire(host: &impl Host, late: Rc<Late>) -> Outcome {
    fn arm(services: Services, late: Rc<Late>) {
        let deadline = late.arm();
        services.clone().add_timeout(deadline, move || match late.fired() {
            true => arm(services, late),
            false => stop(),
        });
    }
    let timing = Timing::begin();
    arm(host.services().clone(), Rc::clone(&late));
    host.run();
    late.report(timing)
}

fn insert_fire(host: &impl Host, n: u64, ops: u64) -> Outcome {
    let mut rounds = ops / n;
    let round = || {
        let Some(left) = rounds.checked_sub(1) else { return false };
        rounds = left;
        expect_fires(n);
        let now = Instant::now();
        for _ in 0..n {
            host.services().add_timeout(now, || {
                if fire() {
                    stop();
                }
            });
        }
        true
    };
    timed(ops, || host.run_rounds(round))
}

fn posts(host: &impl Host, posts: &'static Posts) -> Outcome {
    posts.on_done(stop);
    let remote = host.services().remote();
    let send = move |post: Post| remote.add_callback(move || post.run()).expect("a post");
    host.settled(|| posts.run(send, || host.run()))
}
