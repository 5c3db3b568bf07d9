//! What the project holds itself to, judged by this run.

use super::run::{COUNTS, Section};
use super::table::{busy, of_ones};
use crate::bars::tell;

/// The rate with many, beside that with one.
const SHARE: f64 = 0.9;

/// Bytes of an idle connection, beside its socket.
const IDLE: f64 = 8192.0;

pub fn print(sections: &[Section]) {
    println!("\nThe project's bars, by this run:");
    for section in sections {
        match section {
            Section::Rates { name, rows } => {
                for row in &rows[1..] {
                    // One who has time left may be slower than it shows.
                    let cpu = rows[0].beside(row, |it| it.cpu / it.ops);
                    let told = of_ones(rows, row).zip(cpu).zip(row.median(busy));
                    let judged = told.map(|((share, cpu), busy)| {
                        let how = format!("{share:.2} of at least {SHARE:.2}, {busy:.0} % busy");
                        (share >= SHARE, format!("{how}; by CPU {cpu:.2}"))
                    });
                    tell(name, &format!("is as fast with {}", row.who), judged);
                }
            }
            Section::Connections(rows) => {
                let (most, _) = COUNTS[COUNTS.len() - 1];
                let row = rows.iter().find(|row| row.who == most);
                for what in ["heap", "resident"] {
                    let bytes = row.and_then(|row| row.median(|it| it.extra(what)));
                    let judged = bytes.map(|bytes| {
                        (bytes <= IDLE, format!("{bytes:.0} bytes of at most {IDLE:.0}"))
                    });
                    tell("connections", &format!("{what} of one of {most}"), judged);
                }
            }
            Section::Memory(_) => {}
        }
    }
}
