//! What a Rust loop shows of itself.

use std::rc::Rc;

use super::measure::{Beside, Late, Outcome, Posts, Transport};
use super::spec::Job;

/// A loop under test: one method per workload. Each sets up, measures the loop alone, and gives
/// what it took; `None` if the loop has nothing of the kind.
pub trait Subject {
    fn cancel_insert(&self, n: usize, ops: u64) -> Option<Outcome>;
    fn reset(&self, n: usize, ops: u64) -> Option<Outcome>;
    fn insert_fire(&self, n: usize, ops: u64) -> Option<Outcome>;
    fn rearm_fire(&self, _n: usize, _ops: u64) -> Option<Outcome> {
        None
    }
    fn lateness(&self, late: Rc<Late>) -> Option<Outcome>;
    fn ping_pong(&self, transport: Transport, ops: u64) -> Option<Outcome>;
    fn one_of_many(&self, n: usize, ops: u64) -> Option<Outcome>;
    fn flip(&self, ops: u64) -> Option<Outcome>;
    fn toggle(&self, ops: u64) -> Option<Outcome>;
    fn posts(&self, posts: &'static Posts) -> Option<Outcome>;
    fn idle_turn(&self, ops: u64) -> Option<Outcome>;
    fn chain(&self, ops: u64) -> Option<Outcome>;
    fn starve(&self, beside: Beside, ms: u64) -> Option<Outcome>;
}

pub fn run(subject: &dyn Subject, job: Job, n: u64, ops: u64) -> Option<Outcome> {
    let count = n as usize;
    match job {
        Job::CancelInsert => subject.cancel_insert(count, ops),
        Job::Reset => subject.reset(count, ops),
        Job::InsertFire => subject.insert_fire(count, ops),
        Job::RearmFire => subject.rearm_fire(count, ops),
        Job::Lateness => subject.lateness(Late::busy(ops)),
        Job::SetFire => subject.lateness(Late::idle(ops)),
        Job::PingSocket => subject.ping_pong(Transport::Socket, ops),
        Job::PingEventfd => subject.ping_pong(Transport::Eventfd, ops),
        Job::OneOfMany => subject.one_of_many(count, ops),
        Job::Flip => subject.flip(ops),
        Job::Toggle => subject.toggle(ops),
        Job::WakeFlood => subject.posts(Posts::flood(n, ops)),
        Job::WakeIdle => subject.posts(Posts::paced(ops)),
        Job::WakeStep => subject.posts(Posts::in_step(ops)),
        Job::IdleTurn => subject.idle_turn(ops),
        Job::Chain => subject.chain(ops),
        Job::StarveFd => subject.starve(Beside::Fd, ops),
        Job::StarveCallback => subject.starve(Beside::Callback, ops),
    }
}
