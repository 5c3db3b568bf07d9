//! The conformance suite: what every adapter must do, each scenario over each loop, against a real
//! broker. [`scenarios`] has the list, with pika's names for them.
//!
//! It has a runner of its own: the scenarios are data, so that whoever writes an adapter runs the
//! same ones on it, given how to make its loop. The arguments are those of all other tests.

#[path = "../support/mod.rs"]
mod support;

mod blocked;
mod channels;
mod connecting;
mod consuming;
mod exchanges;
mod loops;
mod queues;
mod scenarios;
mod stage;
mod transactions;
mod watchdog;
mod workflows;

use std::process::ExitCode;

use haypile::PollerKind;
use libtest_mimic::{Arguments, Trial};

use scenarios::SCENARIOS;
use stage::Adapter;
use support::hosts::Select;

type NewLoop = fn() -> Box<dyn Adapter>;

/// Every loop that the suite runs over.
const LOOPS: &[(&str, NewLoop)] = &[
    ("mio", || Box::new(Select::over(PollerKind::Mio))),
    ("polling", || Box::new(Select::over(PollerKind::Polling))),
    ("poll", || Box::new(Select::over(PollerKind::Poll))),
    ("select", || Box::new(Select::over(PollerKind::Select))),
    #[cfg(feature = "tokio")]
    ("tokio", || Box::new(<support::hosts::Tokio as support::Host>::new())),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = LOOPS.iter().flat_map(|&(name, new)| {
        SCENARIOS.iter().map(move |scenario| {
            let test = format!("{name}::{}", scenario.name);
            Trial::test(test.clone(), move || {
                watchdog::run(&test, move || scenario.run(new(), support::broker()))
            })
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    println!(
        "{} scenarios x {} loops: {} passed, {} failed",
        SCENARIOS.len(),
        LOOPS.len(),
        conclusion.num_passed,
        conclusion.num_failed
    );
    conclusion.exit_code()
}
