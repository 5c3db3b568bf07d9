//! `bench instructions`: how many instructions haypile takes for a message of 100 bytes, as callgrind
//! counts them. Load of the machine hardly changes that, so that a path that has grown is seen.

use std::process::{Command, ExitCode};

use super::job::{Job, SMALL, Spec};
use super::target::Target;
use super::who::{HAYPILE, own_line};
use crate::Result;
use crate::options::nothing_more;
use crate::table::Table;

/// What is counted, and how many messages are a run of it.
const RUNS: [(Job, u64); 5] = [
    (Job::Publish, 100_000),
    (Job::Confirm, 100_000),
    (Job::Consume, 100_000),
    (Job::ConsumeAck, 100_000),
    (Job::Rpc, 2_000),
];

pub fn main(arguments: pico_args::Arguments) -> Result<ExitCode> {
    nothing_more(arguments)?;
    let target = Target::start(None)?;
    let mut table = Table::new(["bench", "instructions"]);
    for (job, messages) in RUNS {
        // What is not of messages, such as the handshake, is in both runs.
        let (short, long) = (messages, 3 * messages);
        let spec = Spec::sized(job, SMALL);
        let more = count(&target, &spec, long)?.checked_sub(count(&target, &spec, short)?);
        let more = more.ok_or("a longer run took fewer instructions")?;
        let each = more as f64 / (long - short) as f64;
        table.row([job.name().to_owned(), format!("{each:.0}")]);
    }
    print!("{}", table.text());
    Ok(ExitCode::SUCCESS)
}

/// The instructions of one run.
fn count(target: &Target, spec: &Spec, messages: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(own_line()?)
        .arg(HAYPILE)
        .args(target.prepare(spec, messages)?)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    match collected {
        Some((_, count)) if output.status.success() => Ok(count.trim().parse()?),
        _ => Err(format!("valgrind: {}: {said}", output.status).into()),
    }
}
