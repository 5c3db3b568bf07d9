//! The consumers of a channel, found by the slot that our own tags carry, others by hash.

use std::collections::HashMap;

use bytes::Bytes;
use slab::Slab;

use super::callbacks::OnMessage;
use crate::protocol::ShortStr;

/// What our own tags start with; pika's do too.
const PREFIX: &[u8] = b"ctag";

pub(crate) struct Consumer {
    tag: Bytes,
    /// Tells this consumer from a later one in the same slot.
    id: u64,
    /// Out while it runs.
    on_message: Option<OnMessage>,
    pub(crate) no_ack: bool,
    /// Cancelled by the user: what still comes is not for it.
    pub(crate) cancelling: bool,
}

#[derive(Default)]
pub(crate) struct Consumers {
    slots: Slab<Consumer>,
    /// Tags that the user chose.
    chosen: HashMap<Bytes, usize>,
    next_id: u64,
}

/// A consumer's place, and which of those that had it.
#[derive(Clone, Copy)]
pub(crate) struct ConsumerKey {
    slot: usize,
    id: u64,
}

impl Consumers {
    /// Adds a consumer, under a tag of our own if `tag` is empty. The tag must not be in use.
    pub(crate) fn add(&mut self, channel: u16, tag: &ShortStr<'_>, no_ack: bool) -> Bytes {
        let mut id = self.next_id;
        let slot = self.slots.vacant_key();
        let tag = if tag.is_empty() {
            loop {
                let tag = format!("ctag{channel}.{slot}.{id}");
                // The user may have chosen just that.
                if self.find(tag.as_bytes()).is_none() {
                    break Bytes::from(tag);
                }
                id += 1;
            }
        } else {
            let tag = Bytes::copy_from_slice(tag.as_bytes());
            self.chosen.insert(tag.clone(), slot);
            tag
        };
        self.next_id = id + 1;
        let consumer =
            Consumer { tag: tag.clone(), id, on_message: None, no_ack, cancelling: false };
        self.slots.insert(consumer);
        tag
    }

    /// Gives the consumer of this tag its closure.
    pub(crate) fn equip(&mut self, tag: &[u8], on_message: Option<OnMessage>) {
        if let Some(slot) = self.find(tag) {
            self.slots[slot].on_message = on_message;
        }
    }

    /// The consumer of this tag.
    #[inline]
    pub(crate) fn find(&self, tag: &[u8]) -> Option<usize> {
        if let Some(slot) = slot_of(tag)
            && self.slots.get(slot).is_some_and(|consumer| consumer.tag == tag)
        {
            return Some(slot);
        }
        self.chosen.get(tag).copied()
    }

    /// Those of the consumers that nobody has cancelled.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Bytes> {
        let live = self.slots.iter().filter(|(_, consumer)| !consumer.cancelling);
        live.map(|(_, consumer)| &consumer.tag)
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Consumer> {
        self.slots.get_mut(slot)
    }

    /// Takes the closure out, to be called with nothing borrowed, and where to return it to.
    #[inline]
    pub(crate) fn lend(&mut self, slot: usize) -> Option<(ConsumerKey, OnMessage)> {
        let consumer = self.slots.get_mut(slot)?;
        let on_message = consumer.on_message.take()?;
        Some((ConsumerKey { slot, id: consumer.id }, on_message))
    }

    /// Puts a lent closure back, or gives it back to be dropped if its consumer has gone.
    #[inline]
    pub(crate) fn give_back(
        &mut self,
        key: ConsumerKey,
        on_message: OnMessage,
    ) -> Option<OnMessage> {
        match self.slots.get_mut(key.slot) {
            Some(consumer) if consumer.id == key.id => {
                consumer.on_message = Some(on_message);
                None
            }
            _ => Some(on_message),
        }
    }

    /// Removes the consumer of this tag. Its closure is the caller's to drop, unless it is running.
    pub(crate) fn remove(&mut self, tag: &[u8]) -> Option<Option<OnMessage>> {
        let slot = self.find(tag)?;
        self.chosen.remove(tag);
        Some(self.slots.remove(slot).on_message)
    }

    /// Removes the consumer of this tag that the user has cancelled. There is none if the broker's
    /// own cancel crossed the user's, and another consumer may have the tag by now.
    pub(crate) fn remove_cancelled(&mut self, tag: &[u8]) -> Option<Option<OnMessage>> {
        let slot = self.find(tag)?;
        if self.slots[slot].cancelling { self.remove(tag) } else { None }
    }

    /// Removes all; the closures are the caller's to drop.
    pub(crate) fn take_all(&mut self) -> Vec<OnMessage> {
        self.chosen.clear();
        self.slots.drain().filter_map(|consumer| consumer.on_message).collect()
    }
}

/// The slot in a tag of the form `ctag<channel>.<slot>.<id>`.
#[inline]
fn slot_of(tag: &[u8]) -> Option<usize> {
    let rest = tag.strip_prefix(PREFIX)?;
    let mut digits = rest.iter().skip_while(|&&byte| byte != b'.').skip(1);
    let mut slot = 0usize;
    let mut any = false;
    loop {
        match digits.next() {
            Some(b'.') if any => return Some(slot),
            Some(digit @ b'0'..=b'9') => {
                slot = slot.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?;
                any = true;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> OnMessage {
        Box::new(|_, _| {})
    }

    #[test]
    fn own_tags_are_found_by_their_slot_and_chosen_ones_by_hash() {
        let mut consumers = Consumers::default();
        let own = consumers.add(7, &"".into(), false);
        let chosen = consumers.add(7, &"ctag7.0.0x".into(), false);
        let like_ours = consumers.add(7, &"ctag7.0.9".into(), false);
        assert_eq!(own, "ctag7.0.0");
        let found = [&own, &chosen, &like_ours].map(|tag| consumers.find(tag));
        assert_eq!(found, [Some(0), Some(1), Some(2)]);
        for unknown in ["", "ctag", "ctag7.", "ctag7.0.", "ctag7.1.1", "x"] {
            assert_eq!(consumers.find(unknown.as_bytes()), None, "{unknown}");
        }
        assert_eq!(slot_of(b"ctag1.99999999999999999999999.1"), None);
    }

    #[test]
    fn a_closure_is_not_returned_to_a_later_consumer_of_its_slot() {
        let mut consumers = Consumers::default();
        let tag = consumers.add(1, &"".into(), false);
        consumers.equip(&tag, Some(nothing()));
        let (key, lent) = consumers.lend(0).unwrap();
        assert!(consumers.lend(0).is_none());
        assert!(consumers.remove(&tag).unwrap().is_none());
        let later = consumers.add(1, &"".into(), false);
        consumers.equip(&later, Some(nothing()));
        assert_ne!(tag, later);
        assert!(consumers.give_back(key, lent).is_some());
        assert!(consumers.lend(0).is_some());
    }
}
