//! What the project holds itself to, judged by this run.

use super::run::{Row, Run, Section};
use super::who::{HAYPILE, Kind, RABBITMQ_C, RAW};
use crate::bars::tell;

/// Those that have a bar.
const BENCHES: [&str; 7] =
    ["publish", "confirm", "consume", "consume_ack", "rpc", "publish_64k", "consume_64k"];

pub fn print(run: &Run) {
    if BENCHES.iter().all(|bench| run.section(bench).is_none()) {
        return;
    }
    println!("\nThe project's bars, by this run:");
    let bars = Bars(run);
    if run.is_real {
        return bars.cpu("publish", "the best peer's CPU time", 1.0 / 6.0, |_| true);
    }
    bars.cpu("publish", "the best peer's CPU time", 1.0 / 12.0, |_| true);
    let is_plain = |row: &Row| row.contender.kind == Kind::Plain;
    bars.cpu("publish", "that of the best that publishes one by one", 1.0 / 30.0, is_plain);
    bars.cpu("confirm", "lapin's, in batches", 1.0 / 8.0, |row| row.who == "lapin-batched");
    bars.cpu("consume", "rabbitmq-c's", 1.0 / 3.0, |row| row.who == RABBITMQ_C);
    bars.cpu("consume_ack", "the best peer's", 1.0 / 8.0, |_| true);
    bars.cpu("rpc", "rabbitmq-c's", 1.0, |row| row.who == RABBITMQ_C);
    for (bench, share) in
        [("publish", 0.35), ("consume", 0.35), ("publish_64k", 0.7), ("consume_64k", 0.7)]
    {
        bars.rate(bench, share);
    }
}

struct Bars<'a>(&'a Run);

impl Bars<'_> {
    /// CPU time of a message, beside the best of some peers.
    fn cpu(&self, bench: &str, whose: &str, limit: f64, peers: impl Fn(&Row) -> bool) {
        let Some(section) = self.0.section(bench) else { return };
        let own = section.row(HAYPILE).and_then(Row::cpu_us);
        let judged = own.zip(section.best_peer(peers)).map(|(own, (peer, best))| {
            let ratio = own / best;
            let told = format!("{ratio:.3} of at most {limit:.3} ({})", peer.who);
            (ratio <= limit, told)
        });
        tell(bench, &format!("costs a part of {whose}"), judged);
    }

    /// The rate, beside the limit.
    fn rate(&self, bench: &str, share: f64) {
        let Some(section) = self.0.section(bench) else { return };
        let rate = |who| Section::row(section, who).and_then(Row::rate);
        let judged = rate(HAYPILE).zip(rate(RAW)).map(|(own, limit)| {
            let told = format!("{:.2} of at least {share:.2}", own / limit);
            (own / limit >= share, told)
        });
        tell(bench, "comes near the limit", judged);
    }
}
