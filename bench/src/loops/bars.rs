//! What the project holds itself to, judged by this run. Each is about haypile's default poller.
//!
//! Of one bench, ratios are of the same round, and the median of them is judged: what slows a whole
//! round down cancels out. Of two benches, whose rounds are minutes apart, it is the medians' ratio.

use super::run::{Row, Run, Section};
use super::table::wall_per_op;
use super::who::{FLOOR, FLOOR_AGAIN, HAYPILE};
use crate::bars::tell;
use crate::rounds::median;

/// Beyond measuring: two counts or delays that differ by less are the same.
const SAME: f64 = 1.05;
/// A floor that is further from itself is no yardstick: the machine is busy with something else.
const USELESS: f64 = 1.10;

pub fn print(run: &Run) {
    println!("\nThe project's bars, by this run:");
    let bars = Bars(run);
    for n in ["1k", "100k"] {
        let (moved, stop_start) = (format!("t1_reset_{n}"), format!("t1_cancel_insert_{n}"));
        bars.at_most(
            "moves a timer in libev's stop and start",
            (&moved, HAYPILE),
            (&stop_start, "libev"),
            1.0,
        );
        let bench = format!("t2_insert_fire_{n}");
        bars.at_most(
            "inserts and fires in libev's time",
            (&bench, HAYPILE),
            (&bench, "libev"),
            1.0,
        );
        bars.at_most(
            "cancels and inserts, with its boxed closure, in 1.5 times libev's",
            (&stop_start, HAYPILE),
            (&stop_start, "libev"),
            1.5,
        );
    }
    for bench in ["f1_ping_pong_socketpair", "f1_ping_pong_eventfd"] {
        bars.hop(bench);
        bars.syscalls(bench, 3.0);
    }
    bars.at_most(
        "one active of 8,000 costs what one of 10 does, within 25 %",
        ("f2_one_of_8000", HAYPILE),
        ("f2_one_of_10", HAYPILE),
        1.25,
    );
    for bench in ["w1_wake_flood_1", "w1_wake_flood_4"] {
        bars.at_most("posts in twice libuv's time", (bench, HAYPILE), (bench, "libuv"), 2.0);
    }
    let bench = "l1_idle_turn";
    bars.at_most("turns idly in libuv's time", (bench, HAYPILE), (bench, "libuv"), 1.0);
    bars.syscalls(bench, 1.0);
    bars.lateness();
    println!("Beside the bars:");
    for n in ["1k", "100k"] {
        let rearm = format!("t2_rearm_fire_{n}");
        bars.at_most(
            "sets due and fires, without new closures, in libev's time",
            (&rearm, HAYPILE),
            (&rearm, "libev"),
            1.0,
        );
        let bench = format!("t1_reset_{n}");
        bars.at_most(
            "moves a timer in ev_timer_again's time",
            (&bench, HAYPILE),
            (&bench, "libev"),
            1.0,
        );
    }
}

struct Bars<'a>(&'a Run);

/// A bench and who.
type Entry<'a> = (&'a str, &'a str);

impl Bars<'_> {
    fn section(&self, bench: &str) -> Option<&Section> {
        self.0.sections.iter().find(|section| section.spec.name == bench)
    }

    fn row(&self, (bench, who): Entry<'_>) -> Option<&Row> {
        self.section(bench)?.row(who).filter(|row| !row.outcomes.is_empty())
    }

    fn at_most(&self, what: &str, one: Entry<'_>, other: Entry<'_>, limit: f64) {
        let benches = [one.0, other.0];
        let judged = self.row(one).zip(self.row(other)).and_then(|(one, other)| {
            let ratio = match benches {
                [one_bench, other_bench] if one_bench == other_bench => {
                    one.beside(other, wall_per_op)?
                }
                _ => one.per_op()? / other.per_op()?,
            };
            Some((ratio <= limit, format!("{ratio:.2} of at most {limit:.2}")))
        });
        tell(one.0, what, judged);
    }

    /// The yardstick is how far two runs of the floor in one round are apart.
    fn hop(&self, bench: &str) {
        let judged = || {
            let [own, floor, again] =
                [HAYPILE, FLOOR, FLOOR_AGAIN].map(|who| self.row((bench, who)));
            let (floor, again) = (floor?, again?);
            let pair = |round: usize| {
                let one = floor.outcomes.get(round).map(wall_per_op)?;
                Some((one, again.outcomes.get(round).map(wall_per_op)?))
            };
            let limit = spread((0..floor.outcomes.len()).filter_map(pair))?;
            if limit > USELESS {
                return None;
            }
            let ratio = paired(own?, |round| pair(round).map(|(one, other)| (one + other) / 2.0))?;
            Some((ratio <= limit, format!("{ratio:.3} of at most {limit:.3}")))
        };
        tell(bench, "hops in the spread of bare epoll entered twice", judged());
    }

    fn syscalls(&self, bench: &str, wanted: f64) {
        let judged = self
            .row((bench, HAYPILE))
            .and_then(|row| row.contender.syscalls)
            .map(|calls| ((calls - wanted).abs() < 0.01, format!("{calls:.2} of {wanted:.2}")));
        tell(bench, "makes no system call more than it must", judged);
    }

    fn lateness(&self) {
        let bench = "t4_lateness";
        let judged = self.row((bench, HAYPILE)).zip(self.row((bench, "calloop"))).and_then(
            |(own, calloop)| {
                let ratio = own.extra("p50")? / calloop.extra("p50")?;
                let early = own.sum("early");
                let told = format!("{ratio:.2} of at most {SAME:.2}, {early} early");
                Some((ratio <= SAME && early == 0.0, told))
            },
        );
        tell(bench, "is late as calloop at most (p50), and never early", judged);
    }
}

/// How many times as large one of two is as the other, at the most in nine pairs of ten.
fn spread(pairs: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let mut apart: Vec<_> = pairs.map(|(one, other)| (one / other).max(other / one)).collect();
    apart.sort_by(f64::total_cmp);
    apart.get((apart.len() * 9).div_ceil(10).checked_sub(1)?).copied()
}

fn paired(row: &Row, base: impl Fn(usize) -> Option<f64>) -> Option<f64> {
    let rounds = row.outcomes.iter().enumerate();
    median(rounds.filter_map(|(round, outcome)| Some(wall_per_op(outcome) / base(round)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_nine_pairs_of_ten() {
        let pairs = (1..=10).map(|n| (f64::from(n), 1.0));
        assert_eq!(spread(pairs), Some(9.0));
        // The larger may be the one or the other.
        assert_eq!(spread([(1.0, 4.0), (2.0, 1.0)].into_iter()), Some(4.0));
        assert_eq!(spread([].into_iter()), None);
    }
}
