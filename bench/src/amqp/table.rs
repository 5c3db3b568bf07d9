//! The figures, for people and for programs.

use std::fmt::Write;
use std::path::Path;

use super::run::{Run, Section};
use super::who::RAW;
use crate::Result;

pub fn print(run: &Run) {
    for section in &run.sections {
        println!("{} of {} bytes:", section.job.name(), section.size);
        println!("  {:<18} {:>12} {:>12} {:>9}", "who", "per second", "cpu us each", "of limit");
        let limit = section.rate(RAW);
        for row in &section.rows {
            let (Some(rate), Some(cpu)) = (row.rate(), row.cpu_us()) else {
                println!("  {:<18} {}", row.who, row.remark.as_deref().unwrap_or("-"));
                continue;
            };
            let share =
                limit.map_or_else(|| "-".to_owned(), |l| format!("{:.1} %", 100.0 * rate / l));
            println!("  {:<18} {rate:>12.0} {cpu:>12.3} {share:>9}", row.who);
        }
        println!();
    }
    if run.quick {
        println!("A quick run: its figures show that it works, and little else.");
    }
}

impl Section {
    fn rate(&self, who: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.who == who)?.rate()
    }
}

pub fn write_csv(run: &Run, path: &Path) -> Result<()> {
    let mut text = "bench,who,messages,size,rate_per_second,cpu_us_per_message\n".to_owned();
    for section in &run.sections {
        for row in &section.rows {
            let (Some(rate), Some(cpu)) = (row.rate(), row.cpu_us()) else { continue };
            let messages = row.median(|outcome| outcome.ops).unwrap_or_default();
            let (bench, size) = (section.job.name(), section.size);
            writeln!(text, "{bench},{},{messages},{size},{rate:.0},{cpu:.4}", row.who)?;
        }
    }
    Ok(std::fs::write(path, text)?)
}
