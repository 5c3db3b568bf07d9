//! The rounds: every case once in each, one after the other, each in a process of its own.

use super::load::{Load, groups};
use crate::Result;
use crate::amqp::Broker;
use crate::child::{self, progress, raise_file_limit};
use crate::options::Options;
use crate::outcome::Outcome;
use crate::rounds::{Row, round};

/// What a run of a rate takes, about.
const LONG_ENOUGH: f64 = 1e9;

/// Connections in one loop.
pub const COUNTS: [(&str, usize); 3] = [("1", 1), ("1,000", 1_000), ("10,000", 10_000)];

/// What one child is told to do.
type Work = Vec<String>;

pub enum Section {
    /// The first row is what the others are set beside.
    Rates {
        name: &'static str,
        rows: Vec<Row<Work>>,
    },
    /// By `COUNTS`.
    Connections(Vec<Row<Work>>),
    Memory(Vec<Row<Work>>),
}

impl Section {
    pub fn rows(&self) -> &[Row<Work>] {
        match self {
            Self::Rates { rows, .. } | Self::Connections(rows) | Self::Memory(rows) => rows,
        }
    }
}

pub fn run(options: &Options) -> Result<Vec<Section>> {
    raise_file_limit()?;
    let all: Vec<_> = groups().into_iter().map(|group| group.name).collect();
    let all = [&all[..], &["connections", "memory"]].concat();
    let chosen = options.benches(all, |name| name)?;
    let broker = Broker::start()?;
    let sections = chosen.into_iter().map(|name| match name {
        "connections" => Section::Connections(connections(&broker, options)),
        "memory" => Section::Memory(rows(&broker, name, 1, [("memory", work(["memory"]))])),
        name => Section::Rates { name, rows: rates(name, &broker, options) },
    });
    Ok(sections.collect())
}

fn rates(name: &'static str, broker: &Broker, options: &Options) -> Vec<Row<Work>> {
    let Some(group) = groups().into_iter().find(|group| group.name == name) else {
        return Vec::new();
    };
    progress(name);
    let messages = enough(broker, group.cases[0].1, options);
    let rate = |load: Load, messages: &str| work(["rate", &load.name(), messages]);
    match messages.map(|messages| messages.to_string()) {
        Ok(messages) => {
            let cases = group.cases.map(|(title, load)| (title, rate(load, &messages)));
            rows(broker, name, options.rounds, cases)
        }
        Err(why) => {
            let mut rows = group.cases.map(|(title, _)| Row::new(title, Work::new()));
            rows.iter_mut().for_each(|row| row.remark = Some(why.clone()));
            rows.into()
        }
    }
}

/// Many connections take long, and differ little from round to round.
fn connections(broker: &Broker, options: &Options) -> Vec<Row<Work>> {
    let (seconds, messages) = if options.quick { ("2", "500000") } else { ("4", "5000000") };
    let works = COUNTS.map(|(title, count)| {
        (title, work(["connections", &count.to_string(), seconds, messages]))
    });
    rows(broker, "connections", options.rounds.div_ceil(3), works)
}

fn work<const N: usize>(words: [&str; N]) -> Work {
    words.map(str::to_owned).to_vec()
}

fn rows<const N: usize>(
    broker: &Broker,
    name: &str,
    rounds: usize,
    works: [(&'static str, Work); N],
) -> Vec<Row<Work>> {
    let mut rows = works.map(|(title, work)| Row::new(title, work));
    for number in 1..=rounds {
        progress(&format!("{name} {number}/{rounds}"));
        round(number, &mut rows, |_, work| measure(broker, work));
    }
    progress("");
    rows.into()
}

/// How many messages take long enough.
fn enough(broker: &Broker, load: Load, options: &Options) -> Result<u64, String> {
    let wanted = if options.quick { LONG_ENOUGH / 10.0 } else { LONG_ENOUGH };
    let mut messages = 200_000;
    loop {
        let wall = measure(broker, &work(["rate", &load.name(), &messages.to_string()]))?.wall;
        if wall >= 0.6 * wanted {
            return Ok(messages);
        }
        messages = (messages as f64 * (wanted / wall).clamp(1.5, 20.0)) as u64;
    }
}

fn measure(broker: &Broker, work: &[String]) -> Result<Outcome, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut line = vec![program.display().to_string(), "scale-child".into()];
    line.push(broker.port.to_string());
    line.extend_from_slice(work);
    child::measure(line, true)
}
