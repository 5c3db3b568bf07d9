//! The plan under a virtual clock.

mod cycles;
mod ends;
mod races;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::plan::{Action, AttemptId, Plan};
use crate::connection::{ConnectionParameters, ConnectionWorkflow};
use crate::error::{ConnectError, ConnectFailure, Error, HandshakeError, Phase};

const SEED: u64 = 7;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn workflow(hosts: &[&str]) -> ConnectionWorkflow {
    hosts.iter().map(|host| ConnectionParameters::new(*host)).collect::<Vec<_>>().into()
}

/// An address whose last part is `n`: of IPv6 if that is 60 to 69.
fn address(n: u8) -> SocketAddr {
    match n {
        60..70 => SocketAddr::new(format!("fd00::{n}").parse().unwrap(), 5672),
        _ => SocketAddr::new([10, 0, 0, n].into(), 5672),
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

fn socket(host: &str, n: u8, kind: io::ErrorKind) -> Error {
    let cause = io::Error::from(kind).into();
    ConnectError::Socket { host: host.into(), address: address(n), cause }.into()
}

fn bad_credentials() -> Error {
    HandshakeError::BadCredentials { reply_code: 403, reply_text: "no".into() }.into()
}

/// A plan, the clock, and what it has ordered and nobody has looked at.
struct Scene {
    plan: Plan,
    began: Instant,
    now: Instant,
    /// With the address of each attempt.
    attempts: Vec<(AttemptId, SocketAddr)>,
    ordered: Vec<String>,
    ended: Option<Error>,
}

impl Scene {
    fn new(workflow: ConnectionWorkflow) -> Self {
        let now = Instant::now();
        let mut plan = Plan::new(workflow, SEED);
        plan.start(now);
        let (attempts, ordered) = (Vec::new(), Vec::new());
        let mut scene = Self { plan, began: now, now, attempts, ordered, ended: None };
        scene.take_orders();
        scene
    }

    fn take_orders(&mut self) {
        while let Some(action) = self.plan.next_action() {
            assert_eq!(self.ended, None, "{action:?} after the end");
            let host = self.plan.parameters().map_or("", |parameters| parameters.host());
            let order = match action {
                Action::Resolve => format!("resolve {host}"),
                Action::CancelLookup => "cancel lookup".to_owned(),
                Action::Connect(id, address) => {
                    self.attempts.push((id, address));
                    format!("connect {}", last_part(address))
                }
                Action::Cancel(id) => {
                    let index = self.attempts.iter().position(|(known, _)| *known == id).unwrap();
                    format!("cancel {}", last_part(self.attempts.remove(index).1))
                }
                Action::Open(limit) => match limit {
                    Some(limit) => format!(
                        "open within {:?}, until {:?}",
                        limit.limit,
                        limit.at.duration_since(self.began)
                    ),
                    None => "open".to_owned(),
                },
                Action::GiveUp(error) => {
                    self.ended = Some(error);
                    "give up".to_owned()
                }
            };
            self.ordered.push(order);
        }
    }

    /// What was ordered since the last time.
    fn ordered(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ordered)
    }

    /// Time passes. The plan is called at its deadlines, and never before.
    fn wait(&mut self, time: Duration) -> &mut Self {
        let until = self.now + time;
        while let Some(deadline) = self.plan.deadline().filter(|deadline| *deadline <= until) {
            assert!(deadline >= self.now, "a deadline that has passed was not acted on");
            self.now = deadline;
            self.plan.deadline_passed(self.now);
            self.take_orders();
        }
        self.now = until;
        self
    }

    fn resolved(&mut self, addresses: &[u8]) -> &mut Self {
        let addresses = addresses.iter().map(|n| address(*n)).collect();
        self.plan.resolved(self.now, Ok(addresses));
        self.take_orders();
        self
    }

    fn not_resolved(&mut self) -> &mut Self {
        self.plan.resolved(self.now, Err(io::ErrorKind::NotFound.into()));
        self.take_orders();
        self
    }

    fn connected(&mut self, n: u8, outcome: io::Result<()>) -> &mut Self {
        let index = self.attempts.iter().position(|(_, known)| *known == address(n)).unwrap();
        let (id, _) = self.attempts.remove(index);
        self.plan.connected(self.now, id, outcome);
        self.take_orders();
        self
    }

    fn failed(&mut self, cause: impl Into<Error>) -> &mut Self {
        self.plan.failed(self.now, cause.into());
        self.take_orders();
        self
    }

    fn error(self) -> Error {
        assert!(self.attempts.is_empty(), "attempts under way were not cancelled");
        assert_eq!(self.plan.deadline(), None);
        self.ended.expect("it has ended")
    }

    fn failures(self) -> Vec<ConnectFailure> {
        match self.error() {
            Error::Connect(ConnectError::Failed { failures }) => failures,
            other => panic!("{other:?}"),
        }
    }

    fn timed_out(self) -> Vec<Error> {
        match self.error() {
            Error::Connect(ConnectError::TimedOut { failures, .. }) => causes(failures),
            other => panic!("{other:?}"),
        }
    }
}

fn last_part(address: SocketAddr) -> String {
    let text = address.ip().to_string();
    text.rsplit(['.', ':']).next().unwrap().to_owned()
}

fn causes(failures: Vec<ConnectFailure>) -> Vec<Error> {
    failures.into_iter().map(|failure| failure.cause).collect()
}
