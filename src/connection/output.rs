//! The bytes a connection has to send: encoded once, in order, large bodies by reference.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Bodies longer than this travel by reference instead of being copied behind their frame header.
/// Below it, one copy is cheaper than one more slice in the vectored write.
pub(crate) const BY_REFERENCE: usize = 8 * 1024;

/// A queue of bytes: a buffer of encoded frames, and where in it referenced bodies come in.
///
/// The invariant that everything here rests on: `bodies` is sorted by position, every position is
/// at or after `head` and at most `encoded.len()`.
#[derive(Default)]
pub(crate) struct Output {
    encoded: Vec<u8>,
    /// How many of `encoded` are sent.
    head: usize,
    /// `(position, body)`: the body goes out when everything of `encoded` before `position` has.
    bodies: VecDeque<(usize, Bytes)>,
    /// Unsent bytes in `bodies`.
    referenced: usize,
    /// Bodies that are no longer needed. The drop of their memory may be the user's code, which
    /// must not run while this is borrowed.
    spent: Vec<Bytes>,
}

impl Output {
    /// How many bytes wait to be sent.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len() - self.head + self.referenced
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to append encoded frames to.
    pub(crate) fn encoded(&mut self) -> &mut Vec<u8> {
        &mut self.encoded
    }

    /// Appends a body by reference, after all that is encoded so far.
    pub(crate) fn push_body(&mut self, body: Bytes) {
        self.referenced += body.len();
        self.bodies.push_back((self.encoded.len(), body));
    }

    /// Moves all of `other` behind this.
    pub(crate) fn append(&mut self, other: Output) {
        let shift = self.encoded.len();
        self.encoded.extend_from_slice(&other.encoded[other.head..]);
        let moved = other.bodies.into_iter().map(|(at, body)| (at - other.head + shift, body));
        self.bodies.extend(moved);
        self.referenced += other.referenced;
    }

    /// Fills `slices` with the front of the queue, ready for one vectored write.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut from = self.head;
        let mut push = |slice: &'a [u8]| {
            if !slice.is_empty() && used < slices.len() {
                slices[used] = IoSlice::new(slice);
                used += 1;
            }
            used < slices.len()
        };
        for (at, body) in &self.bodies {
            if !push(&self.encoded[from..*at]) || !push(body) {
                return used;
            }
            from = *at;
        }
        push(&self.encoded[from..]);
        used
    }

    /// Forgets the first `sent` bytes.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        while sent > 0 {
            let next = self.bodies.front().map_or(self.encoded.len(), |(at, _)| *at);
            let step = sent.min(next - self.head);
            self.head += step;
            sent -= step;
            if self.head < next || sent == 0 {
                break;
            }
            let Some((_, body)) = self.bodies.front_mut() else { break };
            let step = sent.min(body.len());
            bytes::Buf::advance(body, step);
            self.referenced -= step;
            sent -= step;
            if body.is_empty() {
                self.spent.extend(self.bodies.pop_front().map(|(_, body)| body));
            }
        }
        debug_assert_eq!(sent, 0, "more was sent than there was");
        if self.is_empty() {
            self.clear();
        } else if self.head > self.encoded.len() / 2 && self.head >= BY_REFERENCE {
            self.compact();
        }
    }

    /// Gives the memory away, if all is sent: an idle connection keeps none.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.encoded.capacity() > 0).then(|| std::mem::take(&mut self.encoded))
    }

    /// The bodies that are no longer needed, to be dropped with nothing borrowed.
    pub(crate) fn take_spent(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.spent)
    }

    /// Whether it has no memory to encode into.
    #[inline]
    pub(crate) fn needs_buffer(&self) -> bool {
        self.encoded.capacity() == 0
    }

    /// Takes an empty buffer to encode into.
    pub(crate) fn give_buffer(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.needs_buffer() && buffer.is_empty());
        self.encoded = buffer;
    }

    pub(crate) fn clear(&mut self) {
        self.encoded.clear();
        self.spent.extend(self.bodies.drain(..).map(|(_, body)| body));
        self.head = 0;
        self.referenced = 0;
    }

    /// Moves what is unsent to the front, so that a connection that is never quite drained does
    /// not grow without end. Amortised: it moves at most as many bytes as were sent.
    fn compact(&mut self) {
        self.encoded.drain(..self.head);
        for (at, _) in &mut self.bodies {
            *at -= self.head;
        }
        self.head = 0;
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

    #[test]
    fn appended_output_keeps_its_bodies_in_place() {
        let mut first = Output::default();
        first.encoded().extend_from_slice(b"xxaa");
        first.advance(2);
        let mut second = Output::default();
        second.encoded().extend_from_slice(b"yyybb");
        second.push_body(Bytes::from_static(b"BODY"));
        second.encoded().extend_from_slice(b"cc");
        second.advance(3);
        first.append(second);
        assert_eq!(drain(&mut first, 3), b"aabbBODYcc");
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
        assert!(output.encoded.capacity() < 64 * 1024, "{}", output.encoded.capacity());
    }
}
