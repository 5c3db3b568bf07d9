//! The processes that measure.

use std::io::{IsTerminal, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;
use crate::outcome::Outcome;

/// What a child ends with that cannot do what it was asked for; the C programs know it too.
pub const UNSUPPORTED: u8 = 3;

/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a child that says its measurement as a line of `key=value`. The error is for people.
pub fn measure(line: Vec<String>, pinned: bool) -> Result<Outcome, String> {
    let (status, output) = finish(line, pinned).map_err(|error| error.to_string())?;
    match status.code() {
        Some(0) => Outcome::parse(&output).ok_or_else(|| format!("said: {output}")),
        Some(code) if code == i32::from(UNSUPPORTED) => Err("has nothing of the kind".to_owned()),
        _ => Err(format!("failed: {status}")),
    }
}

/// Runs a command, on the last CPU alone if it is to be pinned. Gives how it ended and what it said.
pub fn finish(line: Vec<String>, pinned: bool) -> Result<(ExitStatus, String)> {
    let everywhere = sched_getaffinity(None)?;
    if pinned {
        sched_setaffinity(None, &last_cpu(&everywhere))?;
    }
    // It inherits the place.
    let child = Command::new(&line[0]).args(&line[1..]).stdout(Stdio::piped()).spawn();
    sched_setaffinity(None, &everywhere)?;
    let mut child = child?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(format!("hung for {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout {
        stdout.read_to_string(&mut output)?;
    }
    Ok((status, output))
}

fn last_cpu(allowed: &CpuSet) -> CpuSet {
    let mut last = CpuSet::new();
    if let Some(cpu) = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)) {
        last.set(cpu);
    }
    last
}

pub fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

pub fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
