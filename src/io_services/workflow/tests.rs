//! The plan under a virtual clock.

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

#[test]
fn the_stack_timeout_counts_from_the_start_of_the_tcp_connect() {
    let mut scene = Scene::new(workflow(&["a"]));
    assert_eq!(scene.ordered(), ["resolve a"]);
    scene.wait(seconds(1)).resolved(&[1]);
    assert_eq!(scene.ordered(), ["connect 1"]);
    scene.wait(seconds(9)).connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["open within 15s, until 16s"]);
    assert_eq!(scene.plan.deadline(), None, "the machine keeps the limit");
}

#[test]
fn what_fails_once_is_the_error_itself() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[1]).connected(1, Err(refused()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "give up"]);
    assert_eq!(scene.error(), socket("a", 1, io::ErrorKind::ConnectionRefused));

    let mut scene = Scene::new(workflow(&["a"]));
    scene.not_resolved();
    let cause = io::Error::from(io::ErrorKind::NotFound).into();
    assert_eq!(scene.error(), ConnectError::Resolve { host: "a".into(), cause }.into());

    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[]);
    assert!(scene.error().to_string().contains("no address"));

    // All addresses of the host, and all cycles, end alike.
    let mut all = workflow(&["a"]);
    all.set_connection_attempts(2).unwrap();
    let mut scene = Scene::new(all);
    let lost = || HandshakeError::NotAmqp { received: "HTTP".into() };
    for _ in 0..2 {
        scene.wait(seconds(2)).resolved(&[1, 2]);
        scene.connected(1, Ok(())).failed(lost());
        scene.connected(2, Ok(())).failed(lost());
    }
    assert_eq!(scene.error(), lost().into());
}

#[test]
fn nothing_to_try_is_an_error() {
    assert_eq!(Scene::new(workflow(&[])).error(), ConnectError::NoHost.into());
}

#[test]
fn an_address_that_is_silent_is_raced_by_one_of_the_other_family() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[60, 61, 1]);
    assert_eq!(scene.ordered(), ["resolve a", "connect 60"]);
    scene.wait(millis(249));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["connect 1"]);
    scene.wait(millis(100)).connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["cancel 60", "open within 15s, until 15.25s"]);
    // It is no broker: those that have lost the race, and those that have not run, are tried.
    scene.failed(HandshakeError::NotAmqp { received: "SSH".into() });
    assert_eq!(scene.ordered(), ["connect 60"]);
    scene.wait(millis(250));
    assert_eq!(scene.ordered(), ["connect 61"]);
    scene.connected(60, Err(refused())).connected(61, Err(refused()));
    let failures = scene.failures();
    let addresses: Vec<_> = failures.iter().map(|failure| failure.address).collect();
    assert_eq!(addresses, [Some(address(1)), Some(address(60)), Some(address(61))]);
}

#[test]
fn those_that_lose_a_race_are_tried_in_their_order_before_those_that_did_not_run() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[1, 2, 3, 4]).wait(millis(500));
    scene.connected(3, Ok(())).ordered();
    scene.failed(HandshakeError::NotAmqp { received: "SSH".into() });
    for n in [1, 2, 4] {
        assert_eq!(scene.ordered(), [format!("connect {n}")]);
        scene.connected(n, Err(refused()));
    }
    assert_eq!(scene.failures().len(), 4);
}

#[test]
fn the_delay_of_the_race_can_be_set() {
    let mut patient = workflow(&["a"]);
    patient.set_connection_attempt_delay(seconds(2)).unwrap();
    let mut scene = Scene::new(patient);
    scene.resolved(&[1, 2, 3]).wait(millis(1999));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1"]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["connect 2"]);
    scene.wait(seconds(2));
    assert_eq!(scene.ordered(), ["connect 3"]);
}

#[test]
fn an_attempt_that_fails_has_the_next_start_at_once() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[1, 2, 3]).wait(millis(10)).connected(1, Err(refused()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "connect 2"]);
    // And the delay counts from then.
    scene.wait(millis(249));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["connect 3"]);
    scene.connected(3, Err(refused()));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.connected(2, Ok(()));
    assert_eq!(scene.ordered(), ["open within 15s, until 15.01s"]);
}

#[test]
fn an_address_has_the_socket_timeout_or_the_stack_timeout_if_that_is_shorter() {
    for (socket_timeout, stack_timeout) in [(3, 15), (10, 3)] {
        let mut parameters = ConnectionParameters::new("a");
        parameters.set_socket_timeout(Some(seconds(socket_timeout))).unwrap();
        parameters.set_stack_timeout(Some(seconds(stack_timeout))).unwrap();
        let mut scene = Scene::new(parameters.into());
        scene.resolved(&[1]).wait(millis(2999));
        assert_eq!(scene.ordered(), ["resolve a", "connect 1"]);
        scene.wait(millis(1));
        assert_eq!(scene.ordered(), ["cancel 1", "give up"]);
        assert_eq!(scene.error(), socket("a", 1, io::ErrorKind::TimedOut));
    }
}

#[test]
fn addresses_that_run_together_end_each_by_its_own_timeout() {
    let mut scene = Scene::new(workflow(&["a", "b"]));
    scene.resolved(&[1, 2]).wait(seconds(10));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "connect 2", "cancel 1"]);
    scene.wait(millis(249));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["cancel 2", "resolve b"]);
}

#[test]
fn without_timeouts_it_waits() {
    let mut parameters = ConnectionParameters::new("a");
    parameters.set_socket_timeout(None).unwrap().set_stack_timeout(None).unwrap();
    let mut scene = Scene::new(parameters.into());
    assert_eq!(scene.plan.deadline(), None);
    scene.resolved(&[1]);
    assert_eq!(scene.plan.deadline(), None);
    scene.connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "open"]);
}

#[test]
fn a_host_that_fails_in_any_way_leads_to_the_next() {
    let mut scene = Scene::new(workflow(&["nowhere", "down", "other", "strict", "good"]));
    scene.not_resolved();
    scene.resolved(&[1]).connected(1, Err(refused()));
    scene.resolved(&[2]).connected(2, Ok(()));
    scene.failed(HandshakeError::NotAmqp { received: "HTTP".into() });
    scene.resolved(&[3]).connected(3, Ok(())).failed(bad_credentials());
    scene.ordered();
    scene.resolved(&[4]).connected(4, Ok(()));
    assert_eq!(scene.ordered(), ["connect 4", "open within 15s, until 15s"]);
    // So near, and lost: the story is whole.
    scene.failed(HandshakeError::TimedOut { phase: Phase::Open, limit: seconds(15) });
    assert_eq!(
        scene.error().to_string(),
        "no connection: \
         cannot resolve host \"nowhere\": entity not found; \
         cannot connect to \"down\" at 10.0.0.1:5672: connection refused; \
         \"other\" at 10.0.0.2:5672: the server does not speak AMQP: its first bytes are \"HTTP\"; \
         \"strict\" at 10.0.0.3:5672: authentication failed: (403) no; \
         \"good\" at 10.0.0.4:5672: no answer within 15s while opening the virtual host"
    );
}

#[test]
fn a_lookup_that_hangs_is_that_hosts_failure() {
    let mut scene = Scene::new(workflow(&["hangs", "good"]));
    scene.wait(seconds(15));
    assert_eq!(scene.ordered(), ["resolve hangs", "cancel lookup", "resolve good"]);
    scene.resolved(&[1]).connected(1, Err(refused()));
    let cause = io::Error::from(io::ErrorKind::TimedOut).into();
    let hung = ConnectError::Resolve { host: "hangs".into(), cause }.into();
    let down = socket("good", 1, io::ErrorKind::ConnectionRefused);
    assert_eq!(causes(scene.failures()), [hung, down]);
}

#[test]
fn cycles_are_repeated_with_growing_pauses_and_counted() {
    let mut all = workflow(&["a", "b"]);
    all.set_connection_attempts(4).unwrap().set_retry_delay(seconds(2));
    all.set_max_retry_delay(seconds(6));
    let mut scene = Scene::new(all);
    for longest in [2, 4, 6, 0].map(seconds) {
        assert_eq!(scene.ordered(), ["resolve a"]);
        scene.not_resolved().resolved(&[1]).connected(1, Err(refused()));
        let paused_at = scene.now;
        assert_eq!(scene.ordered()[..2], ["resolve b", "connect 1"]);
        if let Some(next) = scene.plan.deadline() {
            let pause = next - paused_at;
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
            scene.wait(pause);
        }
    }
    let failures = scene.failures();
    assert_eq!(failures.iter().map(|failure| failure.times).collect::<Vec<_>>(), [4, 4]);
    assert!(failures[1].to_string().ends_with("connection refused (4 times)"), "{}", failures[1]);
}

#[test]
fn refused_credentials_are_not_tried_again() {
    let cycle = |scene: &mut Scene, others: bool| {
        scene.resolved(&[1]).connected(1, Ok(())).failed(bad_credentials());
        match others {
            true => scene.not_resolved(),
            false => scene.resolved(&[2]).connected(2, Ok(())).failed(bad_credentials()),
        };
    };
    let mut all = workflow(&["a", "b"]);
    all.set_connection_attempts(3).unwrap();
    let mut scene = Scene::new(all.clone());
    cycle(&mut scene, false);
    assert_eq!(causes(scene.failures()), [bad_credentials(), bad_credentials()]);
    // But if something else went wrong beside, it may go well another time.
    let mut scene = Scene::new(all);
    cycle(&mut scene, true);
    assert_eq!(scene.ended, None);
    scene.wait(seconds(2));
    assert_eq!(scene.ordered().last().unwrap(), "resolve a");
    // What failed in an earlier cycle does not count for this one.
    cycle(&mut scene, false);
    assert_eq!(causes(scene.failures()).len(), 3);
}

#[test]
fn one_deadline_ends_it_in_each_phase() {
    let limited = || {
        let mut all = workflow(&["a", "b"]);
        all.set_connection_attempts(100).unwrap().set_timeout(Some(seconds(8))).unwrap();
        all
    };
    let lookup = |host: &str| {
        let cause = io::Error::from(io::ErrorKind::TimedOut).into();
        Error::from(ConnectError::Resolve { host: host.into(), cause })
    };
    // Resolving.
    let mut scene = Scene::new(limited());
    scene.wait(millis(7999));
    assert_eq!(scene.ordered(), ["resolve a"]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["cancel lookup", "give up"]);
    assert_eq!(scene.timed_out(), [lookup("a")]);
    // Racing: what waits was not tried.
    let mut scene = Scene::new(limited());
    scene.wait(millis(7600)).resolved(&[1, 2, 3]).wait(millis(400));
    assert_eq!(
        scene.ordered(),
        ["resolve a", "connect 1", "connect 2", "cancel 1", "cancel 2", "give up"]
    );
    let late = |n| socket("a", n, io::ErrorKind::TimedOut);
    assert_eq!(scene.timed_out(), [late(1), late(2)]);
    // Opening: the machine is given the limit, and ends by it.
    let mut scene = Scene::new(limited());
    scene.wait(seconds(1)).resolved(&[1]).wait(seconds(1)).connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "open within 8s, until 8s"]);
    let error = HandshakeError::TimedOut { phase: Phase::Protocol, limit: seconds(8) };
    scene.wait(seconds(6)).failed(error.clone());
    assert_eq!(scene.ordered(), ["give up"]);
    assert_eq!(scene.timed_out(), [error.into()]);
    // Pausing, for at least a second: the pause that would end too late is not begun.
    let mut scene = Scene::new(limited());
    scene.not_resolved().wait(millis(7000)).not_resolved();
    assert_eq!(scene.failures().len(), 2);
}

#[test]
fn what_was_cancelled_is_ignored() {
    let mut scene = Scene::new(workflow(&["a", "b"]));
    scene.resolved(&[1, 2]).wait(millis(250));
    let late = scene.attempts.clone();
    scene.connected(2, Ok(()));
    scene.ordered();
    for (id, _) in late {
        scene.plan.connected(scene.now, id, Ok(()));
        scene.plan.connected(scene.now, id, Err(refused()));
    }
    scene.plan.resolved(scene.now, Ok(vec![address(9)]));
    scene.plan.deadline_passed(scene.now + seconds(1000));
    scene.take_orders();
    assert_eq!(scene.ordered(), [""; 0]);
    // Nor does it take what it did not ask for.
    scene.failed(bad_credentials()).failed(bad_credentials());
    assert_eq!(scene.ordered(), ["connect 1"]);
}

#[test]
fn an_early_call_does_nothing() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.ordered();
    for is_resolving in [true, false] {
        if !is_resolving {
            scene.resolved(&[1, 2]).ordered();
        }
        let deadline = scene.plan.deadline().unwrap();
        scene.plan.deadline_passed(deadline - Duration::from_nanos(1));
        scene.take_orders();
        assert_eq!(scene.ordered(), [""; 0]);
        assert_eq!(scene.plan.deadline(), Some(deadline));
    }
}

#[test]
fn who_tries_for_ever_keeps_a_bounded_story() {
    let mut endless = workflow(&["a"]);
    endless.set_connection_attempts(u32::MAX).unwrap().set_retry_delay(Duration::ZERO);
    let day = Duration::from_secs(24 * 60 * 60);
    endless.set_timeout(Some(day)).unwrap();
    let mut scene = Scene::new(endless);
    for n in 0..5000 {
        scene.wait(Duration::ZERO).resolved(&[1]).connected(1, Ok(()));
        scene.failed(HandshakeError::NotAmqp { received: format!("{n}") });
    }
    scene.wait(day);
    assert!((200..1000).contains(&scene.timed_out().len()));
}

/// Whatever the network does, and whenever, it ends: by the deadline, once, and with nothing left
/// under way.
#[test]
fn it_always_ends() {
    for seed in 0..3000_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut chance = move |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let mut all = workflow(&["a", "b", "c"]);
        all.set_connection_attempts(1 + chance(4) as u32).unwrap();
        let limit = seconds(1 + chance(200));
        all.set_timeout(Some(limit)).unwrap();
        let mut scene = Scene::new(all);
        let end = scene.began + limit;
        while scene.ended.is_none() {
            assert!(scene.now < end, "seed {seed}");
            scene.wait(millis(chance(3000)));
            if scene.plan.is_opening() && scene.now >= end {
                // The machine's limit.
                scene.failed(bad_credentials());
            }
            match chance(6) {
                0 => drop(scene.not_resolved()),
                1 => drop(scene.resolved(&[60, 1, 2, 61, 3][..chance(6) as usize])),
                2 | 3 if !scene.attempts.is_empty() => {
                    let index = chance(scene.attempts.len() as u64) as usize;
                    let (id, _) = scene.attempts.remove(index);
                    let outcome = if chance(3) == 0 { Ok(()) } else { Err(refused()) };
                    scene.plan.connected(scene.now, id, outcome);
                    scene.take_orders();
                }
                4 => drop(scene.failed(bad_credentials())),
                _ => {}
            }
        }
        scene.error();
    }
}
