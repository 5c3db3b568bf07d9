//! The rounds: every loop once in each, one after the other, each in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::spec::{Job, SPECS, Spec};
use super::who::{self, FLOOR, FLOOR_AGAIN, Who};
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
    who: &'static Who,
    program: PathBuf,
    /// Per operation, where they could be counted.
    pub syscalls: Option<f64>,
}

pub fn run(options: &Options) -> Result<Run> {
    raise_file_limit()?;
    let specs = options.benches(SPECS.iter().collect(), |spec| spec.name)?;
    let (contenders, mut remarks) = contenders(options)?;
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !strace {
        remarks.push("system calls: not counted (apt-get install strace)".to_owned());
    }
    let sections = specs.into_iter().map(|spec| section(spec, &contenders, options, strace));
    let sections = sections.collect::<Result<_>>()?;
    Ok(Run { sections, remarks })
}

fn contenders(options: &Options) -> Result<(Vec<Contender>, Vec<String>)> {
    let wanted = options.contenders(who::ALL.iter().collect(), |who| who.name)?;
    let mut remarks = Vec::new();
    let mut contenders = Vec::new();
    for who in who::ALL {
        // The floor is what all are measured by.
        let is_floor = [FLOOR, FLOOR_AGAIN].contains(&who.name);
        if !is_floor && !wanted.iter().any(|one| one.name == who.name) {
            continue;
        }
        let program = match who.package {
            None => std::env::current_exe()?,
            Some(package) => match package.build() {
                Ok(program) => program,
                Err(remark) => {
                    remarks.push(remark);
                    continue;
                }
            },
        };
        contenders.push(Contender { who, program, syscalls: None });
    }
    Ok((contenders, remarks))
}

fn section(
    spec: &'static Spec,
    contenders: &[Contender],
    options: &Options,
    strace: bool,
) -> Result<Section> {
    let contenders = contenders.iter().filter(|one| one.who.is_told_apart_by(spec.job));
    let mut rows: Vec<_> = contenders.map(|one| Row::new(one.who.name, one.clone())).collect();
    let mut calibration = Vec::new();
    for number in 1..=options.rounds {
        progress(&format!("{} {number}/{}", spec.name, options.rounds));
        calibration.push(calibrate(options.quick)?);
        round(&mut rows, |who, one| {
            let ops = spec.ops(who, options.quick)?;
            child::measure(line(one, spec, ops), spec.job.is_pinned())
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

/// The program and its arguments. A library's program knows who it is.
fn line(one: &Contender, spec: &Spec, ops: u64) -> Vec<String> {
    let mut line = vec![one.program.display().to_string()];
    if one.who.package.is_none() {
        line.extend(["child", one.who.name].map(str::to_owned));
    }
    line.extend([spec.job.name().to_owned(), spec.n.to_string(), ops.to_string()]);
    line
}

/// The same work in every round of every bench, to tell a noisy one.
fn calibrate(quick: bool) -> Result<f64> {
    let ops = if quick { "5000" } else { "20000" };
    let program = std::env::current_exe()?.display().to_string();
    let job = Job::PingEventfd.name();
    let line = [&program, "child", FLOOR, job, "2", ops].map(str::to_owned).to_vec();
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
        line.extend(self::line(one, spec, ops));
        let (status, _) = finish(line, spec.job.is_pinned()).ok()?;
        status.success().then(|| total(&file)).flatten()
    };
    let counted = calls(ops).zip(calls(2 * ops));
    let _ = std::fs::remove_file(&file);
    // Those of the start are not quite the same each time.
    counted.map(|(once, twice)| (twice - once).max(0.0) / ops as f64)
}

/// The sum of the calls in what `strace -c` writes.
fn total(file: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
