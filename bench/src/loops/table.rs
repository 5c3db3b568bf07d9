//! The figures, for people.

use super::measure::Outcome;
use super::run::{Row, Run, Section};
use super::spec::Job;
use super::who::{self, FLOOR, HAYPILE};

/// A round whose calibrating floor is further from the usual than this is noisy.
const NOISE: f64 = 0.10;

pub fn print(run: &Run) {
    let all: Vec<_> = run.sections.iter().flat_map(|section| &section.calibration).collect();
    let usual = median(all.iter().map(|&&value| value)).unwrap_or(f64::NAN);
    for section in &run.sections {
        let noisy = section.calibration.iter().filter(|&&value| is_noisy(value, usual)).count();
        let name = section.spec.name;
        println!("{name}: {}", section.spec.job.about());
        if noisy > 0 {
            println!("  ({noisy} of {} rounds noisy)", section.calibration.len());
        }
        match section.spec.job {
            Job::StarveFd | Job::StarveCallback => starvation(section),
            job if job.is_latency() => latency(section),
            _ => throughput(section),
        }
        println!();
    }
    println!("t3: to touch a timer is to store an instant; a heartbeat does no more per frame.");
    let rounds = all.len();
    let noisy = all.iter().filter(|&&&value| is_noisy(value, usual)).count();
    println!(
        "Noise: the floor took {usual:.0} ns a hop, and in {noisy} of {rounds} rounds more than \
         {:.0} % more or less.",
        100.0 * NOISE
    );
    if run.quick {
        println!("A quick run: its figures show that it works, and little else.");
    }
    run.remarks.iter().for_each(|remark| println!("{remark}"));
}

fn is_noisy(value: f64, usual: f64) -> bool {
    (value / usual - 1.0).abs() > NOISE
}

fn throughput(section: &Section) {
    println!(
        "  {:<15} {:>10} {:>10} {:>9} {:>9} {:>9} {:>10} {:>9}",
        "who", "median ns", "min ns", "/haypile", "/best C", "/floor", "cpu ns", "syscalls"
    );
    let haypile = section.per_op(HAYPILE);
    let floor = section.per_op(FLOOR);
    let rows = section.rows.iter();
    let best_c = rows.filter(|row| who::is_c(row.who)).filter_map(Row::per_op).reduce(f64::min);
    for row in &section.rows {
        let Some(median) = row.per_op() else {
            println!("  {:<15} {}", row.who, row.remark());
            continue;
        };
        let ratio = |base: Option<f64>| match base {
            Some(base) => format!("{:.2}", median / base),
            None => "-".to_owned(),
        };
        let least = row.outcomes.iter().map(wall_per_op).reduce(f64::min).unwrap_or(f64::NAN);
        let syscalls = row.syscalls.map_or_else(|| "-".to_owned(), |calls| format!("{calls:.2}"));
        println!(
            "  {:<15} {median:>10.1} {least:>10.1} {:>9} {:>9} {:>9} {:>10.1} {syscalls:>9}{}",
            row.who,
            ratio(haypile),
            ratio(best_c),
            ratio(floor),
            row.cpu_per_op().unwrap_or(f64::NAN),
            aside(row),
        );
    }
}

/// What the time does not tell.
fn aside(row: &Row) -> String {
    let Some(first) = row.outcomes.first() else { return String::new() };
    let ops = first.ops;
    if let Some(callbacks) = row.median("callbacks") {
        return match row.median("wakes") {
            Some(wakes) if wakes > 0.0 => format!("  {callbacks:.0} run, {wakes:.0} wakes"),
            // Some wake by other calls than write.
            _ => format!("  {callbacks:.0} run"),
        };
    }
    match row.median("served") {
        Some(0.0) => "  I/O STARVED".to_owned(),
        Some(served) => {
            let pings = (ops / super::measure::PING_EVERY as f64).ceil() - 1.0;
            format!("  I/O served {served:.0} of {pings:.0}")
        }
        None => String::new(),
    }
}

fn latency(section: &Section) {
    println!("  {:<15} {:>9} {:>9} {:>9} {:>8}", "who", "p50 us", "p99 us", "max us", "early");
    for row in &section.rows {
        if row.outcomes.is_empty() {
            println!("  {:<15} {}", row.who, row.remark());
            continue;
        }
        println!("  {:<15} {} {:>8}", row.who, delays(row, ""), row.sum("early"));
    }
}

fn starvation(section: &Section) {
    println!(
        "  {:<15} {:^29} {:>6}   {:^29} {:>9}",
        "who", "timer: p50, p99, max us", "early", "timerfd: p50, p99, max us", "ns/turn"
    );
    for row in &section.rows {
        if row.outcomes.is_empty() {
            println!("  {:<15} {}", row.who, row.remark());
            continue;
        }
        println!(
            "  {:<15} {} {:>6}   {} {:>9.0}",
            row.who,
            delays(row, "timer_"),
            row.sum("timer_early"),
            delays(row, "fd_"),
            row.per_op().unwrap_or(f64::NAN)
        );
    }
}

fn delays(row: &Row, prefix: &str) -> String {
    let key = |name: &str| format!("{prefix}{name}");
    if row.median(&key("count")) == Some(0.0) {
        return format!("{:>29}", "STARVED: never called");
    }
    let us = |value: Option<f64>| value.unwrap_or(f64::NAN) / 1000.0;
    let max = row.outcomes.iter().filter_map(|one| one.extra(&key("max"))).reduce(f64::max);
    let (p50, p99) = (row.median(&key("p50")), row.median(&key("p99")));
    format!("{:>9.1} {:>9.1} {:>9.1}", us(p50), us(p99), us(max))
}

pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

pub fn wall_per_op(outcome: &Outcome) -> f64 {
    outcome.wall / outcome.ops
}

impl Section {
    pub fn row(&self, who: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.who == who)
    }

    pub fn per_op(&self, who: &str) -> Option<f64> {
        self.row(who)?.per_op()
    }
}

impl Row {
    /// Nanoseconds per operation.
    pub fn per_op(&self) -> Option<f64> {
        median(self.outcomes.iter().map(wall_per_op))
    }

    pub fn cpu_per_op(&self) -> Option<f64> {
        median(self.outcomes.iter().map(|outcome| outcome.cpu / outcome.ops))
    }

    pub fn median(&self, key: &str) -> Option<f64> {
        median(self.outcomes.iter().filter_map(|outcome| outcome.extra(key)))
    }

    pub fn sum(&self, key: &str) -> f64 {
        self.outcomes.iter().filter_map(|outcome| outcome.extra(key)).fold(0.0, |a, b| a + b)
    }

    fn remark(&self) -> &str {
        self.remark.as_deref().unwrap_or("-")
    }
}
