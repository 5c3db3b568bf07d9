//! Messages a second of each adapter's connection, beside `SelectConnection`'s.

use super::who::{self, Adapter, SELECT};
use crate::Result;
use crate::amqp::{Contender, Job, Kind, Row, SMALL, Section, Spec, Target, section};
use crate::options::Options;
use crate::outcome::Outcome;

const JOBS: [Job; 2] = [Job::Publish, Job::Consume];

pub const NAMES: [&str; 2] = [JOBS[0].name(), JOBS[1].name()];

pub fn sections(names: &[&str], loops: &[&Adapter], options: &Options) -> Result<Vec<Section>> {
    let jobs: Vec<_> = JOBS.into_iter().filter(|job| names.contains(&job.name())).collect();
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let line = who::child_line("amqp")?;
    // The first is what the others are beside.
    let others = loops.iter().map(|one| one.name).filter(|&name| name != SELECT);
    let contenders: Vec<_> = [SELECT]
        .into_iter()
        .chain(others)
        .map(|name| (name, Contender::new(Kind::Haypile, line.clone())))
        .collect();
    let target = Target::start(None)?;
    let measured =
        jobs.into_iter().map(|job| section(Spec::sized(job, SMALL), &contenders, &target, options));
    Ok(measured.collect())
}

/// A row's rate to that of the first row, round by round.
pub fn ratio(section: &Section, row: &Row) -> Option<f64> {
    row.beside(&section.rows[0], |outcome: &Outcome| outcome.ops / outcome.wall)
}
