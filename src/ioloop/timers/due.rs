//! The timers that have come to their deadlines and are to be called now.

use super::KEEP;
use super::node::Node;
use super::slots::{self, Slots};

/// Nodes that are not in the heap any more, in order, and how far their calls have come.
#[derive(Default)]
pub(super) struct Batch {
    nodes: Vec<Node>,
    done: usize,
}

impl Batch {
    /// Whether all are done.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.done == self.nodes.len()
    }

    /// The next one; that of a timer that was removed or reset has no slot.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Node> {
        let next = self.nodes.get(self.done).copied();
        match next {
            Some(_) => self.done += 1,
            None => self.clear(),
        }
        next
    }

    #[inline]
    fn clear(&mut self) {
        self.nodes.clear();
        self.done = 0;
    }

    /// Where more can be put, in any order until [`sort`](Self::sort). It is empty if none is left.
    pub(super) fn nodes_mut(&mut self) -> &mut Vec<Node> {
        if self.is_empty() {
            self.clear();
        }
        &mut self.nodes
    }

    pub(super) fn sort(&mut self) {
        self.nodes[self.done..].sort_unstable();
    }

    /// Has one that is in there not called.
    pub(super) fn skip(&mut self, node: Node) {
        let index = self.done + self.nodes[self.done..].partition_point(|&other| other < node);
        self.nodes[index] = node.given_to(slots::NONE);
    }

    pub(super) fn shrink(&mut self) {
        self.nodes.shrink_to(KEEP);
    }

    /// Those that are to be called.
    pub(super) fn left(&self) -> impl Iterator<Item = Node> + '_ {
        self.nodes[self.done..].iter().copied().filter(|node| node.slot() != slots::NONE)
    }

    /// Has each node tell what its slot does.
    pub(super) fn renew(&mut self, slots: &Slots) {
        self.nodes = self.left().map(|node| slots.node(node.slot())).collect();
        self.done = 0;
    }
}
