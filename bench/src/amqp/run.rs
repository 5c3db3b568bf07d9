//! The rounds: every client once in each, one after the other, each in a process of its own.

use super::job::Spec;
use super::target::Target;
use super::who::{self, Kind, RAW};
use super::{Flags, Options};
use crate::Result;
use crate::child::{self, progress, raise_file_limit};
use crate::outcome::Outcome;
use crate::rounds::round;

/// What a run of one client takes in nanoseconds, at the least; and of a quick one.
const LONG: f64 = 2e9;
const QUICK: f64 = 5e7;
/// How much more is aimed at.
const MARGIN: f64 = 1.08;
/// The first run: few enough for who takes long over each.
const FEW: u64 = 10;

pub struct Run {
    pub sections: Vec<Section>,
    /// Who could not be measured, and why.
    pub remarks: Vec<String>,
    pub is_real: bool,
}

pub struct Section {
    pub spec: Spec,
    pub rows: Vec<Row>,
}

pub type Row = crate::rounds::Row<Contender>;

#[derive(Clone)]
pub struct Contender {
    pub kind: Kind,
    line: Vec<String>,
    /// So many take long enough.
    messages: u64,
}

pub fn run(options: &Options, flags: &Flags) -> Result<Run> {
    raise_file_limit()?;
    let specs = if flags.sizes { Spec::sizes() } else { Spec::all() };
    let mut specs = options.benches(specs, |spec| &spec.name)?;
    if flags.url.is_some() {
        // Of others, more than it has memory for would wait in the queue.
        specs.retain(|spec| spec.size <= super::job::SMALL);
    }
    let chosen = options.contenders(who::all(flags.pika), |who| who.name)?;
    let (mut contenders, mut remarks) = (Vec::new(), Vec::new());
    for who in chosen {
        match who.line() {
            Ok(line) => contenders.push((who.name, Contender::new(who.kind, line))),
            Err(remark) => remarks.push(remark),
        }
    }
    let target = Target::start(flags.url.as_deref())?;
    let section = |spec| section(spec, &contenders, &target, options);
    let sections = specs.into_iter().map(section).collect();
    Ok(Run { sections, remarks, is_real: target.is_real() })
}

/// Measures everyone.
pub fn section(
    spec: Spec,
    contenders: &[(&'static str, Contender)],
    target: &Target,
    options: &Options,
) -> Section {
    let enough = if options.quick { QUICK } else { LONG };
    let rows = contenders.iter().map(|(who, contender)| Row::new(who, contender.clone()));
    let mut rows: Vec<_> = rows.collect();
    for row in &mut rows {
        progress(&format!("{} {}", spec.name, row.who));
        row.remark = row.contender.calibrate(row.who, &spec, target, enough).err();
    }
    for number in 1..=options.rounds {
        progress(&format!("{} {number}/{}", spec.name, options.rounds));
        round(number, &mut rows, |who, contender| {
            loop {
                let outcome = contender.measure(who, &spec, target)?;
                if outcome.wall >= enough {
                    return Ok(outcome);
                }
                // The machine has become faster since.
                contender.aim(&outcome, enough);
            }
        });
    }
    progress("");
    Section { spec, rows }
}

impl Contender {
    pub fn new(kind: Kind, line: Vec<String>) -> Self {
        Self { kind, line, messages: FEW }
    }

    /// Finds how many messages take long enough.
    fn calibrate(
        &mut self,
        who: &str,
        spec: &Spec,
        target: &Target,
        enough: f64,
    ) -> Result<(), String> {
        loop {
            let outcome = self.measure(who, spec, target)?;
            self.aim(&outcome, enough);
            // A run of a tenth tells well enough.
            if outcome.wall >= enough / 10.0 {
                return Ok(());
            }
        }
    }

    fn aim(&mut self, outcome: &Outcome, enough: f64) {
        let more = (MARGIN * enough / outcome.wall).min(100.0);
        self.messages = (self.messages as f64 * more).ceil() as u64;
    }

    fn measure(&self, who: &str, spec: &Spec, target: &Target) -> Result<Outcome, String> {
        let work = target.prepare(spec, self.messages).map_err(|error| error.to_string())?;
        let line = self.line.iter().cloned().chain([who.to_owned()]).chain(work);
        let outcome = child::measure(line.collect(), true)?;
        match outcome.ops == self.messages as f64 {
            true => Ok(outcome),
            false => Err(format!("did {} messages of {}", outcome.ops, self.messages)),
        }
    }
}

impl Row {
    pub fn cpu_us(&self) -> Option<f64> {
        self.median(|outcome| Some(outcome.cpu / outcome.ops / 1e3))
    }

    pub fn rate(&self) -> Option<f64> {
        self.median(|outcome| Some(outcome.ops / outcome.wall * 1e9))
    }

    pub fn messages(&self) -> Option<f64> {
        self.median(|outcome| Some(outcome.ops))
    }
}

impl Run {
    /// Whether somebody could not do what it has.
    pub fn has_failed(&self) -> bool {
        self.sections.iter().flat_map(|section| &section.rows).any(Row::has_failed)
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.spec.name == name)
    }
}

/// Messages a second, published and consumed, that the limit reaches on a machine that does
/// nothing else.
pub const IDLE: [(&str, f64); 2] = [("publish", 15e6), ("consume", 12e6)];

impl Section {
    /// The limit's rate.
    pub fn limit(&self) -> Option<f64> {
        self.row(RAW)?.rate()
    }

    /// Whether the machine was busy with something else, as far as the limit tells.
    pub fn is_busy(&self) -> bool {
        let idle = IDLE.into_iter().find(|&(bench, _)| bench == self.spec.name);
        idle.zip(self.limit()).is_some_and(|((_, idle), limit)| limit < idle)
    }

    pub fn row(&self, who: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.who == who)
    }

    /// Of those that `counts` is true of, who costs the least CPU time, and how many microseconds.
    pub fn cheapest(&self, counts: impl Fn(&str, Kind) -> bool) -> Option<(&Row, f64)> {
        let rows = self.rows.iter().filter(|row| counts(row.who, row.contender.kind));
        rows.filter_map(|row| Some((row, row.cpu_us()?))).min_by(|a, b| a.1.total_cmp(&b.1))
    }
}
