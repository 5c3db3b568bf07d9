//! The figures, for people and for programs.

use super::connections::AT_ONCE;
use super::load::{CHANNELS, CONSUMERS};
use super::run::{COUNTS, Section};
use super::stage::SIZE;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::rounds::Row;
use crate::table::{Table, grouped};

type Value = fn(&Outcome) -> Option<f64>;

/// Of a rate: what a program calls it, and its value.
const RATES: [(&str, Value); 3] = [
    ("rate_per_second", |it| Some(rate(it))),
    ("busy_percent", busy),
    ("cpu_ns_per_message", |it| Some(it.cpu / it.ops)),
];

/// Of connections: what a program calls it, what people do, and its value.
const CONNECTIONS: [(&str, &str, Value); 10] = [
    ("open_ms", "all open after, ms", |it| Some(it.wall / 1e6)),
    ("open_cpu_us", "to open one, CPU µs", |it| Some(it.cpu / it.ops / 1e3)),
    ("heap", "heap of one, bytes", |it| it.extra("heap")),
    ("resident", "resident memory of one, bytes", |it| it.extra("resident")),
    ("beats_per_second", "heartbeats sent a second", |it| it.extra("beats_per_second")),
    ("beat_cpu_ns", "a heartbeat out and one in, CPU ns", |it| it.extra("beat_cpu")),
    ("idle_cpu_ppm", "all idle, CPU ppm", |it| it.extra("idle_cpu_ppm")),
    ("rpc_p50_ns", "a message there and back, p50, ns", |it| it.extra("p50")),
    ("rpc_p99_ns", "a message there and back, p99, ns", |it| it.extra("p99")),
    ("publish_rate", "published on one, per second", |it| it.extra("publish_rate")),
];

const MEMORY: [(&str, Value); 2] =
    [("channel", |it| it.extra("channel")), ("consumer", |it| it.extra("consumer"))];

pub fn print(sections: &[Section], options: &Options) {
    for section in sections {
        match section {
            Section::Rates { name, rows } => {
                println!("{name}, messages of {SIZE} bytes:\n");
                options.print(&rates(rows));
            }
            Section::Connections(rows) => {
                println!("connections in one loop, {AT_ONCE} under way at once while they open:\n");
                options.print(&connections(rows));
                for row in rows.iter().filter(|row| row.remark.is_some()) {
                    println!("{} connections: {}", row.who, row.remark());
                }
            }
            Section::Memory(rows) => {
                println!(
                    "heap in bytes of one of {CHANNELS} channels, of {CONSUMERS} consumers:\n"
                );
                options.print(&memory(rows));
            }
        }
    }
    if options.quick {
        println!("A quick run: its figures show that it works, and little else.");
    }
}

fn rates(rows: &[Row<Vec<String>>]) -> Table {
    let mut table = Table::new(["with", "per second", "of one's", "busy", "CPU ns each"]);
    for row in rows {
        let [per_second, busy, cpu] = RATES.map(|(_, value)| row.median(value));
        match (per_second, busy, cpu, of_ones(rows, row)) {
            (Some(per_second), Some(busy), Some(cpu), Some(ratio)) => table.row([
                row.who.to_owned(),
                grouped(per_second),
                format!("{:.0} %", 100.0 * ratio),
                format!("{busy:.0} %"),
                format!("{cpu:.1}"),
            ]),
            _ => table.remark(row.who, row.remark()),
        }
    }
    table
}

/// A row's rate beside the first one's.
pub fn of_ones(rows: &[Row<Vec<String>>], row: &Row<Vec<String>>) -> Option<f64> {
    row.beside(&rows[0], rate)
}

/// The share of the time that the client was computing, in percent.
pub fn busy(outcome: &Outcome) -> Option<f64> {
    Some(100.0 * outcome.cpu / outcome.wall)
}

fn rate(outcome: &Outcome) -> f64 {
    outcome.ops / outcome.wall * 1e9
}

fn connections(rows: &[Row<Vec<String>>]) -> Table {
    let mut table = Table::new(["", COUNTS[0].0, COUNTS[1].0, COUNTS[2].0]);
    for (_, title, value) in CONNECTIONS {
        let cells = rows.iter().map(|row| row.median(value).map_or_else(String::new, grouped));
        table.row([title.to_owned()].into_iter().chain(cells));
    }
    table
}

fn memory(rows: &[Row<Vec<String>>]) -> Table {
    let mut table = Table::new(["of one", "bytes"]);
    for row in rows {
        for (name, value) in MEMORY {
            match row.median(value) {
                Some(bytes) => table.row([name.to_owned(), grouped(bytes)]),
                None => table.remark(name, row.remark()),
            }
        }
    }
    table
}

/// A row for each figure.
pub fn csv(sections: &[Section]) -> Table {
    let mut table = Table::new(["bench", "with", "what", "value"]);
    for section in sections {
        let (bench, rows, values): (_, _, Vec<(&str, Value)>) = match section {
            Section::Rates { name, rows } => (*name, rows, RATES.to_vec()),
            Section::Connections(rows) => {
                let values = CONNECTIONS.map(|(name, _, value)| (name, value));
                ("connections", rows, values.to_vec())
            }
            Section::Memory(rows) => ("memory", rows, MEMORY.to_vec()),
        };
        for row in rows {
            for &(what, value) in &values {
                if let Some(value) = row.median(value) {
                    let value = format!("{value:.1}");
                    table.row([bench, &row.who.replace(',', ""), what, &value]);
                }
            }
        }
    }
    table
}
