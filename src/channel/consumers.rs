//! The consumers of a channel, found by the slot that our own tags carry, others by hash.

use std::cell::Cell;
use std::collections::HashMap;

use bytes::Bytes;
use slab::Slab;

use super::callbacks::OnMessage;
use crate::protocol::ShortStr;

/// What our own tags start with; pika's do too.
const PREFIX: &[u8] = b"ctag";

pub(crate) struct Consumer {
    tag: Tag,
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
    /// The slot of the chosen tag that was found last. It is likely to come again, or, as brokers
    /// serve in turn, the one behind it: to compare these costs less than to hash.
    last: Cell<usize>,
    next_id: u64,
}

/// A consumer tag that is soon compared.
struct Tag {
    bytes: Bytes,
    /// The same, if it is as short as most of ours are.
    short: Option<ShortTag>,
}

/// A tag of 8 to 16 bytes: its first eight and its last eight. One of thousands is thus compared
/// where it lies, without a look at memory elsewhere.
#[derive(PartialEq)]
struct ShortTag {
    len: usize,
    first: u64,
    last: u64,
}

impl ShortTag {
    #[inline]
    fn of(tag: &[u8]) -> Option<Self> {
        let [first, last] =
            [tag.first_chunk()?, tag.last_chunk()?].map(|end| u64::from_ne_bytes(*end));
        (tag.len() <= 16).then_some(Self { len: tag.len(), first, last })
    }
}

impl Tag {
    fn new(bytes: Bytes) -> Self {
        Self { short: ShortTag::of(&bytes), bytes }
    }

    #[inline]
    fn is(&self, tag: &[u8]) -> bool {
        match ShortTag::of(tag) {
            Some(tag) => self.short == Some(tag),
            None => self.bytes == tag,
        }
    }
}

impl Consumer {
    /// What to call, with nothing borrowed.
    #[inline]
    pub(crate) fn on_message(&self) -> Option<OnMessage> {
        self.on_message.clone()
    }
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
        let kept = Tag::new(tag.clone());
        let consumer = Consumer { tag: kept, on_message: None, no_ack, cancelling: false };
        self.slots.insert(consumer);
        tag
    }

    /// Gives the consumer of this tag its closure.
    pub(crate) fn equip(&mut self, tag: &[u8], on_message: Option<OnMessage>) {
        if let Some(slot) = self.find(tag) {
            self.slots[slot].on_message = on_message;
        }
    }

    /// The place of the consumer of this tag.
    #[inline]
    pub(crate) fn find(&self, tag: &[u8]) -> Option<usize> {
        if let Some(slot) = slot_of(tag)
            && self.is_at(slot, tag)
        {
            return Some(slot);
        }
        self.find_chosen(tag)
    }

    // Apart: to hash takes many registers, which who needs no hash would have to save.
    #[inline(never)]
    fn find_chosen(&self, tag: &[u8]) -> Option<usize> {
        let last = self.last.get();
        let likely = [last, last + 1].into_iter().find(|&slot| self.is_at(slot, tag));
        let found = likely.or_else(|| self.chosen.get(tag).copied());
        self.last.set(found.unwrap_or(last));
        found
    }

    #[inline]
    fn is_at(&self, slot: usize, tag: &[u8]) -> bool {
        self.slots.get(slot).is_some_and(|consumer| consumer.tag.is(tag))
    }

    /// Those of the consumers that nobody has cancelled.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Bytes> {
        let live = self.slots.iter().filter(|(_, consumer)| !consumer.cancelling);
        live.map(|(_, consumer)| &consumer.tag.bytes)
    }

    /// The consumer of this tag.
    #[inline]
    pub(crate) fn get(&self, tag: &[u8]) -> Option<&Consumer> {
        self.slots.get(self.find(tag)?)
    }

    pub(crate) fn get_mut(&mut self, tag: &[u8]) -> Option<&mut Consumer> {
        self.slots.get_mut(self.find(tag)?)
    }

    /// Removes the consumer of this tag. Its closure is the caller's to drop.
    pub(crate) fn remove(&mut self, tag: &[u8]) -> Option<Option<OnMessage>> {
        let slot = self.find(tag)?;
        self.chosen.remove(tag);
        let consumer = self.slots.remove(slot);
        if self.slots.is_empty() {
            // There may have been many.
            self.slots = Slab::new();
            self.chosen = HashMap::new();
        }
        Some(consumer.on_message)
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

/// The slot in a tag of the form `ctag<channel>.<slot>.<id>`; any number in most others, for the
/// whole tag is compared with that of who has the slot.
#[inline]
fn slot_of(tag: &[u8]) -> Option<usize> {
    let mut rest = tag.strip_prefix(PREFIX)?.iter();
    rest.find(|&&byte| byte == b'.')?;
    let mut slot = 0_usize;
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        slot = slot.wrapping_mul(10).wrapping_add(digit.into());
    }
    Some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tags_are_found_by_their_slot_and_chosen_ones_by_hash() {
        let mut consumers = Consumers::default();
        let own = consumers.add(7, &"".into(), false);
        let chosen = consumers.add(7, &"ctag7.0.0x".into(), false);
        let like_ours = consumers.add(7, &"ctag7.0.9".into(), false);
        assert_eq!(own, "ctag7.0.0");
        let found = [&own, &chosen, &like_ours].map(|tag| consumers.find(tag));
        assert_eq!(found, [Some(0), Some(1), Some(2)]);
        let far = "ctag7.99999999999999999999999.0";
        for unknown in ["", "ctag", "ctag7", "ctag7.", "ctag7.0.", "ctag7.1.1", "x", far] {
            assert_eq!(consumers.find(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    fn a_tag_of_any_length_is_told_from_those_like_it() {
        for len in 6..20 {
            let mut consumers = Consumers::default();
            let own = consumers.add(7, &"".into(), false);
            assert_eq!(own, "ctag7.0.0");
            let chosen = format!("ctag7.1{}", ".".repeat(len));
            let chosen = consumers.add(7, &chosen.into(), false);
            assert_eq!(consumers.find(&chosen), Some(1));
            for at in 0..chosen.len() {
                let mut other = chosen.to_vec();
                other[at] ^= 1;
                assert_eq!(consumers.find(&other), None, "{at} of {len}");
            }
            let (shorter, longer) = (&chosen[..chosen.len() - 1], [&chosen[..], b"."].concat());
            assert_eq!([shorter, &longer].map(|tag| consumers.find(tag)), [None, None]);
        }
    }

    #[test]
    fn a_chosen_tag_is_found_whatever_was_found_before() {
        let tags = ["a", "b", "a-tag-of-twelve", "one-that-is-longer-than-sixteen", "e"];
        let mut consumers = Consumers::default();
        let find = |consumers: &Consumers, tag: &str| consumers.find(tag.as_bytes());
        for tag in tags {
            consumers.add(7, &tag.into(), false);
        }
        for before in 0..tags.len() {
            for (slot, tag) in tags.iter().enumerate() {
                assert_eq!(find(&consumers, tags[before]), Some(before));
                assert_eq!(find(&consumers, tag), Some(slot));
                assert_eq!(find(&consumers, "another"), None);
            }
        }
        // Who takes the place of one that is gone is not taken for it.
        find(&consumers, "b");
        consumers.remove(b"b");
        assert_eq!(find(&consumers, "b"), None);
        consumers.add(7, &"f".into(), false);
        assert_eq!(["b", "f", "e"].map(|tag| find(&consumers, tag)), [None, Some(1), Some(4)]);
    }

    #[test]
    fn a_later_consumer_of_a_slot_has_another_tag() {
        let mut consumers = Consumers::default();
        let tag = consumers.add(1, &"".into(), false);
        assert!(consumers.remove(&tag).is_some());
        let later = consumers.add(1, &"".into(), false);
        assert_ne!(tag, later);
        let found = [&tag, &later].map(|tag| consumers.find(tag));
        assert_eq!(found, [None, Some(0)]);
    }
}
