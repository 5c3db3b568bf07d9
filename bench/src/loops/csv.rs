//! The figures, for programs.

use super::run::{Row, Run, Section};
use super::spec::Job;
use crate::table::Table;

/// Medians of the rounds, but of delays the longest of all. A row of a percentile of delays has it as its time, and no rate.
pub fn table(run: &Run) -> Table {
    let head =
        ["bench", "who", "ops_per_second", "wall_ns_per_op", "cpu_ns_per_op", "syscalls_per_op"];
    let mut table = Table::new(head);
    for section in &run.sections {
        for row in &section.rows {
            rows(&mut table, section, row);
        }
    }
    table
}

fn rows(table: &mut Table, section: &Section, row: &Row) {
    let name = section.spec.name;
    let (Some(wall), Some(cpu)) = (row.per_op(), row.cpu_per_op()) else { return };
    let mut add = |bench: &str, rate: String, wall: f64, syscalls: String| {
        let times = [wall, cpu].map(|time| format!("{time:.1}"));
        let [wall, cpu] = times;
        table.row([bench.to_owned(), row.who.to_owned(), rate, wall, cpu, syscalls]);
    };
    if !section.spec.job.is_latency() {
        let syscalls = row.contender.syscalls.map(|calls| format!("{calls:.3}"));
        add(name, format!("{:.0}", 1e9 / wall), wall, syscalls.unwrap_or_default());
        return;
    }
    let prefixes: &[_] = match section.spec.job {
        Job::StarveFd | Job::StarveCallback => &["timer_", "fd_"],
        _ => &[""],
    };
    for prefix in prefixes {
        for percentile in ["p50", "p99", "max"] {
            let key = format!("{prefix}{percentile}");
            let delay = if percentile == "max" { row.most(&key) } else { row.extra(&key) };
            if let Some(delay) = delay {
                add(&format!("{name}_{key}"), String::new(), delay, String::new());
            }
        }
    }
}
