//! The channels of a connection, by number.

use std::collections::BTreeSet;

use super::wire::Wire;
use crate::channel::{ChannelId, ChannelState};
use crate::error::{Error, Misuse};

/// A table indexed by channel number. Slot 0, the connection itself, stays empty.
#[derive(Default)]
pub(crate) struct Channels {
    slots: Vec<Option<Box<ChannelState>>>,
    /// No number below this is free.
    first_free: usize,
    /// Numbers that are free, but of which a Close that crossed the broker's may still be answered, if
    /// ever, and not before the Open of the next channel: that would take it for an answer to its own
    /// Close. They are given last.
    late: BTreeSet<u16>,
    generation: u32,
    /// Channels before this have been seen idle by [`all_idle`](Self::all_idle).
    idle_before: usize,
}

impl Channels {
    /// A number for a new channel: the one asked for, or the lowest that is free.
    pub(crate) fn allot(&mut self, asked: Option<u16>, max: u16) -> Result<ChannelId, Misuse> {
        let number = match asked {
            Some(number) if number == 0 || number > max => {
                return Err(Misuse::ChannelNumberOutOfRange { number, channel_max: max });
            }
            Some(number) if self.at(number).is_some() => {
                return Err(Misuse::ChannelNumberInUse(number));
            }
            Some(number) => number,
            None => self.lowest_free(max)?,
        };
        self.late.remove(&number);
        Ok(self.next_id(number))
    }

    fn next_id(&mut self, number: u16) -> ChannelId {
        self.generation = self.generation.wrapping_add(1);
        ChannelId { number, generation: self.generation }
    }

    /// Ends a channel for its user, while the broker has not answered its Close: nobody's id is
    /// that of what is left.
    pub(crate) fn abandon(&mut self, number: u16, error: &Error, wire: &mut Wire) {
        let id = self.next_id(number);
        if let Some(channel) = self.at_mut(number) {
            channel.abandon(id, error, wire);
        }
    }

    /// Has a channel refuse the message that comes on it: nobody's id is that of what is left.
    pub(crate) fn refuse_content(&mut self, number: u16, wire: &mut Wire) {
        let id = self.next_id(number);
        if let Some(channel) = self.at_mut(number) {
            channel.refuse_content(id, wire);
        }
    }

    /// Every number that may be in use.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        (0..self.slots.len()).filter_map(|number| u16::try_from(number).ok())
    }

    fn lowest_free(&mut self, max: u16) -> Result<u16, Misuse> {
        let mut number = self.first_free.max(1);
        while self.slots.get(number).is_some_and(Option::is_some) || self.is_late(number) {
            number += 1;
        }
        self.first_free = number;
        match u16::try_from(number) {
            Ok(number) if number <= max => Ok(number),
            _ => self.late.first().copied().ok_or(Misuse::NoFreeChannels(max)),
        }
    }

    fn is_late(&self, number: usize) -> bool {
        u16::try_from(number).is_ok_and(|number| self.late.contains(&number))
    }

    /// Notes that a CloseOk may come for a channel that is gone.
    pub(crate) fn await_late_close_ok(&mut self, number: u16) {
        self.late.insert(number);
    }

    /// It has come.
    pub(crate) fn on_late_close_ok(&mut self, number: u16) {
        if self.late.remove(&number) {
            self.first_free = self.first_free.min(usize::from(number));
        }
    }

    pub(crate) fn insert(&mut self, channel: ChannelState) {
        let number = usize::from(channel.id.number);
        if self.slots.len() <= number {
            self.slots.resize_with(number + 1, || None);
        }
        self.slots[number] = Some(Box::new(channel));
    }

    /// The channel that has this number now.
    #[inline]
    pub(crate) fn at(&self, number: u16) -> Option<&ChannelState> {
        self.slots.get(usize::from(number))?.as_deref()
    }

    /// The channel that has this number now.
    #[inline]
    pub(crate) fn at_mut(&mut self, number: u16) -> Option<&mut ChannelState> {
        self.slots.get_mut(usize::from(number))?.as_deref_mut()
    }

    /// That very channel, if it is still there.
    #[inline]
    pub(crate) fn get(&self, id: ChannelId) -> Option<&ChannelState> {
        self.at(id.number).filter(|channel| channel.id == id)
    }

    /// That very channel, if it is still there.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: ChannelId) -> Option<&mut ChannelState> {
        self.at_mut(id.number).filter(|channel| channel.id == id)
    }

    pub(crate) fn remove(&mut self, number: u16) -> Option<ChannelState> {
        let channel = self.slots.get_mut(usize::from(number))?.take()?;
        self.first_free = self.first_free.min(usize::from(number));
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(2 * self.slots.len());
        }
        Some(*channel)
    }

    pub(crate) fn take_all(&mut self) -> Vec<ChannelState> {
        self.first_free = 0;
        self.late.clear();
        std::mem::take(&mut self.slots).into_iter().flatten().map(|channel| *channel).collect()
    }

    /// Whether nothing of any channel waits for the broker. Only while no channel that is idle can
    /// ask for anything any more: it does not look at those again, so that it takes no more steps
    /// in all than there are channels.
    pub(crate) fn all_idle(&mut self) -> bool {
        let rest = self.slots.get(self.idle_before..).unwrap_or_default();
        let busy = rest.iter().position(|slot| slot.as_ref().is_some_and(|c| !c.is_idle()));
        self.idle_before += busy.unwrap_or(rest.len());
        busy.is_none()
    }

    /// Gives up the deliveries that have begun to come.
    pub(crate) fn forget_deliveries_in_parts(&mut self, wire: &mut Wire) {
        self.iter_mut().for_each(|channel| channel.forget_delivery_in_parts(wire));
    }

    /// Those that are there.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ChannelState> {
        self.slots.iter_mut().flatten().map(|channel| &mut **channel)
    }

    /// Those that are there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ChannelState> {
        self.slots.iter().flatten().map(|channel| &**channel)
    }
}
