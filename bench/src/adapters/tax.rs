//! What a loop's primitives cost more through haypile's services than by themselves.

use super::who::{Adapter, SELECT};
use crate::Result;
use crate::loops::run::{self, Contender, Row};
use crate::loops::spec::{Job, Spec, spec};
use crate::loops::table::wall_per_op;
use crate::loops::who;
use crate::options::Options;
use crate::outcome::Outcome;

/// It tells what haypile's own timers cost where a loop has nothing else to do: some reads of the clock,
/// beside a turn of the loop that takes not much more.
pub const BESIDE: &str = "timer_due";

/// What is done both ways.
pub const SPECS: &[Spec] = &[
    spec("ping_pong", Job::PingSocket, 2, 40_000, 2_000),
    // What it costs to sleep changes from one second to the next: the two ways are measured closely
    // after each other.
    spec("timer", Job::SetFire, 1, 1_000, 200).in_parts(5),
    spec(BESIDE, Job::InsertFire, 1, 100_000, 2_000),
    spec("timers_1k", Job::InsertFire, 1_000, 400_000, 10_000),
    spec("wake", Job::WakeStep, 1, 40_000, 2_000),
];

/// A bench: each loop both ways.
pub struct Section {
    pub spec: &'static Spec,
    /// Pairs: the loop by itself, and haypile on it.
    pub section: run::Section,
}

/// A loop by itself, and haypile on it.
pub struct Tax<'a> {
    pub who: &'static str,
    native: &'a Row,
    through: &'a Row,
    time: fn(&Outcome) -> f64,
}

pub fn sections(
    names: &[&str],
    loops: &[&Adapter],
    options: &Options,
    remarks: &mut Vec<String>,
) -> Result<Vec<Section>> {
    let specs: Vec<_> = SPECS.iter().filter(|spec| names.contains(&spec.name)).collect();
    if specs.is_empty() {
        return Ok(Vec::new());
    }
    let strace = run::has_strace(remarks);
    let mut pairs = Vec::new();
    for adapter in loops.iter().filter(|one| one.name != SELECT) {
        let native = who::ALL.iter().find(|one| one.name == adapter.name);
        match native.ok_or("bench loop has it not")?.line() {
            Ok(line) => {
                pairs.extend([line, adapter.line("loop")?].map(|line| (adapter.name, line)))
            }
            Err(remark) => remarks.push(remark),
        }
    }
    let section = |spec| {
        let rows = pairs.iter().map(|(who, line)| Row::new(who, Contender::new(line.clone())));
        let section = run::section(spec, rows.collect(), options, strace)?;
        Ok(Section { spec, section })
    };
    specs.into_iter().map(section).collect()
}

impl Section {
    /// Whether the loop sleeps most of the time: then CPU time is what tells.
    pub fn is_asleep(&self) -> bool {
        matches!(self.spec.job, Job::SetFire | Job::WakeStep)
    }

    pub fn taxes(&self) -> impl Iterator<Item = Tax<'_>> {
        let time = match self.is_asleep() {
            true => |outcome: &Outcome| outcome.cpu / outcome.ops,
            false => wall_per_op,
        };
        self.section.rows.chunks_exact(2).map(move |pair| {
            let [native, through] = pair else { unreachable!("they are two") };
            Tax { who: native.who, native, through, time }
        })
    }
}

impl Tax<'_> {
    /// Nanoseconds an operation, by the loop itself and through haypile's services.
    pub fn times(&self) -> Option<[f64; 2]> {
        let time = |row: &Row| row.median(|outcome| Some((self.time)(outcome)));
        Some([time(self.native)?, time(self.through)?])
    }

    /// The second to the first, round by round.
    pub fn ratio(&self) -> Option<f64> {
        self.through.beside(self.native, self.time)
    }

    /// System calls an operation, in the same order.
    pub fn calls(&self) -> Option<[f64; 2]> {
        Some([self.native.contender.syscalls?, self.through.contender.syscalls?])
    }

    /// Why there are no times.
    pub fn remark(&self) -> &str {
        [self.native, self.through].into_iter().find_map(|row| row.remark.as_deref()).unwrap_or("-")
    }
}
