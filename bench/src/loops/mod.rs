//! `bench loop`: event loops side by side.
//!
//! What is measured is in `spec`, who in `who`; one file per loop holds its ways of doing it, the C
//! programs in `bench/c` among them. `run` makes the rounds, `table`, `bars` and `csv` tell of them.

mod async_io;
mod bars;
mod c;
mod calloop;
mod csv;
mod floor;
mod haypile;
mod measure;
mod run;
mod spec;
mod subject;
mod table;
mod tokio;
mod who;

use std::process::ExitCode;

use crate::Result;
use spec::Job;

/// What a child ends with that cannot do what it was asked for; the C programs know it too.
const UNSUPPORTED: u8 = 3;

pub fn main(mut arguments: pico_args::Arguments) -> Result<ExitCode> {
    let list = |text: &str| -> Result<Vec<String>, std::convert::Infallible> {
        Ok(text.split(',').map(str::to_owned).collect())
    };
    let quick = arguments.contains("--quick");
    let rounds = arguments.opt_value_from_str("--rounds")?.unwrap_or(if quick { 3 } else { 15 });
    let csv: Option<std::path::PathBuf> = arguments.opt_value_from_str("--csv")?;
    let only = arguments.opt_value_from_fn("--only", list)?;
    let names = arguments.opt_value_from_fn("--who", list)?;
    if let Some(unknown) = arguments.finish().first() {
        return Err(format!("unknown argument: {}", unknown.to_string_lossy()).into());
    }
    let run = run::run(&run::Options { quick, rounds, only, names })?;
    table::print(&run);
    bars::print(&run);
    if let Some(path) = csv {
        csv::write(&run, &path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `bench child WHO JOB N OPS`: one measurement, as one line of `key=value`.
pub fn child(arguments: pico_args::Arguments) -> Result<ExitCode> {
    let arguments = arguments.finish();
    let arguments: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let [who, job, n, ops] = arguments[..] else { return Err("child WHO JOB N OPS".into()) };
    let job = Job::from_name(job).ok_or("no such job")?;
    let subject = who::subject(who).ok_or("no such loop in this program")?;
    let Some(outcome) = subject::run(&*subject, job, n.parse()?, ops.parse()?) else {
        return Ok(ExitCode::from(UNSUPPORTED));
    };
    println!("{outcome}");
    Ok(ExitCode::SUCCESS)
}
