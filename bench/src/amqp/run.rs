//! The rounds: every client once in each, one after the other, each in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::job::Job;
use super::{UNSUPPORTED, who};
use crate::Result;
use crate::child::{finish, progress, raise_file_limit};
use crate::outcome::Outcome;

/// What a run of one client takes, at the least.
const LONG_ENOUGH: f64 = 2e9;

pub struct Options {
    pub quick: bool,
    pub rounds: usize,
    pub only: Option<Vec<String>>,
    pub names: Option<Vec<String>>,
}

pub struct Run {
    pub sections: Vec<Section>,
    pub quick: bool,
}

pub struct Section {
    pub job: Job,
    pub size: usize,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub who: &'static str,
    /// One per round.
    pub outcomes: Vec<Outcome>,
    pub remark: Option<String>,
    /// So many take long enough.
    messages: u64,
}

pub fn run(options: &Options) -> Result<Run> {
    raise_file_limit()?;
    let broker = Broker::start()?;
    let chosen = |job: &Job| match &options.only {
        Some(only) => only.iter().any(|start| job.name().starts_with(start.as_str())),
        None => true,
    };
    let jobs = Job::ALL.into_iter().filter(chosen);
    let sections = jobs.map(|job| section(job, 100, &broker, options)).collect();
    Ok(Run { sections, quick: options.quick })
}

fn section(job: Job, size: usize, broker: &Broker, options: &Options) -> Section {
    let wanted = |who: &&str| {
        options.names.as_ref().is_none_or(|names| names.iter().any(|name| name == *who))
    };
    let row = |who| Row { who, outcomes: Vec::new(), remark: None, messages: 1000 };
    let mut rows: Vec<_> = who::ALL.into_iter().filter(wanted).map(row).collect();
    for row in &mut rows {
        progress(&format!("{} {}", job.name(), row.who));
        while row.remark.is_none() && !row.is_long_enough(job, size, broker, options) {}
    }
    for round in 1..=options.rounds {
        for row in rows.iter_mut().filter(|row| row.remark.is_none()) {
            progress(&format!("{} {round}/{} {}", job.name(), options.rounds, row.who));
            match row.measure(job, size, broker) {
                Ok(outcome) => row.outcomes.push(outcome),
                Err(remark) => row.remark = Some(remark),
            }
        }
    }
    progress("");
    Section { job, size, rows }
}

impl Row {
    /// Finds how many messages take long enough.
    fn is_long_enough(
        &mut self,
        job: Job,
        size: usize,
        broker: &Broker,
        options: &Options,
    ) -> bool {
        let enough = if options.quick { LONG_ENOUGH / 20.0 } else { LONG_ENOUGH };
        match self.measure(job, size, broker) {
            Ok(outcome) if outcome.wall >= enough => return true,
            Ok(outcome) => {
                let more = (1.2 * enough / outcome.wall).clamp(1.5, 100.0);
                self.messages = (self.messages as f64 * more) as u64;
            }
            Err(remark) => self.remark = Some(remark),
        }
        false
    }

    fn measure(&self, job: Job, size: usize, broker: &Broker) -> Result<Outcome, String> {
        let messages = self.messages.to_string();
        let (size, port) = (size.to_string(), broker.port.to_string());
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let program = program.display().to_string();
        let line = [
            &program,
            "amqp-child",
            self.who,
            job.name(),
            &messages,
            &size,
            "1000",
            "127.0.0.1",
            &port,
        ];
        let line = line.map(str::to_owned).to_vec();
        let (status, output) = finish(line, true).map_err(|error| error.to_string())?;
        match status.code() {
            Some(0) => Outcome::parse(&output).ok_or_else(|| format!("said: {output}")),
            Some(code) if code == i32::from(UNSUPPORTED) => {
                Err("has nothing of the kind".to_owned())
            }
            _ => Err(format!("failed: {status}")),
        }
    }

    pub fn median(&self, of: impl Fn(&Outcome) -> f64) -> Option<f64> {
        let mut values: Vec<_> = self.outcomes.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    pub fn cpu_us(&self) -> Option<f64> {
        self.median(|outcome| outcome.cpu / outcome.ops / 1e3)
    }

    pub fn rate(&self) -> Option<f64> {
        self.median(|outcome| outcome.ops / outcome.wall * 1e9)
    }
}

/// The stand-in broker, in a process of its own.
struct Broker {
    process: Child,
    port: u16,
}

impl Broker {
    fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("amqp-broker")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok(Self { process, port: line.trim().parse()? })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
