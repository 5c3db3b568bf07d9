//! What a measurement has come to.

use std::fmt;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One measurement, printed as `key=value ...`; times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub ops: f64,
    pub wall: f64,
    pub cpu: f64,
    extras: Vec<(String, f64)>,
}

impl Outcome {
    pub fn new(ops: f64, wall: f64, cpu: f64) -> Self {
        Self { ops, wall, cpu, extras: Vec::new() }
    }

    pub fn with(mut self, key: &str, value: f64) -> Self {
        self.extras.push((key.to_owned(), value));
        self
    }

    pub fn extra(&self, key: &str) -> Option<f64> {
        self.extras.iter().find(|(name, _)| name == key).map(|&(_, value)| value)
    }

    /// Of what a child has printed. One without work or time that it took is none: it would make any
    /// ratio look good.
    pub fn parse(line: &str) -> Option<Self> {
        let mut outcome = Self::default();
        for pair in line.split_whitespace() {
            let (key, value) = pair.split_once('=')?;
            let value = value.parse().ok()?;
            match key {
                "ops" => outcome.ops = value,
                "wall" => outcome.wall = value,
                "cpu" => outcome.cpu = value,
                _ => outcome.extras.push((key.to_owned(), value)),
            }
        }
        let counts = |value: f64| value.is_finite() && value > 0.0;
        let is_whole = [outcome.ops, outcome.wall, outcome.cpu].into_iter().all(counts);
        is_whole.then_some(outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ops={} wall={:.0} cpu={:.0}", self.ops, self.wall, self.cpu)?;
        self.extras.iter().try_for_each(|(key, value)| write!(f, " {key}={value:.0}"))
    }
}

/// A measurement under way.
pub struct Timing {
    cpu: Duration,
    wall: Instant,
}

impl Timing {
    pub fn begin() -> Self {
        Self { cpu: cpu_time(), wall: Instant::now() }
    }

    pub fn end(self, ops: u64) -> Outcome {
        let wall = self.wall.elapsed().as_nanos() as f64;
        let cpu = (cpu_time() - self.cpu).as_nanos() as f64;
        Outcome::new(ops as f64, wall, cpu)
    }
}

pub fn timed(ops: u64, work: impl FnOnce()) -> Outcome {
    let timing = Timing::begin();
    work();
    timing.end(ops)
}

/// Delays in nanoseconds; below zero is too early.
#[derive(Default)]
pub struct Samples(Vec<i64>);

impl Samples {
    pub fn add(&mut self, due: Instant) {
        let now = Instant::now();
        let late = match now.checked_duration_since(due) {
            Some(late) => late.as_nanos() as i64,
            None => -((due - now).as_nanos() as i64),
        };
        self.0.push(late);
    }

    pub fn report(&self, outcome: Outcome, prefix: &str) -> Outcome {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let key = |name: &str| format!("{prefix}{name}");
        let count = sorted.len();
        let outcome = outcome.with(&key("count"), count as f64);
        let Some(&max) = sorted.last() else { return outcome };
        outcome
            .with(&key("p50"), sorted[count / 2] as f64)
            .with(&key("p99"), sorted[count * 99 / 100] as f64)
            .with(&key("max"), max as f64)
            .with(&key("early"), sorted.iter().filter(|&&late| late < 0).count() as f64)
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_prints_what_is_parsed() {
        let outcome = Outcome::new(3.0, 200.0, 100.0).with("p50", -7.0);
        assert_eq!(Outcome::parse(&outcome.to_string()), Some(outcome));
    }

    #[test]
    fn what_took_no_time_or_did_nothing_is_no_outcome() {
        for line in [
            "",
            "ops=10 wall=20",
            "ops=10 cpu=20",
            "ops=0 wall=20 cpu=10",
            "ops=10 wall=0 cpu=10",
            "ops=10 wall=20 cpu=0",
            "ops=10 wall=20 cpu=NaN",
            "ops=inf wall=20 cpu=10",
            "ops=10 wall=20 cpu=10 and more",
        ] {
            assert_eq!(Outcome::parse(line), None, "{line}");
        }
    }

    #[test]
    fn percentiles_are_of_the_sorted_delays() {
        let samples = Samples((1..=1000).rev().chain([-1]).collect());
        let outcome = samples.report(Outcome::default(), "x_");
        let [count, p50, p99, max, early] =
            ["count", "p50", "p99", "max", "early"].map(|key| outcome.extra(&format!("x_{key}")));
        assert_eq!([count, p50, p99], [1001.0, 500.0, 990.0].map(Some));
        assert_eq!([max, early], [1000.0, 1.0].map(Some));
    }
}
