//! The bytes a connection has to send: encoded once, in order, large bodies by reference.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::block::Block;

/// Bodies longer than this travel by reference instead of being copied behind their frame header.
/// Below it, one copy is cheaper than one more slice in the vectored write.
pub(crate) const BY_REFERENCE: usize = 8 * 1024;

/// A block of so many encoded bytes gets no more while the socket does not take all: memory follows
/// what waits, block by block, and nothing is moved.
const BLOCK: usize = 64 * 1024;

/// Places for so many blocks are kept while nothing waits.
const KEPT_BLOCKS: usize = 4;

/// From this many encoded bytes on, output is written by the call that made it, not at the turn's
/// end: they are still in the processor's cache. It is somewhat less than TCP hands on in one piece,
/// 64 KiB with the headers: to write a little more than that costs twice as much.
const MUCH_ENCODED: usize = 60 * 1024;

/// From this many bytes on, whatever they are, it is so too. Bodies that go by reference take no
/// memory while they wait, and of many at once less is left over.
const MUCH: usize = 512 * 1024;

/// When output is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// There is none.
    Never,
    /// At the end of the loop's turn.
    ThisTurn,
    /// At once, since so much waits.
    Now,
}

/// A queue of bytes: blocks of whole frames, the last of which grows.
#[derive(Default)]
pub(crate) struct Output {
    /// Those that are full, before the one that grows.
    full: VecDeque<Block>,
    growing: Block,
    /// Unsent bytes, but for those that are encoded in `growing`.
    elsewhere: usize,
    /// Memory of a block that was sent, for the next one.
    spare: Vec<u8>,
    /// Bodies that are no longer needed. The drop of their memory may be the user's code, which
    /// must not run while this is borrowed.
    spent: Vec<Bytes>,
}

impl Output {
    /// How many bytes wait to be sent.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.growing.unsent_encoded() + self.elsewhere
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When it is to be written.
    #[inline]
    pub(crate) fn due(&self) -> Due {
        let encoded = self.growing.unsent_encoded();
        match encoded + self.elsewhere {
            0 => Due::Never,
            all if encoded >= MUCH_ENCODED || all >= MUCH => Due::Now,
            _ => Due::ThisTurn,
        }
    }

    /// How many messages wait to be sent, or for their rest to be. It looks at each of them.
    pub(crate) fn messages(&self) -> u64 {
        self.blocks().map(Block::unsent_messages).sum()
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.full.iter().chain([&self.growing])
    }

    /// The buffer to append encoded frames to.
    #[inline]
    pub(crate) fn encoded(&mut self) -> &mut Vec<u8> {
        &mut self.growing.encoded
    }

    /// Appends a body by reference, after all that is encoded so far.
    pub(crate) fn push_body(&mut self, body: Bytes) {
        self.elsewhere += body.len();
        self.growing.push_body(body);
    }

    /// Moves all of `other`, of which nothing is sent, behind this.
    pub(crate) fn append(&mut self, other: Output) {
        self.elsewhere += other.elsewhere;
        if other.full.is_empty() && other.growing.encoded.len() <= BY_REFERENCE {
            self.growing.append(other.growing);
        } else {
            self.end_block(Block::default());
            self.full.extend(other.full);
            self.growing = other.growing;
        }
    }

    /// Sees that no block grows for ever while the socket does not take all. To be called between
    /// messages.
    #[inline]
    pub(crate) fn bound_block(&mut self) {
        if self.growing.encoded.len() >= BLOCK {
            let mut memory = std::mem::take(&mut self.spare);
            // What comes before the next call makes it somewhat longer than that.
            memory.reserve(BLOCK + BLOCK / 8);
            self.end_block(Block::with_memory(memory));
        }
    }

    fn end_block(&mut self, next: Block) {
        let full = std::mem::replace(&mut self.growing, next);
        self.elsewhere += full.unsent_encoded();
        self.full.push_back(full);
    }

    /// All of it, if it lies in one place: nearly always, unless bodies go by reference.
    #[inline]
    pub(crate) fn in_one(&self) -> Option<&[u8]> {
        (self.elsewhere == 0).then(|| self.growing.unsent())
    }

    /// Fills `slices` with the front of the queue, ready for one vectored write.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for block in self.blocks() {
            if !block.slices(slices, &mut used) {
                break;
            }
        }
        used
    }

    /// Forgets the first `sent` bytes.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        while let Some(block) = self.full.front_mut() {
            let (encoded, of_bodies) = block.advance(sent, &mut self.spent);
            self.elsewhere -= encoded + of_bodies;
            sent -= encoded + of_bodies;
            if !block.is_sent() {
                break;
            }
            self.spare = self.full.pop_front().map_or_else(Vec::new, |block| block.encoded);
            self.spare.clear();
        }
        if sent > 0 {
            let (encoded, of_bodies) = self.growing.advance(sent, &mut self.spent);
            self.elsewhere -= of_bodies;
            sent -= encoded + of_bodies;
        }
        debug_assert_eq!(sent, 0, "more was sent than there was");
        if self.is_empty() {
            self.growing.clear(&mut self.spent);
            self.spare = Vec::new();
            // A burst is over.
            self.full.shrink_to(KEPT_BLOCKS);
        } else {
            self.bound_block();
        }
    }

    /// Gives the memory away, if all is sent: an idle connection keeps none.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        let unused = self.is_empty() && !self.needs_buffer();
        unused.then(|| std::mem::take(&mut self.growing.encoded))
    }

    /// The bodies that are no longer needed, to be dropped with nothing borrowed.
    pub(crate) fn take_spent(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.spent)
    }

    /// Whether it has no memory to encode into.
    #[inline]
    pub(crate) fn needs_buffer(&self) -> bool {
        self.growing.encoded.capacity() == 0
    }

    /// Takes an empty buffer to encode into.
    pub(crate) fn give_buffer(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.needs_buffer() && buffer.is_empty());
        self.growing.encoded = buffer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let used = output.slices(&mut slices);
            let front: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
            assert!(!front.is_empty(), "bytes wait but no slice shows them");
            let n = step.min(front.len());
            sent.extend_from_slice(&front[..n]);
            output.advance(n);
        }
        sent
    }

    #[test]
    fn bytes_leave_in_order_whatever_a_write_takes() {
        for step in [1, 2, 3, 7, 1000] {
            let mut output = Output::default();
            output.encoded().extend_from_slice(b"head1");
            output.push_body(Bytes::from_static(b"BODY1"));
            output.push_body(Bytes::from_static(b"BODY2"));
            output.encoded().extend_from_slice(b"head2");
            output.push_body(Bytes::from_static(b"BODY3"));
            assert_eq!(output.len(), 25);
            assert_eq!(drain(&mut output, step), b"head1BODY1BODY2head2BODY3");
        }
    }

    /// Some output of frames, bodies among them, and its bytes.
    fn some(first: u8, encoded: usize) -> (Output, Vec<u8>) {
        let (mut output, mut bytes) = (Output::default(), vec![first; encoded]);
        output.encoded().extend_from_slice(&bytes);
        output.push_body(Bytes::from_static(b"BODY"));
        output.encoded().extend_from_slice(b"end");
        bytes.extend_from_slice(b"BODYend");
        (output, bytes)
    }

    #[test]
    fn appended_output_keeps_its_bodies_in_place() {
        for step in [999, 30_001, 1_000_000] {
            let (mut first, mut bytes) = some(1, 10);
            first.advance(2);
            bytes.drain(..2);
            // Copied if it is small, else taken as it is.
            for (value, size) in [(2, 5), (3, BY_REFERENCE + 1), (4, 7), (5, 2 * BLOCK), (6, 1)] {
                let (mut other, more) = some(value, size);
                other.bound_block();
                first.append(other);
                bytes.extend(more);
                assert_eq!(first.len(), bytes.len());
            }
            assert!(drain(&mut first, step) == bytes);
        }
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow() {
        let mut output = Output::default();
        output.encoded().extend_from_slice(&[0; 1000]);
        for _ in 0..10_000 {
            output.encoded().extend_from_slice(&[0; 1000]);
            output.advance(1000);
        }
        assert_eq!(output.len(), 1000);
        assert!(output.full.len() <= 1);
        assert!(output.growing.encoded.capacity() <= 2 * BLOCK);
    }

    #[test]
    fn what_waits_takes_hardly_more_memory_than_it_is_long() {
        let mut output = Output::default();
        for _ in 0..100_000 {
            output.encoded().extend_from_slice(&[0; 100]);
            output.bound_block();
        }
        let memory: usize = output.blocks().map(|block| block.encoded.capacity()).sum();
        assert!(memory < output.len() * 5 / 4, "{memory} bytes for {}", output.len());
    }

    #[test]
    fn much_of_either_kind_is_written_at_once() {
        let mut output = Output::default();
        assert_eq!(output.due(), Due::Never);
        output.encoded().extend_from_slice(&[0; MUCH_ENCODED - 1]);
        assert_eq!(output.due(), Due::ThisTurn);
        output.encoded().push(0);
        assert_eq!(output.due(), Due::Now);
        output.advance(MUCH_ENCODED);
        assert_eq!(output.due(), Due::Never);
        let body = Bytes::from(vec![0; BY_REFERENCE + 1]);
        for waiting in (body.len()..).step_by(body.len()).take_while(|waiting| *waiting < MUCH) {
            output.push_body(body.clone());
            assert_eq!((output.len(), output.due()), (waiting, Due::ThisTurn));
        }
        output.push_body(body);
        assert_eq!(output.due(), Due::Now);
    }

    /// One that needed a second segment for its end would cost twice as much.
    #[test]
    fn small_messages_that_are_written_at_once_fit_in_a_segment() {
        // Of loopback, and of 45 packets of Ethernet, which leave the host together.
        let segments = [65_483, 45 * 1_448];
        for message in [10, 165, 1_024, 3_600] {
            let mut output = Output::default();
            while output.due() != Due::Now {
                output.encoded().extend(std::iter::repeat_n(0, message));
            }
            let fits = segments.iter().all(|segment| output.len() <= *segment);
            assert!(fits, "{} bytes of {message} each", output.len());
        }
    }

    #[test]
    fn messages_are_unsent_until_their_last_byte_is_sent() {
        use crate::protocol::{BasicProperties, begin_body_frame, encode_body_frame};
        use crate::protocol::{PROTOCOL_HEADER, basic, encode_heartbeat, encode_method};
        use crate::protocol::{encode_content_header, end_frame};

        let mut output = Output::default();
        let mut ends = Vec::new();
        output.encoded().extend_from_slice(&PROTOCOL_HEADER);
        for (number, size) in [(0, 0), (1, 10), (2, 3), (3, 20_000), (4, 1)] {
            let publish = basic::Publish::default();
            encode_method(output.encoded(), 0, 1, &publish).unwrap();
            let none = BasicProperties::default();
            encode_content_header(output.encoded(), 0, 1, size as u64, &none).unwrap();
            match size {
                0 => {}
                20_000 => {
                    for _ in 0..2 {
                        begin_body_frame(output.encoded(), 1, 10_000);
                        output.push_body(vec![1; 10_000].into());
                        end_frame(output.encoded());
                    }
                }
                _ => encode_body_frame(output.encoded(), 1, &vec![0xCE; size]),
            }
            ends.push(output.len());
            match number {
                1 => encode_heartbeat(output.encoded()),
                2 => encode_method(output.encoded(), 0, 2, &basic::Ack::default()).unwrap(),
                3 => output.end_block(Block::default()),
                _ => {}
            }
        }
        let total = output.len();
        for sent in 0..=total {
            let unsent = ends.iter().filter(|end| **end > sent).count() as u64;
            assert_eq!(output.messages(), unsent, "{sent} bytes are sent");
            if sent < total {
                output.advance(1);
            }
        }
    }
}
