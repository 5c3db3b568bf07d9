//! `bench amqp`: AMQP clients side by side, against a stand-in broker or a real one.
//!
//! What is measured is in `job`, who in `who`; one file per client holds its ways of doing it.

mod amiquip;
mod amqprs;
mod broker;
mod haypile;
mod job;
mod lapin;
mod raw;
mod run;
mod table;
mod who;

use std::process::ExitCode;

use crate::Result;
use job::{Job, Work};

/// What a child ends with that cannot do what it was asked for.
const UNSUPPORTED: u8 = 3;

pub fn main(mut arguments: pico_args::Arguments) -> Result<ExitCode> {
    let list = |text: &str| -> Result<Vec<String>, std::convert::Infallible> {
        Ok(text.split(',').map(str::to_owned).collect())
    };
    let quick = arguments.contains("--quick");
    let options = run::Options {
        quick,
        rounds: arguments.opt_value_from_str("--rounds")?.unwrap_or(if quick { 1 } else { 7 }),
        only: arguments.opt_value_from_fn("--only", list)?,
        names: arguments.opt_value_from_fn("--who", list)?,
    };
    let csv: Option<std::path::PathBuf> = arguments.opt_value_from_str("--csv")?;
    if let Some(unknown) = arguments.finish().first() {
        return Err(format!("unknown argument: {}", unknown.to_string_lossy()).into());
    }
    let run = run::run(&options)?;
    table::print(&run);
    if let Some(path) = csv {
        table::write_csv(&run, &path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `bench amqp-broker`: the stand-in broker.
pub fn broker() -> Result<ExitCode> {
    broker::serve()?;
    Ok(ExitCode::SUCCESS)
}

/// `bench amqp-child WHO JOB MESSAGES SIZE WINDOW HOST PORT`: one measurement, as one line of
/// `key=value`.
pub fn child(arguments: pico_args::Arguments) -> Result<ExitCode> {
    let arguments = arguments.finish();
    let arguments: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let [who, job, messages, size, window, host, port] = arguments[..] else {
        return Err("amqp-child WHO JOB MESSAGES SIZE WINDOW HOST PORT".into());
    };
    let work = Work {
        job: Job::from_name(job).ok_or("no such job")?,
        messages: messages.parse()?,
        size: size.parse()?,
        window: window.parse()?,
        host: host.to_owned(),
        port: port.parse()?,
    };
    let client = who::client(who).ok_or("no such client in this program")?;
    let Some(outcome) = client(&work)? else { return Ok(ExitCode::from(UNSUPPORTED)) };
    println!("{outcome}");
    Ok(ExitCode::SUCCESS)
}
