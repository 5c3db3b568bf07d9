//! What the heap is of.

/// Deadline, order of creation and slot, in one number: so nodes are compared at once, and equal
/// deadlines go in order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node(u128);

impl Node {
    #[inline]
    pub(super) fn new(at: u64, order: u32, slot: u32) -> Self {
        Self(u128::from(at) << 64 | u128::from(order) << 32 | u128::from(slot))
    }

    #[inline]
    pub(super) fn at(self) -> u64 {
        (self.0 >> 64) as u64
    }

    #[inline]
    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }

    /// The same place in the order, for another timer.
    #[inline]
    pub(super) fn given_to(self, slot: u32) -> Self {
        Self(self.0 & !u128::from(u32::MAX) | u128::from(slot))
    }
}
