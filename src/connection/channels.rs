//! The channels of a connection, by number.

use crate::channel::{ChannelId, ChannelState};
use crate::error::Misuse;

/// A table indexed by channel number. Slot 0, the connection itself, stays empty.
#[derive(Default)]
pub(crate) struct Channels {
    slots: Vec<Option<Box<ChannelState>>>,
    /// No number below this is free.
    first_free: usize,
    generation: u32,
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
        self.generation = self.generation.wrapping_add(1);
        Ok(ChannelId { number, generation: self.generation })
    }

    fn lowest_free(&mut self, max: u16) -> Result<u16, Misuse> {
        let mut number = self.first_free.max(1);
        while self.slots.get(number).is_some_and(Option::is_some) {
            number += 1;
        }
        self.first_free = number;
        match u16::try_from(number) {
            Ok(number) if number <= max => Ok(number),
            _ => Err(Misuse::NoFreeChannels(max)),
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
        Some(*channel)
    }

    pub(crate) fn take_all(&mut self) -> Vec<ChannelState> {
        self.first_free = 0;
        std::mem::take(&mut self.slots).into_iter().flatten().map(|channel| *channel).collect()
    }

    pub(crate) fn all_idle(&self) -> bool {
        self.slots.iter().flatten().all(|channel| channel.is_idle())
    }
}
