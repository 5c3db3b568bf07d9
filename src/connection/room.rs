//! A bound on what may wait. Who is refused for want of room is told when there is room again.

/// Room for so many: bytes that wait to be sent, messages that wait to be confirmed.
///
/// What crosses the high mark is still taken, so that there is room for anything of any size once
/// there is room at all; then all is refused until less than the high mark waits. Whoever was
/// refused is told once, when no more than the low mark waits.
pub(crate) struct Room {
    high: usize,
    low: usize,
    refused: bool,
}

impl Room {
    pub(crate) fn new(low: usize, high: usize) -> Self {
        Self { high, low, refused: false }
    }

    /// Room for so many, of which somebody who was refused is told when half of it is free.
    pub(crate) fn of(high: usize) -> Self {
        Self::new(high / 2, high)
    }

    pub(crate) fn high(&self) -> usize {
        self.high
    }

    /// Makes it larger or smaller. Whoever was refused still is to be told.
    pub(crate) fn resize(&mut self, high: usize) {
        *self = Self { refused: self.refused, ..Self::of(high) };
    }

    /// Whether there is room beside what waits. If not, whoever asks has been refused.
    #[inline]
    pub(crate) fn is_there(&mut self, waiting: usize) -> bool {
        let there = waiting < self.high;
        if !there {
            self.refused = true;
        }
        there
    }

    /// Whether somebody who was refused is to be told, since so little waits now.
    #[inline]
    pub(crate) fn is_regained(&mut self, waiting: usize) -> bool {
        let regained = self.refused && waiting <= self.low;
        if regained {
            self.refused = false;
        }
        regained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_refused_is_told_once_at_the_low_mark() {
        let mut room = Room::new(2, 5);
        assert!(room.is_there(4), "what crosses the mark is taken");
        assert!(!room.is_regained(0), "nobody was refused");
        assert!(!room.is_there(5) && !room.is_there(9));
        assert!(!room.is_regained(3));
        assert!(room.is_there(3), "below the high mark there is room");
        assert!(room.is_regained(2));
        assert!(!room.is_regained(1), "once");
    }
}
