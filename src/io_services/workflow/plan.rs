//! What to try next, as a state machine without I/O and without a clock: what happened goes in,
//! [`Action`]s come out.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::addresses::interleave;
use super::failures::Failures;
use super::pauses::Pauses;
use crate::connection::{ConnectionParameters, ConnectionWorkflow, Limit};
use crate::error::{ConnectError, Error};
use crate::io_services::after;

/// Names an attempt to connect a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttemptId(u64);

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Look up the host of the [`parameters`](Plan::parameters); `resolved` tells the outcome.
    Resolve,
    /// The lookup is of no interest any more.
    CancelLookup,
    /// Connect a socket; `connected` tells the outcome.
    Connect(AttemptId, SocketAddr),
    /// The attempt is of no interest any more.
    Cancel(AttemptId),
    /// Open AMQP over the socket that has just connected, within the limit; `failed` tells if that
    /// fails. If it does not, the plan is done with.
    Open(Option<Limit>),
    /// Nothing is left to try. The last action.
    GiveUp(Error),
}

enum Step {
    /// Not started, or at its end.
    Idle,
    Resolving {
        until: Option<Instant>,
    },
    Racing(Race),
    Opening {
        /// `None` if the user has connected it.
        address: Option<SocketAddr>,
        waiting: VecDeque<SocketAddr>,
    },
    Pausing {
        until: Instant,
    },
}

/// The addresses of one host.
#[derive(Default)]
struct Race {
    waiting: VecDeque<SocketAddr>,
    running: Vec<Running>,
    /// When the next of those that wait may join.
    next_start: Option<Instant>,
}

struct Running {
    id: AttemptId,
    address: SocketAddr,
    started: Instant,
    until: Option<Instant>,
}

pub(super) struct Plan {
    workflow: ConnectionWorkflow,
    /// The end of all of it.
    until: Option<Instant>,
    /// Cycles that are left, after this one.
    cycles: u32,
    /// The index of the parameters that are being tried.
    host: usize,
    step: Step,
    failures: Failures,
    pauses: Pauses,
    last_id: u64,
    actions: VecDeque<Action>,
}

impl Plan {
    /// The seed is what the pauses are varied by.
    pub(super) fn new(workflow: ConnectionWorkflow, seed: u64) -> Self {
        Self {
            until: None,
            cycles: workflow.connection_attempts() - 1,
            host: 0,
            step: Step::Idle,
            failures: Failures::default(),
            pauses: Pauses::new(&workflow, seed),
            last_id: 0,
            actions: VecDeque::new(),
            workflow,
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.until = self.workflow.timeout().and_then(|timeout| now.checked_add(timeout));
        self.begin_cycle(now);
    }

    /// Starts with a socket that the user has connected: there is nothing else to try.
    pub(super) fn start_connected(&mut self, now: Instant) {
        self.cycles = 0;
        self.open(None, now, VecDeque::new());
    }

    /// The parameters that are being tried.
    pub(super) fn parameters(&self) -> Option<&ConnectionParameters> {
        self.workflow.parameters().get(self.host)
    }

    /// Whether [`failed`](Self::failed) is awaited.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.step, Step::Opening { .. })
    }

    /// What is to be done now. Asked until there is nothing.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`deadline_passed`](Self::deadline_passed) is to be called. While AMQP is being opened,
    /// the limit that was given with it holds.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let step = match &self.step {
            Step::Resolving { until } => *until,
            Step::Racing(race) => race.deadline(),
            Step::Pausing { until } => Some(*until),
            Step::Opening { .. } | Step::Idle => return None,
        };
        earliest(step, self.until)
    }

    // What happened.

    pub(super) fn resolved(&mut self, now: Instant, resolved: io::Result<Vec<SocketAddr>>) {
        if !matches!(self.step, Step::Resolving { .. }) {
            return;
        }
        match resolved {
            Ok(addresses) if !addresses.is_empty() => {
                self.race(now, interleave(addresses));
            }
            Ok(_) => {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                self.not_resolved(now, none);
            }
            Err(cause) => self.not_resolved(now, cause),
        }
    }

    pub(super) fn connected(&mut self, now: Instant, id: AttemptId, connected: io::Result<()>) {
        let Step::Racing(race) = &mut self.step else { return };
        let Some(index) = race.running.iter().position(|running| running.id == id) else { return };
        let attempt = race.running.remove(index);
        match connected {
            Ok(()) => self.won(attempt),
            Err(cause) => {
                self.not_connected(attempt.address, cause);
                self.start_next(now);
            }
        }
    }

    /// AMQP could not be opened.
    pub(super) fn failed(&mut self, now: Instant, cause: Error) {
        let Step::Opening { address, waiting } = &mut self.step else { return };
        let (address, waiting) = (*address, std::mem::take(waiting));
        self.note(address, cause);
        if self.is_out_of_time(now) {
            return self.time_out();
        }
        self.race(now, waiting);
    }

    /// Acts on a deadline. Too early a call does nothing.
    pub(super) fn deadline_passed(&mut self, now: Instant) {
        let out_of_time = self.is_out_of_time(now);
        match &mut self.step {
            Step::Resolving { until } if out_of_time || is_past(*until, now) => {
                self.actions.push_back(Action::CancelLookup);
                self.not_resolved(now, io::ErrorKind::TimedOut.into());
            }
            Step::Racing(race) => {
                let late = race.take_late(now, out_of_time);
                let may_start = !late.is_empty() || is_past(race.next_start, now);
                for attempt in late {
                    self.actions.push_back(Action::Cancel(attempt.id));
                    self.not_connected(attempt.address, io::ErrorKind::TimedOut.into());
                }
                match out_of_time {
                    true => self.time_out(),
                    false if may_start => self.start_next(now),
                    false => {}
                }
            }
            Step::Pausing { .. } if out_of_time => self.time_out(),
            Step::Pausing { until } if *until <= now => self.begin_cycle(now),
            _ => {}
        }
    }

    // From one thing to the next.

    fn begin_cycle(&mut self, now: Instant) {
        self.host = 0;
        self.failures.begin_cycle();
        self.resolve(now);
    }

    fn next_host(&mut self, now: Instant) {
        self.host += 1;
        self.resolve(now);
    }

    fn resolve(&mut self, now: Instant) {
        let Some(parameters) = self.parameters() else { return self.end_cycle(now) };
        let until = parameters.stack_timeout().and_then(|limit| now.checked_add(limit));
        self.step = Step::Resolving { until };
        self.actions.push_back(Action::Resolve);
    }

    fn race(&mut self, now: Instant, waiting: VecDeque<SocketAddr>) {
        self.step = Step::Racing(Race { waiting, ..Race::default() });
        self.start_next(now);
    }

    /// Has the next address join the race; if none runs either, the host has failed.
    fn start_next(&mut self, now: Instant) {
        let delay = self.workflow.connection_attempt_delay();
        let limit = self.parameters().and_then(|parameters| {
            shortest(parameters.socket_timeout(), parameters.stack_timeout())
        });
        let Step::Racing(race) = &mut self.step else { return };
        let Some(address) = race.waiting.pop_front() else {
            race.next_start = None;
            if race.running.is_empty() {
                self.next_host(now);
            }
            return;
        };
        self.last_id += 1;
        let id = AttemptId(self.last_id);
        let until = limit.and_then(|limit| now.checked_add(limit));
        race.running.push(Running { id, address, started: now, until });
        race.next_start = (!race.waiting.is_empty()).then(|| after(now, delay));
        self.actions.push_back(Action::Connect(id, address));
    }

    /// The others go back to those that wait, before those that have not run yet.
    fn won(&mut self, winner: Running) {
        let Step::Racing(race) = &mut self.step else { return };
        let mut waiting = std::mem::take(&mut race.waiting);
        for loser in race.running.drain(..).rev() {
            self.actions.push_back(Action::Cancel(loser.id));
            waiting.push_front(loser.address);
        }
        self.open(Some(winner.address), winner.started, waiting);
    }

    fn open(
        &mut self,
        address: Option<SocketAddr>,
        started: Instant,
        waiting: VecDeque<SocketAddr>,
    ) {
        let stack = self.parameters().and_then(ConnectionParameters::stack_timeout);
        let all = self.workflow.timeout().zip(self.until).map(|(limit, at)| Limit { limit, at });
        let stack = Limit::starting(started, stack);
        let first = stack.into_iter().chain(all).min_by_key(|limit| limit.at);
        self.step = Step::Opening { address, waiting };
        self.actions.push_back(Action::Open(first));
    }

    fn end_cycle(&mut self, now: Instant) {
        if self.cycles == 0 || self.failures.are_final() {
            return self.give_up();
        }
        self.cycles -= 1;
        let until = after(now, self.pauses.next());
        if is_past(self.until, until) {
            // Nothing could be tried after the pause.
            return self.give_up();
        }
        self.step = Step::Pausing { until };
    }

    // Failures.

    fn not_resolved(&mut self, now: Instant, cause: io::Error) {
        if let Some(parameters) = self.parameters() {
            let host = parameters.host().to_owned();
            self.note(None, ConnectError::Resolve { host, cause: cause.into() }.into());
        }
        match self.is_out_of_time(now) {
            true => self.time_out(),
            false => self.next_host(now),
        }
    }

    fn not_connected(&mut self, address: SocketAddr, cause: io::Error) {
        if let Some(parameters) = self.parameters() {
            let host = parameters.host().to_owned();
            let cause = cause.into();
            self.note(Some(address), ConnectError::Socket { host, address, cause }.into());
        }
    }

    fn note(&mut self, address: Option<SocketAddr>, cause: Error) {
        if let Some(parameters) = self.workflow.parameters().get(self.host) {
            self.failures.add(parameters, address, cause);
        }
    }

    fn is_out_of_time(&self, now: Instant) -> bool {
        is_past(self.until, now)
    }

    fn give_up(&mut self) {
        let error = std::mem::take(&mut self.failures).into_error();
        self.end(error);
    }

    fn time_out(&mut self) {
        let failures = std::mem::take(&mut self.failures).into_list();
        let limit = self.workflow.timeout().unwrap_or_default();
        self.end(ConnectError::TimedOut { limit, failures }.into());
    }

    fn end(&mut self, error: Error) {
        self.step = Step::Idle;
        self.actions.push_back(Action::GiveUp(error));
    }
}

impl Race {
    fn deadline(&self) -> Option<Instant> {
        let ends = self.running.iter().filter_map(|running| running.until);
        ends.chain(self.next_start).min()
    }

    /// Takes out the attempts that have had their time, or all of them.
    fn take_late(&mut self, now: Instant, all: bool) -> Vec<Running> {
        self.running.extract_if(.., |running| all || is_past(running.until, now)).collect()
    }
}

fn is_past(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

fn shortest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}
