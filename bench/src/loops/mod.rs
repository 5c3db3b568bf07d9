//! `bench loop`: event loops side by side.
//!
//! What is measured is in `spec`, who in `who`; one file per loop holds its ways of doing it, the C
//! programs in `bench/c` among them. `run` makes the rounds, `table`, `bars` and `csv` tell of them.

pub mod async_io;
mod bars;
mod c;
mod calloop;
mod csv;
mod floor;
mod haypile;
pub mod measure;
pub mod run;
pub mod spec;
mod subject;
pub mod table;
mod tokio;
pub mod who;

use std::process::ExitCode;

use crate::Result;
use crate::child::UNSUPPORTED;
use crate::options::{Options, nothing_more};
use spec::Job;

pub fn main(mut arguments: pico_args::Arguments) -> Result<ExitCode> {
    let options = Options::take(&mut arguments, 15, 3)?;
    nothing_more(arguments)?;
    let run = run::run(&options)?;
    table::print(&run, &options);
    if !options.markdown {
        bars::print(&run);
    }
    options.write_csv(|| csv::table(&run))?;
    Ok(ExitCode::from(u8::from(run.sections.iter().any(|section| section.has_failed(&options)))))
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
