//! A run of whole frames to send.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::protocol::{FRAME_HEADER, PROTOCOL_HEADER};

/// Places for so many bodies are kept while there are none.
const KEPT_BODIES: usize = 8;

/// Bytes, and where in them bodies come in that go by reference; and how much of it is sent.
///
/// What is sent stays, but for the bodies, until all is: where frames begin can thus be told.
#[derive(Default)]
pub(super) struct Block {
    pub(super) encoded: Vec<u8>,
    /// In order. Each goes out when everything of `encoded` before its place has.
    bodies: Vec<Referenced>,
    /// How many of `encoded` are sent.
    head: usize,
    /// How many of `bodies` are sent.
    sent_bodies: usize,
}

struct Referenced {
    place: usize,
    /// What is unsent of it.
    body: Bytes,
}

impl Block {
    /// An empty one, to encode into that memory.
    pub(super) fn with_memory(encoded: Vec<u8>) -> Self {
        debug_assert!(encoded.is_empty());
        Self { encoded, ..Self::default() }
    }

    /// How many bytes of it are unsent, not counting those of bodies.
    #[inline]
    pub(super) fn unsent_encoded(&self) -> usize {
        self.encoded.len() - self.head
    }

    /// What is unsent of it, but for bodies.
    #[inline]
    pub(super) fn unsent(&self) -> &[u8] {
        &self.encoded[self.head..]
    }

    pub(super) fn is_sent(&self) -> bool {
        self.unsent_encoded() == 0 && self.sent_bodies == self.bodies.len()
    }

    /// Appends a body by reference, after all that is encoded so far.
    pub(super) fn push_body(&mut self, body: Bytes) {
        self.bodies.push(Referenced { place: self.encoded.len(), body });
    }

    /// Appends all of a block of which nothing is sent.
    pub(super) fn append(&mut self, other: Block) {
        debug_assert_eq!((other.head, other.sent_bodies), (0, 0));
        let shift = self.encoded.len();
        self.encoded.extend_from_slice(&other.encoded);
        let shifted = other.bodies.into_iter();
        self.bodies.extend(shifted.map(|it| Referenced { place: it.place + shift, ..it }));
    }

    /// Fills `slices` from `used` on with what is unsent; false if they do not suffice.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>], used: &mut usize) -> bool {
        let mut push = |slice: &'a [u8]| {
            if !slice.is_empty() && *used < slices.len() {
                slices[*used] = IoSlice::new(slice);
                *used += 1;
            }
            *used < slices.len()
        };
        let mut from = self.head;
        for Referenced { place, body } in &self.bodies[self.sent_bodies..] {
            if !push(&self.encoded[from..*place]) || !push(body) {
                return false;
            }
            from = *place;
        }
        push(&self.encoded[from..])
    }

    /// Takes note that up to `sent` bytes are sent; gives how many encoded ones of it were, and how
    /// many of bodies. Bodies that are sent go to `spent`.
    pub(super) fn advance(&mut self, mut sent: usize, spent: &mut Vec<Bytes>) -> (usize, usize) {
        let (mut encoded, mut of_bodies) = (0, 0);
        loop {
            let next = self.bodies.get_mut(self.sent_bodies);
            let end = next.as_ref().map_or(self.encoded.len(), |next| next.place);
            let step = sent.min(end - self.head);
            self.head += step;
            encoded += step;
            sent -= step;
            let Some(Referenced { body, .. }) = next.filter(|_| sent > 0) else {
                return (encoded, of_bodies);
            };
            let step = sent.min(body.len());
            body.advance(step);
            of_bodies += step;
            sent -= step;
            if !body.is_empty() {
                return (encoded, of_bodies);
            }
            spent.push(std::mem::take(body));
            self.sent_bodies += 1;
        }
    }

    /// Forgets everything, but keeps the memory of what is encoded.
    pub(super) fn clear(&mut self, spent: &mut Vec<Bytes>) {
        self.encoded.clear();
        let bodies = self.bodies.drain(..).map(|referenced| referenced.body);
        spent.extend(bodies.filter(|body| !body.is_empty()));
        self.bodies.shrink_to(KEPT_BODIES);
        self.head = 0;
        self.sent_bodies = 0;
    }

    /// How many messages of it are unsent, or not wholly sent.
    pub(super) fn unsent_messages(&self) -> u64 {
        // Where each frame ends in `encoded`, and whether it begins a message or goes on with one.
        let mut places = self.bodies.iter().map(|referenced| referenced.place).peekable();
        let mut from = if self.encoded.starts_with(&PROTOCOL_HEADER) { 8 } else { 0 };
        let (mut count, mut last_end) = (0, 0);
        while let [kind, _, _, s0, s1, s2, s3, payload @ ..] = &self.encoded[from..] {
            let begins = *kind == 1 && payload.starts_with(&[0, 60, 0, 40]);
            let is_content = matches!(kind, 2 | 3);
            let payload = from + FRAME_HEADER;
            let by_reference = places.next_if_eq(&payload).is_some();
            let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]) as usize;
            from = payload + if by_reference { 0 } else { size } + 1;
            if !is_content {
                count += u64::from(last_end > self.head);
                last_end = 0;
            }
            if begins || is_content {
                last_end = from;
            }
        }
        count + u64::from(last_end > self.head)
    }
}
