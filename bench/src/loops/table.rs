//! The figures, for people.

use super::measure::Outcome;
use super::run::{Row, Run, Section};
use super::spec::Job;
use super::who::{self, FLOOR, HAYPILE};
use crate::options::Options;
use crate::rounds::median;
use crate::table::Table;

/// A round whose calibrating floor is further from the usual than this is noisy.
const NOISE: f64 = 0.10;

pub fn print(run: &Run, options: &Options) {
    let usual = usual(run.sections.iter());
    for section in &run.sections {
        let noisy = section.calibration.iter().filter(|&&value| is_noisy(value, usual)).count();
        let name = section.spec.name;
        println!("{name}: {}", section.spec.job.about());
        if noisy > 0 {
            println!("  ({noisy} of {} rounds noisy)", section.calibration.len());
        }
        options.print(&match section.spec.job {
            Job::StarveFd | Job::StarveCallback => starvation(section),
            job if job.is_latency() => latency(section),
            _ => throughput(section),
        });
    }
    print_noise(run.sections.iter());
    if options.quick {
        println!("A quick run: its figures show that it works, and little else.");
    }
    run.remarks.iter().for_each(|remark| println!("{remark}"));
}

/// How quiet the machine was.
pub fn print_noise<'a>(sections: impl Iterator<Item = &'a Section> + Clone) {
    let usual = usual(sections.clone());
    let all = sections.flat_map(|section| &section.calibration);
    let rounds = all.clone().count();
    let noisy = all.filter(|&&value| is_noisy(value, usual)).count();
    println!(
        "Noise: the floor took {usual:.0} ns a hop, and in {noisy} of {rounds} rounds more than \
         {:.0} % more or less.",
        100.0 * NOISE
    );
}

/// What the floor takes.
fn usual<'a>(sections: impl Iterator<Item = &'a Section>) -> f64 {
    let all = sections.flat_map(|section| &section.calibration);
    median(all.copied()).unwrap_or(f64::NAN)
}

fn is_noisy(value: f64, usual: f64) -> bool {
    (value / usual - 1.0).abs() > NOISE
}

fn throughput(section: &Section) -> Table {
    let mut table = Table::new([
        "who",
        "median ns",
        "min ns",
        "/haypile",
        "/best C",
        "/floor",
        "cpu ns",
        "syscalls",
        "",
    ]);
    let haypile = section.per_op(HAYPILE);
    let floor = section.per_op(FLOOR);
    let rows = section.rows.iter();
    let best_c = rows.filter(|row| who::is_c(row.who)).filter_map(Row::per_op).reduce(f64::min);
    for row in &section.rows {
        let Some(median) = row.per_op() else {
            table.remark(row.who, row.remark());
            continue;
        };
        let ratio = |base: Option<f64>| match base {
            Some(base) => format!("{:.2}", median / base),
            None => "-".to_owned(),
        };
        let least = row.outcomes.iter().map(wall_per_op).reduce(f64::min).unwrap_or(f64::NAN);
        let syscalls = row.contender.syscalls;
        table.row([
            row.who.to_owned(),
            format!("{median:.1}"),
            format!("{least:.1}"),
            ratio(haypile),
            ratio(best_c),
            ratio(floor),
            format!("{:.1}", row.cpu_per_op().unwrap_or(f64::NAN)),
            syscalls.map_or_else(|| "-".to_owned(), |calls| format!("{calls:.2}")),
            aside(row),
        ]);
    }
    table
}

/// What the time does not tell.
fn aside(row: &Row) -> String {
    let Some(first) = row.outcomes.first() else { return String::new() };
    let ops = first.ops;
    if let Some(callbacks) = row.extra("callbacks") {
        return match row.extra("wakes") {
            Some(wakes) if wakes > 0.0 => format!("{callbacks:.0} run, {wakes:.0} wakes"),
            // Some wake by other calls than write.
            _ => format!("{callbacks:.0} run"),
        };
    }
    match row.extra("served") {
        Some(0.0) => "I/O STARVED".to_owned(),
        Some(served) => {
            let pings = (ops / super::measure::PING_EVERY as f64).ceil() - 1.0;
            format!("I/O served {served:.0} of {pings:.0}")
        }
        None => String::new(),
    }
}

fn latency(section: &Section) -> Table {
    let mut table = Table::new(["who", "p50 us", "p99 us", "max us", "early"]);
    for row in &section.rows {
        if row.outcomes.is_empty() {
            table.remark(row.who, row.remark());
            continue;
        }
        let [p50, p99, max] = delays(row, "");
        table.row([row.who.to_owned(), p50, p99, max, row.sum("early").to_string()]);
    }
    table
}

fn starvation(section: &Section) -> Table {
    let head =
        ["who", "timer: p50 us", "p99", "max", "early", "timerfd: p50 us", "p99", "max", "ns/turn"];
    let mut table = Table::new(head);
    for row in &section.rows {
        let Some(turn) = row.per_op() else {
            table.remark(row.who, row.remark());
            continue;
        };
        let mut cells = vec![row.who.to_owned()];
        cells.extend(delays(row, "timer_"));
        cells.push(row.sum("timer_early").to_string());
        cells.extend(delays(row, "fd_"));
        cells.push(format!("{turn:.0}"));
        table.row(cells);
    }
    table
}

/// The half, the worst of a hundred, the worst of all; in microseconds.
fn delays(row: &Row, prefix: &str) -> [String; 3] {
    let key = |name: &str| format!("{prefix}{name}");
    if row.extra(&key("count")) == Some(0.0) {
        return ["STARVED", "never", "called"].map(str::to_owned);
    }
    [row.extra(&key("p50")), row.extra(&key("p99")), row.most(&key("max"))]
        .map(|value| format!("{:.1}", value.unwrap_or(f64::NAN) / 1000.0))
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
        self.median(|outcome| Some(wall_per_op(outcome)))
    }

    pub fn cpu_per_op(&self) -> Option<f64> {
        self.median(|outcome| Some(outcome.cpu / outcome.ops))
    }

    pub fn extra(&self, key: &str) -> Option<f64> {
        self.median(|outcome| outcome.extra(key))
    }

    /// Of all rounds.
    pub fn most(&self, key: &str) -> Option<f64> {
        self.outcomes.iter().filter_map(|outcome| outcome.extra(key)).reduce(f64::max)
    }

    pub fn sum(&self, key: &str) -> f64 {
        self.outcomes.iter().filter_map(|outcome| outcome.extra(key)).fold(0.0, |a, b| a + b)
    }
}
