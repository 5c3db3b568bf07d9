//! The rounds: every client once in each, one after the other, each in a process of its own.

use super::broker::Broker;
use super::job::Job;
use super::who;
use crate::Result;
use crate::child::{self, progress, raise_file_limit};
use crate::options::Options;
use crate::outcome::Outcome;
use crate::rounds::round;

/// What a run of one client takes, at the least.
const LONG_ENOUGH: f64 = 2e9;

pub struct Section {
    pub job: Job,
    pub size: usize,
    pub rows: Vec<Row>,
}

/// With how many messages take long enough.
pub type Row = crate::rounds::Row<u64>;

pub fn run(options: &Options) -> Result<Vec<Section>> {
    raise_file_limit()?;
    let jobs = options.benches(Job::ALL.to_vec(), |job| job.name())?;
    let clients = options.contenders(who::ALL.to_vec(), |who| who)?;
    let broker = Broker::start()?;
    Ok(jobs.into_iter().map(|job| section(job, 100, &clients, &broker, options)).collect())
}

fn section(
    job: Job,
    size: usize,
    clients: &[&'static str],
    broker: &Broker,
    options: &Options,
) -> Section {
    let run = |who: &str, messages| measure(who, job, messages, size, broker);
    let mut rows: Vec<_> = clients.iter().map(|who| Row::new(who, 1000)).collect();
    for row in &mut rows {
        progress(&format!("{} {}", job.name(), row.who));
        match enough(options.quick, |messages| run(row.who, messages)) {
            Ok(messages) => row.contender = messages,
            Err(remark) => row.remark = Some(remark),
        }
    }
    for number in 1..=options.rounds {
        progress(&format!("{} {number}/{}", job.name(), options.rounds));
        round(&mut rows, |who, messages| run(who, *messages));
    }
    progress("");
    Section { job, size, rows }
}

/// How many messages take long enough.
fn enough(quick: bool, run: impl Fn(u64) -> Result<Outcome, String>) -> Result<u64, String> {
    let enough = if quick { LONG_ENOUGH / 20.0 } else { LONG_ENOUGH };
    let mut messages = 1000;
    loop {
        let wall = run(messages)?.wall;
        if wall >= enough {
            return Ok(messages);
        }
        let more = (1.2 * enough / wall).clamp(1.5, 100.0);
        messages = (messages as f64 * more) as u64;
    }
}

fn measure(
    who: &str,
    job: Job,
    messages: u64,
    size: usize,
    broker: &Broker,
) -> Result<Outcome, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = program.display().to_string();
    let numbers = [messages, size as u64, 1000, u64::from(broker.port)].map(|n| n.to_string());
    let [messages, size, window, port] = &numbers;
    let (job, host) = (job.name(), "127.0.0.1");
    let line = [&program, "amqp-child", who, job, messages, size, window, host, port];
    child::measure(line.map(str::to_owned).to_vec(), true)
}

impl Row {
    pub fn cpu_us(&self) -> Option<f64> {
        self.median(|outcome| Some(outcome.cpu / outcome.ops / 1e3))
    }

    pub fn rate(&self) -> Option<f64> {
        self.median(|outcome| Some(outcome.ops / outcome.wall * 1e9))
    }
}

impl Section {
    pub fn row(&self, who: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.who == who)
    }
}
