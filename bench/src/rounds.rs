//! Who is measured, and what has come of it.

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

    pub fn remark(&self) -> &str {
        self.remark.as_deref().unwrap_or("-")
    }
}

/// Measures everyone once, but those who could not do it before.
pub fn round<T>(
    rows: &mut [Row<T>],
    mut measure: impl FnMut(&'static str, &mut T) -> Result<Outcome, String>,
) {
    for row in rows.iter_mut().filter(|row| row.remark.is_none()) {
        match measure(row.who, &mut row.contender) {
            Ok(outcome) => row.outcomes.push(outcome),
            Err(remark) => row.remark = Some(remark),
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
