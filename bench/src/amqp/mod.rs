//! `bench amqp`: AMQP clients side by side, against a stand-in broker or a real one.
//!
//! What is measured is in `job`, who in `who`; one file per client holds its ways of doing it, a C
//! program and a Python script in `bench/` among them. `run` makes the rounds, `target` has the broker.

mod amiquip;
mod amqprs;
mod bars;
mod broker;
mod endpoint;
mod haypile;
pub mod instructions;
mod job;
mod lapin;
mod raw;
mod real;
mod run;
mod table;
mod target;
mod who;

use std::process::ExitCode;

use crate::Result;
use crate::child::UNSUPPORTED;
use crate::options::{Options, nothing_more};
pub use broker::Broker;
pub use haypile::run_on;
pub use job::{Job, SMALL, Spec, Work};
pub use run::{Contender, Row, Section, section};
pub use target::Target;
pub use who::Kind;

/// Flags that no other bench has.
pub struct Flags {
    /// pika too.
    pub pika: bool,
    /// Messages of many sizes, instead of the usual benches.
    pub sizes: bool,
    /// A real broker.
    pub url: Option<String>,
}

pub fn main(mut arguments: pico_args::Arguments) -> Result<ExitCode> {
    let options = Options::take(&mut arguments, 7, 1)?;
    let flags = Flags {
        pika: arguments.contains("--pika"),
        sizes: arguments.contains("--sizes"),
        url: arguments.opt_value_from_str("--url")?,
    };
    nothing_more(arguments)?;
    let run = run::run(&options, &flags)?;
    table::print(&run, &options);
    if !options.markdown {
        bars::print(&run);
    }
    options.write_csv(|| table::csv(&run))?;
    Ok(ExitCode::from(u8::from(run.has_failed())))
}

/// `bench amqp-broker`: the stand-in broker.
pub fn broker() -> Result<ExitCode> {
    broker::serve()?;
    Ok(ExitCode::SUCCESS)
}

/// `bench amqp-child WHO`, and what [`Work::parse`] takes: one measurement, as one line of
/// `key=value`.
pub fn child(arguments: pico_args::Arguments) -> Result<ExitCode> {
    let arguments = arguments.finish();
    let arguments: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let [who, work @ ..] = &arguments[..] else { return Err("amqp-child WHO WORK".into()) };
    let client = who::client(who).ok_or("no such client in this program")?;
    let Some(outcome) = client(&Work::parse(work)?)? else {
        return Ok(ExitCode::from(UNSUPPORTED));
    };
    println!("{outcome}");
    Ok(ExitCode::SUCCESS)
}
