//! The descriptors of an `IOLoop`: what its pollers' tokens stand for.

use std::rc::Rc;

use slab::Slab;

use super::pollers::Token;
use crate::io_services::{FdHandler, Interest};

/// A token is a slot and, in the upper half, a number counted up with every descriptor: an event
/// of one that was removed finds nobody, even if its slot has been given away since.
const HALF: u32 = usize::BITS / 2;
const LOWER: usize = usize::MAX >> HALF;

#[derive(Default)]
pub(super) struct Fds {
    slots: Slab<Entry>,
    count: usize,
}

pub(super) struct Entry {
    pub(super) token: Token,
    pub(super) handler: Rc<dyn FdHandler>,
    pub(super) interest: Interest,
}

impl Fds {
    pub(super) fn insert(&mut self, handler: Rc<dyn FdHandler>, interest: Interest) -> Token {
        self.count = self.count.wrapping_add(1);
        let slot = self.slots.vacant_entry();
        let token = Token(self.count << HALF | slot.key());
        slot.insert(Entry { token, handler, interest });
        token
    }

    pub(super) fn get(&self, token: Token) -> Option<&Entry> {
        self.slots.get(token.0 & LOWER).filter(|entry| entry.token == token)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Entry> {
        self.slots.get_mut(token.0 & LOWER).filter(|entry| entry.token == token)
    }

    /// Gives the entry for the caller to drop, with nothing borrowed.
    pub(super) fn remove(&mut self, token: Token) -> Option<Entry> {
        self.get(token)?;
        Some(self.slots.remove(token.0 & LOWER))
    }

    pub(super) fn tokens(&self) -> Vec<Token> {
        self.slots.iter().map(|(_, entry)| entry.token).collect()
    }
}
