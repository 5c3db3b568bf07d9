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
use crate::child::UNSUPPORTED;
use crate::options::{Options, nothing_more};
use job::{Job, Work};

pub fn main(mut arguments: pico_args::Arguments) -> Result<ExitCode> {
    let options = Options::take(&mut arguments, 7, 1)?;
    nothing_more(arguments)?;
    let sections = run::run(&options)?;
    table::print(&sections, &options);
    options.write_csv(|| table::csv(&sections))?;
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
