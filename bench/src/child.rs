//! The processes that measure.

use std::io::{IsTerminal, Read};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;
use crate::outcome::Outcome;

/// What a child ends with that cannot do what it was asked for; the C programs know it too.
pub const UNSUPPORTED: u8 = 3;

/// What is said of it.
pub const NOTHING: &str = "has nothing of the kind";

/// A child that takes longer hangs.
const PATIENCE: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };

/// Runs a child that says its measurement as a line of `key=value`. The error is for people.
pub fn measure(line: Vec<String>, pinned: bool) -> Result<Outcome, String> {
    let (status, output) = finish(line, pinned).map_err(|error| error.to_string())?;
    match status.code() {
        Some(0) => Outcome::parse(&output).ok_or_else(|| format!("said: {output}")),
        Some(code) if code == i32::from(UNSUPPORTED) => Err(NOTHING.to_owned()),
        _ => Err(format!("failed: {status}")),
    }
}

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Anywhere,
    /// On the last CPU.
    Pinned,
    /// Where nothing pinned runs, if there is more than one CPU.
    Beside,
}

/// Starts a command in a place. Its output is for its starter.
pub fn spawn(command: &mut Command, place: Place) -> Result<Child> {
    let everywhere = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| everywhere.is_set(cpu));
    let mut cpus = everywhere;
    if let (Place::Beside, Some(last), 2..) = (place, last, everywhere.count()) {
        cpus.unset(last);
    }
    if let (Place::Pinned, Some(last)) = (place, last) {
        cpus = CpuSet::new();
        cpus.set(last);
    }
    // It inherits the place.
    sched_setaffinity(None, &cpus)?;
    let child = command.stdout(Stdio::piped()).spawn();
    sched_setaffinity(None, &everywhere)?;
    Ok(child?)
}

/// Runs a command, on the last CPU alone if it is to be pinned. Gives how it ended and what it said.
pub fn finish(line: Vec<String>, pinned: bool) -> Result<(ExitStatus, String)> {
    let place = if pinned { Place::Pinned } else { Place::Anywhere };
    let mut child = spawn(Command::new(&line[0]).args(&line[1..]), place)?;
    // It sleeps: to look now and then would take time of the CPU that is measured.
    let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    if poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&PATIENCE))? == 0 {
        child.kill()?;
        child.wait()?;
        return Err(format!("hung for {} s", PATIENCE.tv_sec).into());
    }
    let status = child.wait()?;
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout {
        stdout.read_to_string(&mut output)?;
    }
    Ok((status, output))
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

/// How many descriptors this process may have.
pub fn file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
