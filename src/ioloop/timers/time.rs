//! Time as the timers count it: in nanoseconds, from a zero that is the caller's.

use std::num::NonZeroU64;
use std::time::Duration;

/// The time between the calls of a periodic timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(NonZeroU64);

impl From<Duration> for Period {
    /// Of a period of nothing, the shortest there is.
    fn from(period: Duration) -> Self {
        Self(NonZeroU64::new(nanos(period)).unwrap_or(NonZeroU64::MIN))
    }
}

impl Period {
    /// The first deadline after `now` of those that are a period apart, `at` being one of them.
    #[inline]
    pub(super) fn next(self, at: u64, now: u64) -> u64 {
        let missed = now.saturating_sub(at) / self.0;
        at.saturating_add(missed.saturating_add(1).saturating_mul(self.0.get()))
    }
}

/// A duration as these timers count. All that is too far, some 584 years, is the same.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos().into())
}
