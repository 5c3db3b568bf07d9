//! Who is measured, and what has come of it.

use crate::child::NOTHING;
use crate::outcome::Outcome;

pub struct Row<T> {
    pub who: &'static str,
    pub contender: T,
    /// One per round.
    pub outcomes: Vec<Outcome>,
    /// Why there are none.
    pub remark: Option<String>,
}

impl<T> Row<T> {
    pub fn new(who: &'static str, contender: T) -> Self {
        Self { who, contender, outcomes: Vec::new(), remark: None }
    }

    /// Of the rounds' values, where there are any.
    pub fn median(&self, of: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
        median(self.outcomes.iter().filter_map(of))
    }

    /// The median of the ratios of each round to the same round of another: what slows a whole round
    /// down cancels out.
    pub fn beside<U>(&self, other: &Row<U>, of: impl Fn(&Outcome) -> f64) -> Option<f64> {
        let rounds = self.outcomes.iter().zip(&other.outcomes);
        median(rounds.map(|(one, other)| of(one) / of(other)))
    }

    /// It cannot do this bench, or would do it as another row does.
    pub fn has_nothing(&self) -> bool {
        self.remark.as_deref() == Some(NOTHING)
    }

    pub fn has_failed(&self) -> bool {
        self.remark.is_some() && !self.has_nothing()
    }

    pub fn remark(&self) -> &str {
        self.remark.as_deref().unwrap_or("-")
    }
}

/// Measures everyone once, but those who could not do it before; from the last to the first in every
/// other round, so that nobody has the better place. Who fails once has no figures at all: they would
/// be those of the rounds that went well.
pub fn round<T>(
    number: usize,
    rows: &mut [Row<T>],
    mut measure: impl FnMut(&'static str, &mut T) -> Result<Outcome, String>,
) {
    let mut rows: Vec<_> = rows.iter_mut().filter(|row| row.remark.is_none()).collect();
    if number.is_multiple_of(2) {
        rows.reverse();
    }
    for row in rows {
        match measure(row.who, &mut row.contender) {
            Ok(outcome) => row.outcomes.push(outcome),
            Err(remark) => {
                row.outcomes.clear();
                row.remark = Some(remark);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(wall: f64) -> Outcome {
        Outcome::new(1.0, wall, 1.0)
    }

    fn row(who: &'static str, walls: &[f64]) -> Row<()> {
        let outcomes = walls.iter().copied().map(outcome).collect();
        Row { outcomes, ..Row::new(who, ()) }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 100.0].into_iter()), Some(3.0));
        assert_eq!(median([4.0, 1.0, 100.0, 2.0].into_iter()), Some(3.0));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The last round of both was slow.
        let (one, other) = (row("one", &[2.0, 3.0, 40.0]), row("other", &[1.0, 1.0, 10.0]));
        assert_eq!(one.beside(&other, |outcome| outcome.wall), Some(3.0));
        assert_eq!(one.beside(&row("none", &[]), |outcome| outcome.wall), None);
    }

    #[test]
    fn every_other_round_is_the_other_way() {
        let mut rows = [row("one", &[]), row("two", &[])];
        let mut order = Vec::new();
        for number in 1..=3 {
            round(number, &mut rows, |who, ()| {
                order.push(who);
                Ok(outcome(number as f64))
            });
        }
        assert_eq!(order, ["one", "two", "two", "one", "one", "two"]);
        assert_eq!(rows[1].beside(&rows[0], |outcome| outcome.wall), Some(1.0));
    }

    #[test]
    fn who_fails_once_has_no_figures() {
        let mut rows = [row("well", &[]), row("ill", &[])];
        for number in 1..=3 {
            round(number, &mut rows, |who, ()| match (who, number) {
                ("ill", 2) => Err("failed".to_owned()),
                ("ill", 3) => panic!("it is not asked again"),
                _ => Ok(outcome(1.0)),
            });
        }
        let [well, ill] = &rows;
        assert_eq!((well.outcomes.len(), well.remark(), well.has_failed()), (3, "-", false));
        assert_eq!((ill.outcomes.len(), ill.remark(), ill.has_failed()), (0, "failed", true));
        assert_eq!(ill.median(|outcome| Some(outcome.wall)), None);
    }
}
