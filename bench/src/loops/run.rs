//! The rounds: every loop once in each, one after the other, each in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::UNSUPPORTED;
use super::measure::Outcome;
use super::spec::{Job, SPECS, Spec};
use super::who::{self, FLOOR, FLOOR_AGAIN, Who};
use crate::Result;
use crate::child::{finish, progress, raise_file_limit};

pub struct Options {
    pub quick: bool,
    pub rounds: usize,
    pub only: Option<Vec<String>>,
    pub names: Option<Vec<String>>,
}

pub struct Run {
    pub sections: Vec<Section>,
    /// What could not be measured, and why.
    pub remarks: Vec<String>,
    pub quick: bool,
}

pub struct Section {
    pub spec: &'static Spec,
    pub rows: Vec<Row>,
    /// What the calibrating floor took in each round.
    pub calibration: Vec<f64>,
}

pub struct Row {
    pub who: &'static str,
    /// One per round.
    pub outcomes: Vec<Outcome>,
    pub syscalls: Option<f64>,
    pub remark: Option<String>,
}

struct Contender {
    who: &'static Who,
    program: PathBuf,
}

pub fn run(options: &Options) -> Result<Run> {
    raise_file_limit()?;
    let (contenders, mut remarks) = contenders(options)?;
    let chosen = |spec: &&Spec| match &options.only {
        Some(only) => only.iter().any(|start| spec.name.starts_with(start)),
        None => true,
    };
    let specs: Vec<_> = SPECS.iter().filter(chosen).collect();
    if specs.is_empty() {
        let all: Vec<_> = SPECS.iter().map(|spec| spec.name).collect();
        return Err(format!("no such bench; there are {}", all.join(", ")).into());
    }
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !strace {
        remarks.push("system calls: not counted (apt-get install strace)".to_owned());
    }
    let sections = specs.into_iter().map(|spec| section(spec, &contenders, options, strace));
    let sections = sections.collect::<Result<_>>()?;
    Ok(Run { sections, remarks, quick: options.quick })
}

fn contenders(options: &Options) -> Result<(Vec<Contender>, Vec<String>)> {
    let mut remarks = Vec::new();
    let mut contenders = Vec::new();
    for who in who::ALL {
        // The floor is what all are measured by.
        let wanted = options.names.as_ref().is_none_or(|names| names.iter().any(|n| n == who.name));
        if !wanted && ![FLOOR, FLOOR_AGAIN].contains(&who.name) {
            continue;
        }
        match who.package.map(|package| package.build()) {
            None => contenders.push(Contender { who, program: std::env::current_exe()? }),
            Some(Ok(program)) => contenders.push(Contender { who, program }),
            Some(Err(remark)) => remarks.push(remark),
        }
    }
    Ok((contenders, remarks))
}

fn section(
    spec: &'static Spec,
    contenders: &[Contender],
    options: &Options,
    strace: bool,
) -> Result<Section> {
    let contenders: Vec<_> =
        contenders.iter().filter(|one| one.who.is_told_apart_by(spec.job)).collect();
    let row = |one: &&Contender| Row {
        who: one.who.name,
        outcomes: Vec::new(),
        syscalls: None,
        remark: None,
    };
    let mut rows: Vec<_> = contenders.iter().map(row).collect();
    let mut calibration = Vec::new();
    for round in 1..=options.rounds {
        progress(&format!("{} {round}/{}", spec.name, options.rounds));
        calibration.push(calibrate(options.quick)?);
        for (one, row) in contenders.iter().zip(&mut rows) {
            if row.remark.is_some() {
                continue;
            }
            match measure(one, spec, options.quick) {
                Ok(outcome) => row.outcomes.push(outcome),
                Err(remark) => row.remark = Some(remark),
            }
        }
    }
    // What takes long to set up under strace is left to long runs.
    if strace && spec.job.is_traced() && !(options.quick && spec.n > 1000) {
        for (one, row) in contenders.iter().zip(&mut rows) {
            if row.remark.is_none() {
                progress(&format!("{} strace {}", spec.name, one.who.name));
                row.syscalls = trace(one, spec);
            }
        }
    }
    progress("");
    Ok(Section { spec, rows, calibration })
}

fn measure(one: &Contender, spec: &Spec, quick: bool) -> Result<Outcome, String> {
    let ops = spec.ops(one.who.name, quick)?;
    let (status, output) =
        finish(child(one, spec, ops), spec.job.is_pinned()).map_err(|error| error.to_string())?;
    match status.code() {
        Some(0) => Outcome::parse(&output).ok_or_else(|| format!("said: {output}")),
        Some(code) if code == i32::from(UNSUPPORTED) => Err("has nothing of the kind".to_owned()),
        _ => Err(format!("failed: {status}")),
    }
}

/// The program and its arguments. A library's program knows who it is.
fn child(one: &Contender, spec: &Spec, ops: u64) -> Vec<String> {
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
    let (_, output) = finish(line, true)?;
    let outcome = Outcome::parse(&output).ok_or("the floor could not be measured")?;
    Ok(outcome.wall / outcome.ops)
}

/// System calls per operation: of N operations more, so that the start does not count.
fn trace(one: &Contender, spec: &Spec) -> Option<f64> {
    let ops = spec.whole(spec.traced_ops);
    let file = std::env::temp_dir().join(format!("bench-strace-{}", std::process::id()));
    let calls = |ops| {
        let mut line = ["strace", "-f", "-c", "-o"].map(str::to_owned).to_vec();
        line.push(file.display().to_string());
        line.extend(child(one, spec, ops));
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
