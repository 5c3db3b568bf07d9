//! The limits that both sides agree on (AMQP connection.tune).

use super::parameters::{ConnectionParameters, FRAME_MAX_MINIMUM};
use crate::error::HandshakeError;
use crate::protocol::{FRAME_MIN_SIZE, connection};

/// The limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
}

impl Limits {
    /// Before Tune: no channels, and frames of the size that every peer must take.
    pub(crate) const UNTUNED: Self = Self { channel_max: 0, frame_max: FRAME_MIN_SIZE };

    /// The smaller of what both allow; 0 from the broker sets no limit.
    pub(crate) fn agree(
        ours: &ConnectionParameters,
        tune: &connection::Tune,
    ) -> Result<Self, HandshakeError> {
        let channel_max = match tune.channel_max {
            0 => ours.channel_max(),
            limit => limit.min(ours.channel_max()),
        };
        let frame_max = match tune.frame_max {
            0 => ours.frame_max(),
            limit => limit.min(ours.frame_max()),
        };
        // A broker that allows less than it may be asked for, but no less than AMQP promises,
        // gets what it allows.
        if frame_max < FRAME_MIN_SIZE {
            return Err(HandshakeError::Tuning { broker: tune.frame_max, minimum: FRAME_MIN_SIZE });
        }
        Ok(Self { channel_max, frame_max })
    }
}

const _: () = assert!(FRAME_MAX_MINIMUM >= FRAME_MIN_SIZE);

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(channel_max: u16, frame_max: u32) -> Result<(u16, u32), HandshakeError> {
        let mut ours = ConnectionParameters::default();
        ours.set_channel_max(2047).unwrap();
        let tune = connection::Tune { channel_max, frame_max, ..Default::default() };
        Limits::agree(&ours, &tune).map(|limits| (limits.channel_max, limits.frame_max))
    }

    #[test]
    fn the_smaller_limit_wins_and_zero_is_none() {
        assert_eq!(agree(0, 0), Ok((2047, 131_072)));
        assert_eq!(agree(1, 4096), Ok((1, 4096)));
        assert_eq!(agree(65_535, u32::MAX), Ok((2047, 131_072)));
        assert_eq!(agree(100, 8191), Ok((100, 8191)));
    }

    #[test]
    fn a_frame_size_below_what_amqp_promises_is_refused() {
        for broker in [1, 7, 4095] {
            assert_eq!(agree(0, broker), Err(HandshakeError::Tuning { broker, minimum: 4096 }));
        }
    }
}
