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
    pub fn with(mut self, key: &str, value: f64) -> Self {
        self.extras.push((key.to_owned(), value));
        self
    }

    pub fn extra(&self, key: &str) -> Option<f64> {
        self.extras.iter().find(|(name, _)| name == key).map(|&(_, value)| value)
    }

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
        (outcome.ops > 0.0).then_some(outcome)
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
        Outcome { ops: ops as f64, wall, cpu, extras: Vec::new() }
    }
}

pub fn timed(ops: u64, work: impl FnOnce()) -> Outcome {
    let timing = Timing::begin();
    work();
    timing.end(ops)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
