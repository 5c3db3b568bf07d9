//! The figures, for people and for programs.

use super::run::{Row, Section};
use super::who::RAW;
use crate::options::Options;
use crate::table::{Table, grouped};

pub fn print(sections: &[Section], options: &Options) {
    for section in sections {
        println!("{} of {} bytes:\n", section.job.name(), section.size);
        options.print(&throughput(section));
    }
    if options.quick {
        println!("A quick run: its figures show that it works, and little else.");
    }
}

fn throughput(section: &Section) -> Table {
    let mut table = Table::new(["who", "per second", "cpu us each", "of limit"]);
    let limit = section.row(RAW).and_then(Row::rate);
    for row in &section.rows {
        let (Some(rate), Some(cpu)) = (row.rate(), row.cpu_us()) else {
            table.remark(row.who, row.remark());
            continue;
        };
        let share = limit.map_or_else(|| "-".to_owned(), |l| format!("{:.1} %", 100.0 * rate / l));
        table.row([row.who.to_owned(), grouped(rate), format!("{cpu:.3}"), share]);
    }
    table
}

pub fn csv(sections: &[Section]) -> Table {
    let head = ["bench", "who", "messages", "size", "rate_per_second", "cpu_us_per_message"];
    let mut table = Table::new(head);
    for section in sections {
        for row in &section.rows {
            let messages = row.median(|outcome| Some(outcome.ops));
            let (Some(messages), Some(rate), Some(cpu)) = (messages, row.rate(), row.cpu_us())
            else {
                continue;
            };
            let (bench, size) = (section.job.name(), section.size.to_string());
            let figures = [format!("{messages:.0}"), size, format!("{rate:.0}")];
            let [messages, size, rate] = figures;
            let cells = [bench.to_owned(), row.who.to_owned(), messages, size, rate];
            table.row(cells.into_iter().chain([format!("{cpu:.4}")]));
        }
    }
    table
}
