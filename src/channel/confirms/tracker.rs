//! What was published and is not resolved: a ring by sequence number.

use std::collections::VecDeque;
use std::time::Instant;

use super::fingerprint::Fingerprint;
use super::waiters::Waiters;
use super::{Confirm, ConfirmSummary, OnConfirm, OnConfirmed, PublishOutcome};
use crate::channel::{Channel, ChannelId};
use crate::connection::Limit;
use crate::error::{Error, Result};

/// So many places of the ring are kept when it is empty: a channel at rest holds little, and batches
/// of some hundreds take no new memory each.
const KEEP: usize = 512;

/// After so many Returns of what was never published, no more are looked for: each takes a look at
/// all that is outstanding, and a broker that does so cannot be kept up with.
const STRANGERS: u32 = 100;

/// Where one publish stands.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    /// It has been told. Others before it have not: a hole.
    Resolved,
    Outstanding,
    /// Outstanding, and may come back.
    Mandatory(Fingerprint),
    /// It has come back; the acknowledgement follows.
    Returned,
}

/// What the broker has said of which publishes. They are told one by one.
#[derive(Clone, Copy)]
struct Verdict {
    acked: bool,
    tags: Tags,
}

#[derive(Clone, Copy)]
enum Tags {
    One(u64),
    UpTo(u64),
}

/// What an acknowledgement came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Acknowledged {
    /// There is something to tell.
    News,
    /// All of it was told before.
    Stale,
    /// Nothing was published under that number.
    Unknown,
}

/// The publishes of a channel in confirm mode.
pub(crate) struct Confirms {
    on_confirm: OnConfirm,
    /// SelectOk has come: what the broker says from now on is about numbered publishes.
    pub(super) is_selected: bool,
    /// Every publish from `first` on. The front is not resolved.
    ring: VecDeque<Entry>,
    /// The number of the ring's front. Numbers begin at 1.
    first: u64,
    /// How many of the ring are not resolved.
    outstanding: usize,
    /// What the broker has said and is not told yet. No frame is looked at before it is.
    verdict: Option<Verdict>,
    /// The first publish that the next Return can be of: the broker routes them, and returns those
    /// that it cannot route, in the order they were published.
    returns_from: u64,
    /// How many Returns were of nothing that was published.
    strangers: u32,
    waiters: Waiters,
}

impl Confirms {
    pub(super) fn new(on_confirm: OnConfirm) -> Self {
        Self {
            on_confirm,
            is_selected: false,
            ring: VecDeque::new(),
            first: 1,
            outstanding: 0,
            verdict: None,
            returns_from: 1,
            strangers: 0,
            waiters: Waiters::default(),
        }
    }

    pub(crate) fn on_confirm(&self) -> OnConfirm {
        OnConfirm::clone(&self.on_confirm)
    }

    /// How many publishes are not resolved.
    #[inline]
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The number of the last publish.
    fn last(&self) -> u64 {
        self.first + self.ring.len() as u64 - 1
    }

    /// Gives a publish its number. One that is mandatory has a fingerprint.
    #[inline]
    pub(crate) fn published(&mut self, mandatory: Option<Fingerprint>) -> u64 {
        self.ring.push_back(mandatory.map_or(Entry::Outstanding, Entry::Mandatory));
        self.outstanding += 1;
        self.last()
    }

    /// Takes note of a message that came back, before its acknowledgement: it is the first mandatory
    /// one that looks so, of those behind the last that came back. Gives its number.
    pub(super) fn returned(&mut self, fingerprint: Fingerprint) -> Option<u64> {
        if self.strangers >= STRANGERS {
            return None;
        }
        let from = self.returns_from.saturating_sub(self.first) as usize;
        let mut candidates = self.ring.range(from..);
        let Some(offset) = candidates.position(|entry| *entry == Entry::Mandatory(fingerprint))
        else {
            self.strangers += 1;
            return None;
        };
        self.ring[from + offset] = Entry::Returned;
        let number = self.first + (from + offset) as u64;
        self.returns_from = number + 1;
        Some(number)
    }

    /// Takes an Ack or a Nack. `unsent` publishes, the last ones, have not been sent: the broker
    /// cannot mean them.
    pub(super) fn acknowledged(
        &mut self,
        acked: bool,
        delivery_tag: u64,
        multiple: bool,
        unsent: u64,
    ) -> Acknowledged {
        let sent = self.last().saturating_sub(unsent);
        let tags = match (delivery_tag, multiple) {
            // AMQP, basic.ack: with `multiple`, tag 0 means everything outstanding.
            (0, true) => Tags::UpTo(sent),
            (0, false) => return Acknowledged::Unknown,
            (tag, _) if tag > sent => return Acknowledged::Unknown,
            (tag, true) => Tags::UpTo(tag),
            (tag, false) => Tags::One(tag),
        };
        let is_news = match tags {
            Tags::One(tag) => self.index(tag).is_some_and(|at| self.ring[at] != Entry::Resolved),
            Tags::UpTo(tag) => tag >= self.first,
        };
        if !is_news {
            return Acknowledged::Stale;
        }
        self.verdict = Some(Verdict { acked, tags });
        Acknowledged::News
    }

    /// Resolves the next publish that the broker has said something about.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(u64, PublishOutcome<'static>)> {
        let Verdict { acked, tags } = self.verdict?;
        let number = match tags {
            Tags::UpTo(last) if self.first <= last => self.first,
            Tags::UpTo(_) => {
                self.verdict = None;
                return None;
            }
            Tags::One(tag) => {
                self.verdict = None;
                tag
            }
        };
        let outcome = match (self.resolve(number)?, acked) {
            (Entry::Resolved, _) => return None,
            (_, false) => PublishOutcome::Nacked,
            (Entry::Returned, true) => PublishOutcome::Returned,
            (Entry::Outstanding | Entry::Mandatory(_), true) => PublishOutcome::Acked,
        };
        self.waiters.count(number, outcome);
        Some((number, outcome))
    }

    /// Has `on_confirmed` called when all that is published so far is resolved.
    pub(super) fn wait(&mut self, limit: Option<Limit>, on_confirmed: OnConfirmed) {
        self.waiters.add(self.last(), limit, on_confirmed);
    }

    /// When the first of those who wait has waited for too long.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.waiters.first_deadline()
    }

    /// Takes the next one who has waited for too long.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(OnConfirmed, Limit)> {
        self.waiters.take_overdue(now)
    }

    /// Takes the next one who has waited long enough.
    #[inline]
    pub(super) fn take_ready(&mut self) -> Option<(OnConfirmed, ConfirmSummary)> {
        self.waiters.take_ready(self.first)
    }

    fn index(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (index < self.ring.len()).then_some(index)
    }

    /// Makes a publish resolved, and gives what it was.
    #[inline]
    fn resolve(&mut self, number: u64) -> Option<Entry> {
        let index = self.index(number)?;
        let entry = std::mem::replace(&mut self.ring[index], Entry::Resolved);
        self.outstanding -= usize::from(entry != Entry::Resolved);
        while self.ring.front() == Some(&Entry::Resolved) {
            self.ring.pop_front();
            self.first += 1;
        }
        if self.ring.is_empty() {
            self.ring.shrink_to(KEEP);
        }
        Some(entry)
    }
}

/// The publishes of a channel that has ended: those that the broker has said something about are
/// told that, all others are lost.
pub(crate) struct Unconfirmed {
    pub(crate) channel: ChannelId,
    error: Error,
    confirms: Box<Confirms>,
    losing: bool,
}

enum Told {
    Resolved(u64, PublishOutcome<'static>),
    Lost(u64),
    Confirmed(OnConfirmed, Result<ConfirmSummary>),
}

impl Unconfirmed {
    pub(super) fn new(channel: ChannelId, error: Error, confirms: Box<Confirms>) -> Self {
        Self { channel, error, confirms, losing: false }
    }

    /// The next call to make of the user's closures.
    pub(crate) fn tell_next<'a>(&'a mut self, channel: &'a Channel) -> Option<impl FnOnce() + 'a> {
        let told = self.next()?;
        Some(move || {
            let (sequence_number, outcome) = match told {
                Told::Resolved(number, outcome) => (number, outcome),
                Told::Lost(number) => (number, PublishOutcome::Lost(&self.error)),
                Told::Confirmed(on_confirmed, result) => return on_confirmed(channel, result),
            };
            let confirm = Confirm { sequence_number, outcome };
            (*self.confirms.on_confirm.borrow_mut())(channel, confirm);
        })
    }

    fn next(&mut self) -> Option<Told> {
        let confirms = &mut self.confirms;
        if !self.losing {
            if let Some((number, outcome)) = confirms.next() {
                return Some(Told::Resolved(number, outcome));
            }
            if let Some((on_confirmed, summary)) = confirms.take_ready() {
                return Some(Told::Confirmed(on_confirmed, Ok(summary)));
            }
            self.losing = true;
        }
        let first = confirms.first;
        if confirms.resolve(first).is_some() {
            return Some(Told::Lost(first));
        }
        let on_confirmed = confirms.waiters.take_disappointed()?;
        Some(Told::Confirmed(on_confirmed, Err(self.error.clone())))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut confirms = Confirms::new(Rc::new(RefCell::new(|_: &Channel, _: Confirm<'_>| ())));
        for burst in [2 * KEEP, 10] {
            let last = (0..burst).map(|_| confirms.published(None)).last().unwrap();
            assert_eq!(confirms.acknowledged(true, last, true, 0), Acknowledged::News);
            assert_eq!(std::iter::from_fn(|| confirms.next()).count(), burst);
            assert!(confirms.ring.capacity() <= KEEP, "{}", confirms.ring.capacity());
        }
    }
}
