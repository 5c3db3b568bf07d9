//! The figures and the bars, for people and for programs.

use super::rates::ratio;
use super::{Run, amqp, tax};
use crate::bars::tell;
use crate::loops::table::print_noise;
use crate::options::Options;
use crate::table::{Table, grouped};

/// What a primitive of a loop may cost through haypile, beside itself.
const MOST: f64 = 1.1;
/// What of `SelectConnection`'s rate every adapter's connection has.
const LEAST: f64 = 0.8;
/// Counts that differ by less are the same.
const SAME: f64 = 0.02;
/// The same, of what sleeps: a wait may end early, and threads do not meet in the same way each time.
const ALIKE: f64 = 0.2;

pub fn print(run: &Run, options: &Options) {
    for section in &run.taxes {
        println!("{}: {}\n", section.spec.name, section.spec.job.about());
        options.print(&taxes(section));
    }
    for section in &run.rates {
        println!("{}, {} bytes:\n", section.spec.name, section.spec.size);
        options.print(&rates(section));
    }
    if !run.taxes.is_empty() {
        print_noise(run.taxes.iter().map(|section| &section.section));
    }
    run.remarks.iter().for_each(|remark| println!("{remark}"));
    if options.quick {
        println!("A quick run: its figures show that it works, and little else.");
    }
}

fn taxes(section: &tax::Section) -> Table {
    let head = ["loop", "itself, ns", "haypile on it", "ratio", "itself, calls", "haypile on it"];
    let mut table = Table::new(head);
    for tax in section.taxes() {
        let (Some([native, through]), Some(ratio)) = (tax.times(), tax.ratio()) else {
            table.remark(tax.who, tax.remark());
            continue;
        };
        let calls = match tax.calls() {
            Some(calls) => calls.map(|calls| format!("{calls:.2}")),
            None => ["-", "-"].map(str::to_owned),
        };
        let times = [grouped(native), grouped(through), format!("{ratio:.2}")];
        table.row([tax.who.to_owned()].into_iter().chain(times).chain(calls));
    }
    table
}

fn rates(section: &amqp::Section) -> Table {
    let mut table = Table::new(["loop", "per second", "of select's", "CPU ns each"]);
    for row in &section.rows {
        match (row.rate(), ratio(section, row), row.cpu_us()) {
            (Some(rate), Some(ratio), Some(cpu)) => table.row([
                row.who.to_owned(),
                grouped(rate),
                format!("{:.0} %", 100.0 * ratio),
                format!("{:.0}", 1e3 * cpu),
            ]),
            _ => table.remark(row.who, row.remark()),
        }
    }
    table
}

pub fn print_bars(run: &Run) {
    println!("\nThe project's bars, by this run:");
    let (beside, bars): (Vec<_>, Vec<_>) =
        run.taxes.iter().partition(|section| section.spec.name == tax::BESIDE);
    bars.into_iter().for_each(print_tax);
    for section in &run.rates {
        for row in &section.rows[1..] {
            let bench = format!("{} on {}", section.spec.name, row.who);
            let judged = ratio(section, row);
            let judged = judged.map(|it| (it >= LEAST, format!("{it:.2} of at least {LEAST}")));
            tell(&bench, "has SelectConnection's rate", judged);
        }
    }
    if !beside.is_empty() {
        println!("Beside the bars:");
        beside.into_iter().for_each(print_tax);
    }
}

fn print_tax(section: &tax::Section) {
    for tax in section.taxes() {
        let bench = format!("{} on {}", section.spec.name, tax.who);
        let judged = tax.ratio().map(|it| (it <= MOST, format!("{it:.2} of at most {MOST}")));
        tell(&bench, "takes the loop's own time", judged);
        let same = if section.is_asleep() { ALIKE } else { SAME };
        let judged = tax.calls().map(|[native, through]| {
            (through <= native + same, format!("{through:.2} of {native:.2}"))
        });
        tell(&bench, "makes no further system call", judged);
    }
}

/// A row for each figure.
pub fn csv(run: &Run) -> Table {
    let mut table = Table::new(["bench", "loop", "what", "value"]);
    let mut add = |bench: &str, who: &str, what: &str, value: Option<f64>| {
        if let Some(value) = value {
            table.row([bench, who, what, &format!("{value:.3}")]);
        }
    };
    for section in &run.taxes {
        for tax in section.taxes() {
            let mut add = |what, value| add(section.spec.name, tax.who, what, value);
            let [native, through] = [0, 1].map(|way| tax.times().map(|times| times[way]));
            add("native_ns", native);
            add("adapter_ns", through);
            add("ratio", tax.ratio());
            let [native, through] = [0, 1].map(|way| tax.calls().map(|calls| calls[way]));
            add("native_syscalls", native);
            add("adapter_syscalls", through);
        }
    }
    for section in &run.rates {
        for row in &section.rows {
            add(&section.spec.name, row.who, "rate_per_second", row.rate());
            add(&section.spec.name, row.who, "of_select", ratio(section, row));
        }
    }
    table
}
