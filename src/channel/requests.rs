//! The order of a channel's requests: one synchronous method on the wire at a time, each completed
//! exactly once, and nothing overtakes.
//!
//! Replies of pipelined requests do not come in order (a declare may wait for a disk while the next
//! one is answered), and RabbitMQ does not take all of them well, so the next request leaves when
//! the reply to the last one has come. What is published or acknowledged behind a waiting request
//! waits with it; what comes behind the one on the wire does not, unless that is a tx.commit, whose
//! transaction it must not join.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::callbacks::Completion;
use crate::connection::{Limit, Output, Undelivered, Wire};
use crate::protocol::{EncodeError, EncodeMethod, channel, encode_method, tx};

/// Room for so many requests that wait is kept while none does.
const KEPT: usize = 2;

/// A request that has no reply yet.
pub(crate) struct Pending {
    /// Class and method id of the request.
    ids: (u16, u16),
    name: &'static str,
    /// None if nobody waits for the reply any more.
    pub(crate) completion: Option<Completion>,
    limit: Option<Limit>,
    pub(crate) undo: Undo,
}

/// What is to be done about a request that nobody waits for any more.
#[derive(Clone, Default)]
pub(crate) enum Undo {
    #[default]
    Nothing,
    /// Cancel the consumer that it starts.
    Cancel(Bytes),
    /// Close the channel that it opens.
    Close,
    /// Put the message back that it fetches.
    Requeue,
}

/// A request whose time is over.
pub(super) struct Overdue {
    pub(super) method: &'static str,
    pub(super) limit: Duration,
    pub(super) completion: Completion,
    pub(super) undo: Undo,
}

impl Pending {
    fn new<M: EncodeMethod>(completion: Option<Completion>) -> Self {
        let ids = (M::CLASS_ID, M::METHOD_ID);
        Self { ids, name: M::NAME, completion, limit: None, undo: Undo::Nothing }
    }

    fn take_overdue(&mut self, now: Instant) -> Option<Overdue> {
        let Limit { limit, .. } = self.limit.take_if(|limit| limit.at <= now)?;
        let completion = self.completion.take()?;
        Some(Overdue { method: self.name, limit, completion, undo: self.undo.clone() })
    }

    /// Whether that method answers this request. A reply's method id follows its request's: the
    /// next number, or for basic.get the next two (get-ok, get-empty); exchange.unbind-ok alone is
    /// out of line.
    fn is_answered_by(&self, reply: (u16, u16)) -> bool {
        let (class, request) = self.ids;
        let answers = match (class, request) {
            (40, 40) => reply.1 == 51,
            (60, 70) => reply.1 == 71 || reply.1 == 72,
            _ => reply.1 == request + 1,
        };
        class == reply.0 && answers
    }

    fn holds_content(&self) -> bool {
        self.ids == (tx::Commit::CLASS_ID, tx::Commit::METHOD_ID)
    }
}

enum Queued {
    Request(Pending, Vec<u8>),
    Content(Held),
}

/// What was published and acknowledged behind a waiting request, encoded.
#[derive(Default)]
struct Held {
    output: Output,
    /// How many bytes that is.
    len: usize,
    publishes: usize,
}

/// What has no reply. Publishes that are held are counted.
#[derive(Clone, Copy)]
pub(crate) enum Unanswered {
    Publish,
    Acknowledgement,
}

impl Queued {
    /// How many bytes of it wait.
    fn len(&self) -> usize {
        match self {
            Self::Request(_, encoded) => encoded.len(),
            Self::Content(held) => held.len,
        }
    }
}

/// The FIFO of a channel. Whether something is on the wire is all that a publish asks, as a rule: that
/// lies first.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Requests {
    on_wire: Option<Box<Pending>>,
    queue: VecDeque<Queued>,
    /// How many publishes are in the queue.
    held_publishes: usize,
}

impl Requests {
    /// Whether nothing waits, neither for a reply nor to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.on_wire.is_none() && self.queue.is_empty()
    }

    /// Whether somebody waits for a reply, or something waits to be sent.
    pub(crate) fn is_awaited(&self) -> bool {
        let on_wire = self.on_wire.as_ref();
        !self.queue.is_empty() || on_wire.is_some_and(|pending| pending.completion.is_some())
    }

    /// Puts a request in its place: on the wire, or behind those that wait. Takes `completion`
    /// only if there is no error, so that the caller can drop it with nothing borrowed.
    pub(crate) fn push<M: EncodeMethod>(
        &mut self,
        wire: &mut Wire,
        channel: u16,
        method: &M,
        completion: &mut Option<Completion>,
    ) -> Result<(), EncodeError> {
        if self.is_idle() {
            wire.send(channel, method)?;
            self.on_wire = Some(Box::new(Pending::new::<M>(completion.take())));
        } else {
            let mut encoded = Vec::new();
            encode_method(&mut encoded, wire.limits.frame_max, channel, method)?;
            wire.deferred += encoded.len();
            wire.frames += 1;
            let pending = Pending::new::<M>(completion.take());
            self.queue.push_back(Queued::Request(pending, encoded));
        }
        Ok(())
    }

    /// The request that was pushed last, if it has no reply yet.
    fn last_mut(&mut self) -> Option<&mut Pending> {
        let queued = self.queue.iter_mut().rev().find_map(|queued| match queued {
            Queued::Request(pending, _) => Some(pending),
            Queued::Content(_) => None,
        });
        queued.or(self.on_wire.as_deref_mut())
    }

    /// Limits the time of the request that was pushed last.
    pub(super) fn limit_last(&mut self, limit: Limit) {
        if let Some(pending) = self.last_mut() {
            pending.limit = Some(limit);
        }
    }

    /// Says how to undo the request that was pushed last.
    pub(super) fn undo_last_by(&mut self, undo: Undo) {
        if let Some(pending) = self.last_mut() {
            pending.undo = undo;
        }
    }

    fn pending(&self) -> impl Iterator<Item = &Pending> {
        let queued = self.queue.iter().filter_map(|queued| match queued {
            Queued::Request(pending, _) => Some(pending),
            Queued::Content(_) => None,
        });
        self.on_wire.as_deref().into_iter().chain(queued)
    }

    fn pending_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        let queued = self.queue.iter_mut().filter_map(|queued| match queued {
            Queued::Request(pending, _) => Some(pending),
            Queued::Content(_) => None,
        });
        self.on_wire.as_deref_mut().into_iter().chain(queued)
    }

    /// When the limits of those that wait are over.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.pending().filter_map(|pending| pending.limit.map(|limit| limit.at))
    }

    /// Those whose time is over, in order. Nobody waits for them any more.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<Overdue> {
        self.pending_mut().filter_map(|pending| pending.take_overdue(now)).collect()
    }

    /// Takes those basic.gets out of the queue that nobody waits for: what they would fetch would
    /// only be put back.
    pub(super) fn forget_unsent_gets(&mut self, wire: &mut Wire) {
        self.queue.retain(|queued| {
            let forget = match queued {
                Queued::Request(pending, _) => {
                    pending.completion.is_none() && matches!(pending.undo, Undo::Requeue)
                }
                Queued::Content(_) => false,
            };
            wire.deferred -= if forget { queued.len() } else { 0 };
            !forget
        });
    }

    /// Lets go of all that wait; their replies are awaited all the same.
    pub(super) fn abandon(&mut self) -> Vec<Completion> {
        self.pending_mut().filter_map(|pending| pending.completion.take()).collect()
    }

    /// Has a publish or an acknowledgement encoded where it keeps its place. `encode` gives how many
    /// frames it has encoded, which are none on `Err`.
    #[inline]
    pub(crate) fn put<E>(
        &mut self,
        wire: &mut Wire,
        what: Unanswered,
        encode: impl FnOnce(&mut Output, u32) -> Result<u64, E>,
    ) -> Result<(), E> {
        let is_held = match &self.on_wire {
            None => false,
            Some(pending) => !self.queue.is_empty() || pending.holds_content(),
        };
        let frame_max = wire.limits.frame_max;
        let output = if is_held { &mut self.last_held().output } else { &mut wire.output };
        wire.frames += encode(output, frame_max)?;
        if is_held {
            self.note_held(wire, what);
        }
        Ok(())
    }

    /// What is held at the end of the queue, behind all that waits.
    #[cold]
    fn last_held(&mut self) -> &mut Held {
        if !matches!(self.queue.back(), Some(Queued::Content(_))) {
            self.queue.push_back(Queued::Content(Held::default()));
        }
        match self.queue.back_mut() {
            Some(Queued::Content(held)) => held,
            _ => unreachable!("just pushed"),
        }
    }

    /// Takes account of what was encoded there last.
    #[cold]
    fn note_held(&mut self, wire: &mut Wire, what: Unanswered) {
        let held = self.last_held();
        wire.deferred += held.output.len() - held.len;
        held.len = held.output.len();
        held.output.bound_block();
        if let Unanswered::Publish = what {
            held.publishes += 1;
            self.held_publishes += 1;
        }
    }

    /// How many publishes wait behind a request.
    pub(crate) fn held_publishes(&self) -> usize {
        self.held_publishes
    }

    /// Takes the request that this reply completes, and sends what waited behind it.
    pub(crate) fn complete(&mut self, reply: (u16, u16), wire: &mut Wire) -> Option<Pending> {
        let pending = self.on_wire.take_if(|pending| pending.is_answered_by(reply))?;
        self.pump(wire);
        Some(*pending)
    }

    /// Sends from the front of the queue whatever no longer has to wait.
    fn pump(&mut self, wire: &mut Wire) {
        while let Some(next) = self.queue.front() {
            let may_leave = match (next, &self.on_wire) {
                (_, None) => true,
                (Queued::Request(..), Some(_)) => false,
                (Queued::Content(_), Some(on_wire)) => !on_wire.holds_content(),
            };
            if !may_leave {
                break;
            }
            let next = self.queue.pop_front();
            wire.deferred -= next.as_ref().map_or(0, Queued::len);
            match next {
                Some(Queued::Content(held)) => {
                    self.held_publishes -= held.publishes;
                    wire.output.append(held.output);
                }
                Some(Queued::Request(pending, encoded)) => {
                    wire.output.encoded().extend_from_slice(&encoded);
                    self.on_wire = Some(Box::new(pending));
                }
                None => {}
            }
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(KEPT);
        }
    }

    /// What waits to be sent.
    pub(crate) fn undelivered(&self) -> Undelivered {
        Undelivered {
            unsent_messages: self.held_publishes as u64,
            unsent_bytes: self.queue.iter().map(|queued| queued.len() as u64).sum(),
            ..Undelivered::default()
        }
    }

    /// Whether that request is the one on the wire.
    pub(crate) fn awaits<M: EncodeMethod>(&self) -> bool {
        self.on_wire.as_ref().is_some_and(|p| p.ids == (M::CLASS_ID, M::METHOD_ID))
    }

    /// Takes note of a Close that was sent past all that waits, which must have been taken.
    pub(super) fn await_close(&mut self) {
        debug_assert!(self.is_idle());
        self.on_wire = Some(Box::new(Pending::new::<channel::Close<'_>>(None)));
    }

    /// Gives up: those that wait, in order, and what was to be sent between them.
    pub(crate) fn take_all(&mut self, wire: &mut Wire) -> (Vec<Completion>, Vec<Output>) {
        let mut waiting = Vec::from_iter(self.on_wire.take().and_then(|p| p.completion));
        let mut unsent = Vec::new();
        self.held_publishes = 0;
        for queued in std::mem::take(&mut self.queue) {
            wire.deferred -= queued.len();
            match queued {
                Queued::Request(pending, _) => waiting.extend(pending.completion),
                Queued::Content(held) => unsent.push(held.output),
            }
        }
        (waiting, unsent)
    }
}
