//! The figures, for programs.

use std::fmt::Write;
use std::path::Path;

use super::run::{Row, Run, Section};
use super::spec::Job;
use crate::Result;

/// Medians of the rounds. A row of a percentile of delays has it as its time, and no rate.
pub fn write(run: &Run, path: &Path) -> Result<()> {
    let mut text = String::new();
    text.push_str("bench,who,ops_per_second,wall_ns_per_op,cpu_ns_per_op,syscalls_per_op\n");
    for section in &run.sections {
        for row in &section.rows {
            rows(&mut text, section, row)?;
        }
    }
    Ok(std::fs::write(path, text)?)
}

fn rows(text: &mut String, section: &Section, row: &Row) -> Result<()> {
    let name = section.spec.name;
    let (Some(wall), Some(cpu)) = (row.per_op(), row.cpu_per_op()) else { return Ok(()) };
    if !section.spec.job.is_latency() {
        let syscalls = row.syscalls.map_or_else(String::new, |calls| format!("{calls:.3}"));
        writeln!(text, "{name},{},{:.0},{wall:.1},{cpu:.1},{syscalls}", row.who, 1e9 / wall)?;
        return Ok(());
    }
    let prefixes: &[_] = match section.spec.job {
        Job::StarveFd | Job::StarveCallback => &["timer_", "fd_"],
        _ => &[""],
    };
    for prefix in prefixes {
        for percentile in ["p50", "p99", "max"] {
            let key = format!("{prefix}{percentile}");
            if let Some(delay) = row.median(&key) {
                writeln!(text, "{name}_{key},{},,{delay:.0},{cpu:.1},", row.who)?;
            }
        }
    }
    Ok(())
}
