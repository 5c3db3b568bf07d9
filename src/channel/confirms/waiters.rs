//! Those who wait until all that was published so far is resolved.

use std::collections::VecDeque;
use std::time::Instant;

use super::{ConfirmSummary, OnConfirmed, PublishOutcome};
use crate::connection::Limit;

struct Waiter {
    /// The last publish that it waits for.
    up_to: u64,
    /// Of those up to `up_to` that no waiter before it counts.
    summary: ConfirmSummary,
    limit: Option<Limit>,
    on_confirmed: OnConfirmed,
}

/// Each resolved publish is counted once: for the first who waits for it, or, while nobody does,
/// for whoever will be the next to wait.
#[derive(Default)]
pub(super) struct Waiters {
    /// By `up_to`.
    waiting: VecDeque<Waiter>,
    /// Of those that nobody waits for yet.
    unclaimed: ConfirmSummary,
}

impl Waiters {
    /// Adds one who waits for all up to that number, the last there is.
    pub(super) fn add(&mut self, up_to: u64, limit: Option<Limit>, on_confirmed: OnConfirmed) {
        let summary = std::mem::take(&mut self.unclaimed);
        self.waiting.push_back(Waiter { up_to, summary, limit, on_confirmed });
    }

    /// When the first limit is over.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiter| waiter.limit).map(|limit| limit.at).min()
    }

    /// Takes the next one whose time is over. What was counted for it is counted for the next.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(OnConfirmed, Limit)> {
        let is_overdue = |waiter: &Waiter| waiter.limit.is_some_and(|limit| limit.at <= now);
        let at = self.waiting.iter().position(is_overdue)?;
        let Waiter { summary, limit, on_confirmed, .. } = self.waiting.remove(at)?;
        match self.waiting.get_mut(at) {
            Some(next) => next.summary += summary,
            None => self.unclaimed += summary,
        }
        Some((on_confirmed, limit?))
    }

    #[inline]
    pub(super) fn count(&mut self, number: u64, outcome: PublishOutcome<'_>) {
        let waiter = self.waiting.partition_point(|waiter| waiter.up_to < number);
        let summary = match self.waiting.get_mut(waiter) {
            Some(waiter) => &mut waiter.summary,
            None => &mut self.unclaimed,
        };
        match outcome {
            PublishOutcome::Acked => summary.acked += 1,
            PublishOutcome::Nacked => summary.nacked += 1,
            PublishOutcome::Returned => summary.returned += 1,
            PublishOutcome::Lost(_) => {}
        }
    }

    /// Takes the next one for whom all is resolved; `first` is the first publish that is not.
    #[inline]
    pub(super) fn take_ready(&mut self, first: u64) -> Option<(OnConfirmed, ConfirmSummary)> {
        if self.waiting.front()?.up_to >= first {
            return None;
        }
        self.take().map(|waiter| (waiter.on_confirmed, waiter.summary))
    }

    /// Takes the next one, for whom not all will be resolved.
    pub(super) fn take_disappointed(&mut self) -> Option<OnConfirmed> {
        self.take().map(|waiter| waiter.on_confirmed)
    }

    fn take(&mut self) -> Option<Waiter> {
        self.waiting.pop_front()
    }
}
