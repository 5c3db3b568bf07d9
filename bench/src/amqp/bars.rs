//! What the project holds itself to, judged by this run.

use super::run::{Row, Run, Section};
use super::who::{self, HAYPILE, Kind, LAPIN, RABBITMQ_C};
use crate::bars::{leave_open, tell};

/// Those that have a bar, with the stand-in broker.
const BENCHES: [&str; 7] =
    ["publish", "confirm", "consume", "consume_ack", "rpc", "publish_64k", "consume_64k"];

pub fn print(run: &Run) {
    let benches = if run.is_real { &["publish"][..] } else { &BENCHES };
    if benches.iter().all(|bench| run.section(bench).is_none()) {
        return;
    }
    println!("\nThe project's bars, by this run:");
    let bars = Bars(run);
    if run.is_real {
        return bars.cpu("publish", Whose::Best, 1.0 / 6.0);
    }
    bars.cpu("publish", Whose::Best, 1.0 / 12.0);
    bars.cpu("publish", Whose::BestPlain, 1.0 / 30.0);
    bars.cpu("confirm", Whose::Client(LAPIN), 1.0 / 8.0);
    bars.cpu("consume", Whose::Client(RABBITMQ_C), 1.0 / 3.0);
    bars.cpu("consume_ack", Whose::Best, 1.0 / 8.0);
    bars.cpu("rpc", Whose::Client(RABBITMQ_C), 1.0);
    for (bench, share) in
        [("publish", 0.35), ("consume", 0.35), ("publish_64k", 0.7), ("consume_64k", 0.7)]
    {
        bars.rate(bench, share);
    }
    let beside = [("publish", 1.0 / 12.0), ("confirm", 1.0 / 8.0), ("consume_ack", 1.0 / 8.0)];
    if beside.iter().any(|(bench, _)| run.section(bench).is_some()) {
        println!("Beside the bars:");
    }
    for (bench, limit) in beside {
        bars.cpu(bench, Whose::Beneath, limit);
    }
}

/// Whose CPU time a bar is about.
#[derive(Clone, Copy)]
enum Whose {
    Best,
    /// Of those that do one thing after the other.
    BestPlain,
    /// That of a client in its best way.
    Client(&'static str),
    /// That of a peer that is helped from beneath.
    Beneath,
}

impl Whose {
    fn counts(self, name: &str, kind: Kind) -> bool {
        match self {
            Self::Best => kind.is_peer(),
            Self::BestPlain => kind == Kind::Plain,
            Self::Client(client) => kind.is_peer() && name.starts_with(client),
            Self::Beneath => kind == Kind::Beneath,
        }
    }

    fn told(self) -> String {
        match self {
            Self::Best => "costs a part of the best peer's CPU time".to_owned(),
            Self::BestPlain => "costs a part of that of the best that does one by one".to_owned(),
            Self::Client(client) => format!("costs a part of {client}'s"),
            Self::Beneath => "costs a part of a peer's on a corked socket".to_owned(),
        }
    }
}

struct Bars<'a>(&'a Run);

impl Bars<'_> {
    /// CPU time of a message, beside the best of some peers. Without one of them, none is the best.
    fn cpu(&self, bench: &str, whose: Whose, limit: f64) {
        let Some(section) = self.0.section(bench) else { return };
        let missing = missing(section, whose);
        if !missing.is_empty() {
            return leave_open(bench, &whose.told(), &format!("without {}", missing.join(", ")));
        }
        let own = section.row(HAYPILE).and_then(Row::cpu_us);
        let best = section.cheapest(|name, kind| whose.counts(name, kind));
        let judged = own.zip(best).map(|(own, (peer, best))| {
            let ratio = own / best;
            let told = format!("{ratio:.3} of at most {limit:.3} ({})", peer.who);
            (ratio <= limit, told)
        });
        tell(bench, &whose.told(), judged);
    }

    /// The rate, beside the limit.
    fn rate(&self, bench: &str, share: f64) {
        let Some(section) = self.0.section(bench) else { return };
        let what = "comes near the limit";
        if section.is_busy() {
            return leave_open(bench, what, "the machine was busy: the limit is too low");
        }
        let own = section.row(HAYPILE).and_then(Row::rate);
        let judged = own.zip(section.limit()).map(|(own, limit)| {
            let told = format!("{:.2} of at least {share:.2}", own / limit);
            (own / limit >= share, told)
        });
        tell(bench, what, judged);
    }
}

/// The peers that a bar is about and that have neither figures nor nothing of the kind. pika is never
/// the best.
fn missing(section: &Section, whose: Whose) -> Vec<&'static str> {
    let has_been = |name| {
        let row = section.row(name);
        row.is_some_and(|row| row.has_nothing() || !row.outcomes.is_empty())
    };
    let all = who::all(false).into_iter();
    let wanted = all.filter(|who| whose.counts(who.name, who.kind)).map(|who| who.name);
    wanted.filter(|name| !has_been(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::job::{Job, SMALL, Spec};
    use super::super::run::Contender;
    use super::*;
    use crate::child::NOTHING;
    use crate::outcome::Outcome;

    /// Publishing, by all that this program knows, in a microsecond each.
    fn section() -> Section {
        let rows = who::all(false).into_iter().map(|who| {
            let mut row = Row::new(who.name, Contender::new(who.kind, Vec::new()));
            row.outcomes = vec![Outcome::new(1e6, 2e9, 1e9)];
            row
        });
        Section { spec: Spec::sized(Job::Publish, SMALL), rows: rows.collect() }
    }

    fn fail(section: &mut Section, name: &str, remark: &str) {
        let row = section.rows.iter_mut().find(|row| row.who == name).unwrap();
        row.outcomes.clear();
        row.remark = Some(remark.to_owned());
    }

    #[test]
    fn no_peer_is_the_best_without_one_that_failed_or_was_left_out() {
        let mut section = section();
        assert_eq!(missing(&section, Whose::Best), [""; 0]);
        fail(&mut section, "amiquip", "failed: exit status: 1");
        section.rows.retain(|row| row.who != "rabbitmq-c-frames");
        assert_eq!(missing(&section, Whose::Best), ["amiquip", "rabbitmq-c-frames"]);
        assert_eq!(missing(&section, Whose::BestPlain), ["amiquip"]);
        assert_eq!(missing(&section, Whose::Client(RABBITMQ_C)), ["rabbitmq-c-frames"]);
        assert_eq!(missing(&section, Whose::Client(LAPIN)), [""; 0]);
    }

    #[test]
    fn who_has_nothing_of_the_kind_is_not_missed() {
        let mut section = section();
        fail(&mut section, "amqprs", NOTHING);
        assert_eq!(missing(&section, Whose::Best), [""; 0]);
    }

    #[test]
    fn a_low_limit_is_that_of_a_busy_machine() {
        let mut section = section();
        assert!(section.is_busy());
        let limit = section.rows.iter_mut().find(|row| row.contender.kind == Kind::Limit).unwrap();
        limit.outcomes[0].ops = 4e7;
        assert!(!section.is_busy());
    }

    #[test]
    fn the_best_is_the_cheapest_peer() {
        let mut section = section();
        for (name, cpu) in [
            ("raw", 1.0),
            ("haypile", 2.0),
            ("rabbitmq-c-corked", 2.5),
            ("amiquip", 3.0),
            ("lapin", 4.0),
        ] {
            let row = section.rows.iter_mut().find(|row| row.who == name).unwrap();
            row.outcomes[0].cpu = cpu;
        }
        let best = |whose: Whose| section.cheapest(|name, kind| whose.counts(name, kind));
        assert_eq!(best(Whose::Best).map(|(row, _)| row.who), Some("amiquip"));
        assert_eq!(best(Whose::Client(LAPIN)).map(|(row, _)| row.who), Some("lapin"));
        assert_eq!(best(Whose::Beneath).map(|(row, _)| row.who), Some("rabbitmq-c-corked"));
    }
}
