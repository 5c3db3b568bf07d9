//! The rounds: every loop once in each, one after the other, each in a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use super::spec::{Job, SPECS, Spec};
use super::who::{self, FLOOR, FLOOR_AGAIN, Who, own_line};
use crate::Result;
use crate::child::{self, finish, progress, raise_file_limit};
use crate::options::Options;
use crate::rounds::round;

pub struct Run {
    pub sections: Vec<Section>,
    /// What could not be measured, and why.
    pub remarks: Vec<String>,
}

pub struct Section {
    pub spec: &'static Spec,
    pub rows: Vec<Row>,
    /// What the calibrating floor took in each round.
    pub calibration: Vec<f64>,
}

pub type Row = crate::rounds::Row<Contender>;

#[derive(Clone)]
pub struct Contender {
    /// The program and its first arguments.
    line: Vec<String>,
    /// Per operation, where they could be counted.
    pub syscalls: Option<f64>,
}

impl Contender {
    pub fn new(line: Vec<String>) -> Self {
        Self { line, syscalls: None }
    }

    fn line(&self, spec: &Spec, ops: u64) -> Vec<String> {
        let work = [spec.job.name().to_owned(), spec.n.to_string(), ops.to_string()];
        self.line.iter().cloned().chain(work).collect()
    }
}

impl Section {
    /// Somebody did not do what it can do.
    pub fn has_failed(&self, options: &Options) -> bool {
        let is_asked = |row: &Row| self.spec.ops(row.who, options.quick).is_ok();
        self.rows.iter().any(|row| row.has_failed() && is_asked(row))
    }
}

pub fn run(options: &Options) -> Result<Run> {
    raise_file_limit()?;
    let specs = options.benches(SPECS.iter().collect(), |spec| spec.name)?;
    let mut remarks = Vec::new();
    let contenders = contenders(options, &mut remarks)?;
    let strace = has_strace(&mut remarks);
    let sections = specs.into_iter().map(|spec| {
        let told_apart = contenders.iter().filter(|(who, _)| who.is_told_apart_by(spec.job));
        let rows = told_apart.map(|(who, one)| Row::new(who.name, one.clone()));
        section(spec, rows.collect(), options, strace)
    });
    let sections = sections.collect::<Result<_>>()?;
    Ok(Run { sections, remarks })
}

/// Whether system calls can be counted; remarked if not.
pub fn has_strace(remarks: &mut Vec<String>) -> bool {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !strace {
        remarks.push("system calls: not counted (apt-get install strace)".to_owned());
    }
    strace
}

fn contenders(
    options: &Options,
    remarks: &mut Vec<String>,
) -> Result<Vec<(&'static Who, Contender)>> {
    let wanted = options.contenders(who::ALL.iter().collect(), |who| who.name)?;
    let mut contenders = Vec::new();
    for who in who::ALL {
        // The floor is what all are measured by.
        let is_floor = [FLOOR, FLOOR_AGAIN].contains(&who.name);
        if !is_floor && !wanted.iter().any(|one| one.name == who.name) {
            continue;
        }
        match who.line() {
            Ok(line) => contenders.push((who, Contender::new(line))),
            Err(remark) => remarks.push(remark),
        }
    }
    Ok(contenders)
}

/// Fills the rows.
pub fn section(
    spec: &'static Spec,
    mut rows: Vec<Row>,
    options: &Options,
    strace: bool,
) -> Result<Section> {
    let mut calibration = Vec::new();
    let rounds = options.rounds * spec.parts;
    for number in 1..=rounds {
        progress(&format!("{} {number}/{rounds}", spec.name));
        calibration.push(calibrate(options.quick)?);
        round(number, &mut rows, |who, one| {
            let ops = spec.ops(who, options.quick)?;
            child::measure(one.line(spec, ops), spec.job.is_pinned())
        });
    }
    // What takes long to set up under strace is left to long runs.
    if strace && spec.job.is_traced() && !(options.quick && spec.n > 1000) {
        for row in rows.iter_mut().filter(|row| row.remark.is_none()) {
            progress(&format!("{} strace {}", spec.name, row.who));
            row.contender.syscalls = trace(&row.contender, spec);
        }
    }
    progress("");
    Ok(Section { spec, rows, calibration })
}

/// The same work in every round of every bench, to tell a noisy one.
fn calibrate(quick: bool) -> Result<f64> {
    let ops = if quick { "5000" } else { "20000" };
    let work = [Job::PingEventfd.name(), "2", ops].map(str::to_owned);
    let line = own_line(FLOOR)?.into_iter().chain(work).collect();
    let outcome = child::measure(line, true).map_err(|remark| format!("the floor: {remark}"))?;
    Ok(outcome.wall / outcome.ops)
}

/// System calls per operation: of N operations more, so that the start does not count.
fn trace(one: &Contender, spec: &Spec) -> Option<f64> {
    let ops = spec.whole(spec.traced_ops);
    let file = std::env::temp_dir().join(format!("bench-strace-{}", std::process::id()));
    let calls = |ops| {
        let mut line = ["strace", "-f", "-c", "-o"].map(str::to_owned).to_vec();
        line.push(file.display().to_string());
        line.extend(one.line(spec, ops));
        let (status, _) = finish(line, spec.job.is_pinned()).ok()?;
        status.success().then(|| total(&file)).flatten()
    };
    let counted = calls(ops).zip(calls(2 * ops));
    let _ = std::fs::remove_file(&file);
    let calls = counted.map(|(once, twice)| (twice - once) / ops as f64);
    // Those of the start are not quite the same each time; what is far below none is no count.
    calls.filter(|&calls| calls > -0.05).map(|calls| calls.max(0.0))
}

/// The sum of the calls in what `strace -c` writes.
fn total(file: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
