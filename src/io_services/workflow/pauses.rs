//! The pauses between cycles.

use std::time::Duration;

use crate::connection::ConnectionWorkflow;

/// Pauses that double up to a limit, each shortened at random by up to a half.
pub(super) struct Pauses {
    next: Duration,
    max: Duration,
    random: u64,
}

impl Pauses {
    pub(super) fn new(workflow: &ConnectionWorkflow, seed: u64) -> Self {
        let next = workflow.retry_delay();
        Self { next, max: workflow.max_retry_delay().max(next), random: seed }
    }

    pub(super) fn next(&mut self) -> Duration {
        let longest = self.next;
        self.next = longest.saturating_mul(2).min(self.max);
        let half = longest / 2;
        // 32 bits of chance are plenty to keep clients apart.
        let share = f64::from((self.random() >> 32) as u32) / f64::from(u32::MAX);
        half.saturating_add(half.mul_f64(share))
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::ConnectionParameters;

    fn pauses(retry_delay: u64, max: u64, seed: u64) -> Pauses {
        let mut workflow = ConnectionWorkflow::from(ConnectionParameters::default());
        workflow.set_retry_delay(Duration::from_secs(retry_delay));
        workflow.set_max_retry_delay(Duration::from_secs(max));
        Pauses::new(&workflow, seed)
    }

    #[test]
    fn they_double_up_to_the_limit_and_are_shortened_by_up_to_a_half() {
        for seed in 0..1000 {
            let mut pauses = pauses(2, 15, seed);
            for longest in [2, 4, 8, 15, 15, 15] {
                let (pause, longest) = (pauses.next(), Duration::from_secs(longest));
                assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
            }
        }
    }

    #[test]
    fn chance_keeps_them_apart() {
        let first: Vec<_> = (0..1000).map(|seed| pauses(2, 15, seed).next()).collect();
        let (least, most) = (first.iter().min().unwrap(), first.iter().max().unwrap());
        assert!(*least < Duration::from_millis(1050) && *most > Duration::from_millis(1950));
        let mut different = first.clone();
        different.sort();
        different.dedup();
        assert!(different.len() > 990);
    }

    #[test]
    fn the_extremes() {
        assert_eq!(pauses(0, 15, 1).next(), Duration::ZERO);
        assert!(pauses(20, 15, 1).next() >= Duration::from_secs(10));
        let mut endless = pauses(u64::MAX, u64::MAX, 1);
        assert!(endless.next() >= Duration::from_secs(u64::MAX / 4));
        endless.next();
        for seed in 0..100 {
            let forever = ConnectionWorkflow::from(ConnectionParameters::default())
                .set_retry_delay(Duration::MAX)
                .clone();
            Pauses::new(&forever, seed).next();
        }
    }
}
