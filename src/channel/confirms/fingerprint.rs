//! What tells one message from another, as far as a broker sends it back unchanged.

use crate::protocol::{BasicProperties, ShortStr};

/// How much of each end of a body is looked at: a large one is neither read nor copied otherwise.
const END: usize = 4 * 1024;

/// A hash of a message's exchange, routing key, message id, correlation id and body (of a body over
/// 8 KiB, its length and its ends).
///
/// Other properties are left out: the broker may add headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(
        exchange: &ShortStr<'_>,
        routing_key: &ShortStr<'_>,
        properties: &BasicProperties<'_>,
        body: &[u8],
    ) -> Self {
        let mut mixer = Mixer(0);
        mixer.bytes(exchange.as_bytes());
        mixer.bytes(routing_key.as_bytes());
        for id in [&properties.message_id, &properties.correlation_id] {
            // One that is empty is not one that is absent.
            match id {
                Some(id) => mixer.bytes(id.as_bytes()),
                None => mixer.word(u64::MAX),
            }
        }
        if body.len() <= 2 * END {
            mixer.bytes(body);
        } else {
            mixer.word(body.len() as u64);
            mixer.bytes(&body[..END]);
            mixer.bytes(&body[body.len() - END..]);
        }
        Self(mixer.0)
    }
}

/// A hash that takes eight bytes at a time, as rustc's does. Nobody gains by a collision: the
/// messages are the program's own.
struct Mixer(u64);

impl Mixer {
    #[inline]
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(exchange: &str, key: &str, ids: [Option<&str>; 2], body: &[u8]) -> Fingerprint {
        let [message_id, correlation_id] = ids.map(|id| id.map(ShortStr::from));
        let properties = BasicProperties { message_id, correlation_id, ..Default::default() };
        Fingerprint::of(&exchange.into(), &key.into(), &properties, body)
    }

    #[test]
    fn whatever_differs_in_what_is_looked_at_differs() {
        let long = vec![7; 10_000];
        let (mut other_end, mut other_start) = (long.clone(), long.clone());
        other_end[9_999] = 8;
        other_start[0] = 8;
        let messages = [
            of("", "", [None, None], b""),
            of("a", "", [None, None], b""),
            of("", "a", [None, None], b""),
            of("", "", [Some(""), None], b""),
            of("", "", [None, Some("")], b""),
            of("", "", [Some("a"), None], b""),
            of("", "", [None, Some("a")], b""),
            of("", "", [None, None], b"a"),
            of("", "", [None, None], b"a\0"),
            of("", "", [None, None], b"12345678"),
            of("", "", [None, None], b"123456789"),
            of("", "", [None, None], &long),
            of("", "", [None, None], &long[1..]),
            of("", "", [None, None], &other_end),
            of("", "", [None, None], &other_start),
        ];
        for (at, message) in messages.iter().enumerate() {
            assert!(!messages[..at].contains(message), "{at}");
        }
        assert_eq!(messages[11], of("", "", [None, None], &long));
    }
}
