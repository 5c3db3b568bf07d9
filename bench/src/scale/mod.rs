//! `bench scale`: what many channels, consumers and connections cost, against the stand-in broker.
//!
//! The rates with many are set beside those with one, in `load`; `connections` opens many of these,
//! and `memory` says what each thing takes.

mod bars;
mod connections;
mod load;
mod memory;
mod rates;
mod run;
mod stage;
mod table;

use std::process::ExitCode;

use crate::Result;
use crate::options::{Options, nothing_more};
use crate::rounds::Row;

pub fn main(mut arguments: pico_args::Arguments) -> Result<ExitCode> {
    let options = Options::take(&mut arguments, 7, 1)?;
    nothing_more(arguments)?;
    // There is nobody else.
    options.contenders(vec!["haypile"], |who| who)?;
    let sections = run::run(&options)?;
    table::print(&sections, &options);
    if !options.markdown {
        bars::print(&sections);
    }
    options.write_csv(|| table::csv(&sections))?;
    let has_failed = sections.iter().flat_map(run::Section::rows).any(Row::has_failed);
    Ok(ExitCode::from(u8::from(has_failed)))
}

/// `bench scale-child PORT WHAT ARGUMENTS`: one measurement, as one line of `key=value`.
pub fn child(arguments: pico_args::Arguments) -> Result<ExitCode> {
    let arguments = arguments.finish();
    let arguments: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let outcome = match arguments[..] {
        [port, "rate", load, messages] => {
            let load = load::Load::from_name(load).ok_or("no such load")?;
            rates::run(port.parse()?, load, messages.parse()?)?
        }
        [port, "connections", count, seconds, messages] => {
            connections::run(port.parse()?, count.parse()?, seconds.parse()?, messages.parse()?)?
        }
        [port, "memory"] => memory::run(port.parse()?)?,
        _ => return Err("scale-child PORT WHAT ARGUMENTS".into()),
    };
    println!("{outcome}");
    Ok(ExitCode::SUCCESS)
}
