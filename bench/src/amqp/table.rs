//! The figures, for people and for programs.

use super::run::{IDLE, Run, Section};
use crate::options::Options;
use crate::table::{Table, grouped};

pub fn print(run: &Run, options: &Options) {
    if !run.is_real {
        print_load(run);
    }
    for section in &run.sections {
        println!("{}, {} bytes:\n", section.spec.name, grouped(section.spec.size as f64));
        options.print(&match section.spec.job.is_latency() {
            true => latency(section),
            false => throughput(section),
        });
        let nothing: Vec<_> = section.rows.iter().filter(|row| row.has_nothing()).collect();
        if !nothing.is_empty() {
            let names: Vec<_> = nothing.iter().map(|row| row.who).collect();
            println!("Nothing of the kind: {}.\n", names.join(", "));
        }
    }
    run.remarks.iter().for_each(|remark| println!("{remark}"));
    if options.quick {
        println!("A quick run: its figures show that it works, and little else.");
    }
}

/// Whether the machine was busy with something else.
fn print_load(run: &Run) {
    for (bench, idle) in IDLE {
        let Some(section) = run.section(bench) else { continue };
        let Some(rate) = section.limit() else { continue };
        let verdict = if section.is_busy() { ": a busy machine" } else { "" };
        let (rate, idle) = (rate / 1e6, idle / 1e6);
        println!(
            "{bench}: the limit is {rate:.1} M a second (idle: at least {idle:.0} M){verdict}"
        );
    }
    println!();
}

fn throughput(section: &Section) -> Table {
    let best = section.cheapest(|_, kind| kind.is_peer());
    let ratio = match best {
        Some((peer, _)) => format!("CPU / {}", peer.who),
        None => "CPU / best peer".to_owned(),
    };
    let mut table = Table::new(["who", "per second", "CPU µs each", &ratio, "of limit"]);
    let limit = section.limit();
    for row in section.rows.iter().filter(|row| !row.has_nothing()) {
        let (Some(rate), Some(cpu)) = (row.rate(), row.cpu_us()) else {
            table.remark(row.who, row.remark());
            continue;
        };
        table.row([
            row.who.to_owned(),
            grouped(rate),
            significant(cpu),
            best.map_or_else(|| "-".to_owned(), |(_, best)| significant(cpu / best)),
            limit.map_or_else(|| "-".to_owned(), |limit| format!("{:.0} %", 100.0 * rate / limit)),
        ]);
    }
    table
}

fn latency(section: &Section) -> Table {
    let mut table = Table::new(["who", "p50 µs", "p99 µs", "CPU µs each"]);
    for row in section.rows.iter().filter(|row| !row.has_nothing()) {
        let delay = |key| row.median(|outcome| outcome.extra(key)).map(|ns| ns / 1e3);
        let (Some(p50), Some(p99), Some(cpu)) = (delay("p50"), delay("p99"), row.cpu_us()) else {
            table.remark(row.who, row.remark());
            continue;
        };
        let figures = [p50, p99, cpu].map(significant);
        table.row([row.who.to_owned()].into_iter().chain(figures));
    }
    table
}

/// Three digits that say something.
fn significant(value: f64) -> String {
    let decimals = match value {
        ..0.1 => 4,
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// Delays are not in it.
pub fn csv(run: &Run) -> Table {
    let head = ["bench", "who", "messages", "size", "rate_per_second", "cpu_us_per_message"];
    let mut table = Table::new(head);
    for section in run.sections.iter().filter(|section| !section.spec.job.is_latency()) {
        for row in &section.rows {
            let figures = (row.messages(), row.rate(), row.cpu_us());
            let (Some(messages), Some(rate), Some(cpu)) = figures else { continue };
            table.row([
                section.spec.name.clone(),
                row.who.to_owned(),
                format!("{messages:.0}"),
                section.spec.size.to_string(),
                format!("{rate:.0}"),
                format!("{cpu:.4}"),
            ]);
        }
    }
    table
}
