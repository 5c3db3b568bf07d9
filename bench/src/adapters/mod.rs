//! `bench adapters`: what haypile's adapters cost, on each loop that this program has.
//!
//! The tax is that of the loop's primitives: the same work done by the loop itself, by the subject
//! that `bench loop` has of it, and through haypile's services on it, in `through`. The rates are
//! those of the adapters' connections beside `SelectConnection`'s, by the job of `bench amqp`.

mod rates;
mod table;
mod tax;
mod through;
mod who;

use std::process::ExitCode;

use crate::Result;
use crate::amqp::{self, Work};
use crate::child::UNSUPPORTED;
use crate::loops::spec::Job;
use crate::options::{Options, nothing_more};

/// What one program has measured.
pub struct Run {
    taxes: Vec<tax::Section>,
    rates: Vec<amqp::Section>,
    /// What could not be measured, and why.
    remarks: Vec<String>,
}

pub fn main(mut arguments: pico_args::Arguments) -> Result<ExitCode> {
    // CPU time of what sleeps most of the time differs by some tenths from round to round.
    let options = Options::take(&mut arguments, 15, 1)?;
    nothing_more(arguments)?;
    let run = measure(&options)?;
    table::print(&run, &options);
    if !options.markdown {
        table::print_bars(&run);
    }
    options.write_csv(|| table::csv(&run))?;
    let has_failed = run.taxes.iter().any(|section| section.section.has_failed(&options))
        || run.rates.iter().flat_map(|section| &section.rows).any(|row| row.has_failed());
    Ok(ExitCode::from(u8::from(has_failed)))
}

fn measure(options: &Options) -> Result<Run> {
    let names = tax::SPECS.iter().map(|spec| spec.name).chain(rates::NAMES).collect();
    let names = options.benches(names, |name| name)?;
    let loops = options.contenders(who::ALL.iter().collect(), |one| one.name)?;
    let mut remarks = who::missing();
    let taxes = tax::sections(&names, &loops, options, &mut remarks)?;
    let rates = rates::sections(&names, &loops, options)?;
    Ok(Run { taxes, rates, remarks })
}

/// `bench adapters-child loop WHO JOB N OPS`, or `bench adapters-child amqp WHO` and what
/// `amqp-child` takes: one measurement, as one line of `key=value`.
pub fn child(arguments: pico_args::Arguments) -> Result<ExitCode> {
    let arguments = arguments.finish();
    let arguments: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let [kind, who, work @ ..] = &arguments[..] else {
        return Err("adapters-child KIND WHO WORK".into());
    };
    let adapter = who::find(who).ok_or("no such loop in this program")?;
    let outcome = match (*kind, work) {
        ("loop", [job, n, ops]) => {
            let job = Job::from_name(job).ok_or("no such job")?;
            (adapter.through)(job, n.parse()?, ops.parse()?)?
        }
        ("amqp", work) => (adapter.client)(&Work::parse(work)?)?,
        _ => return Err("adapters-child loop WHO JOB N OPS".into()),
    };
    let Some(outcome) = outcome else { return Ok(ExitCode::from(UNSUPPORTED)) };
    println!("{outcome}");
    Ok(ExitCode::SUCCESS)
}
