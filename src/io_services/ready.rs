//! What a descriptor is ready for, or watched for.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// A set of conditions of a descriptor.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ready(u8);

/// What a descriptor is watched for. Errors and hang-ups are always told, unless it is
/// [`NONE`](Ready::NONE): then nothing is.
pub type Interest = Ready;

impl Ready {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A read would not block (pika's `READ`): there is data, the end of the stream, or an error.
    pub const READ: Self = Self(1);
    /// A write would not block (pika's `WRITE`).
    pub const WRITE: Self = Self(4);
    /// It failed or hung up (pika's `ERROR`). What it is watched for is told with it, so that a
    /// reader or writer learns the error by its read or write.
    pub const ERROR: Self = Self(8);

    /// This set if that `holds`, else nothing.
    #[must_use]
    pub const fn when(self, holds: bool) -> Self {
        if holds { self } else { Self::NONE }
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is in this set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The bits are those of epoll, and so pika's.
#[cfg(any(target_os = "linux", target_os = "android"))]
impl Ready {
    /// The caller has none but these conditions'.
    #[inline]
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Ready {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Ready {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The set without `other`.
impl Sub for Ready {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Self::READ, "READ"), (Self::WRITE, "WRITE"), (Self::ERROR, "ERROR")];
        let set: Vec<_> = names.iter().filter(|(bit, _)| self.contains(*bit)).collect();
        match set.as_slice() {
            [] => f.write_str("NONE"),
            [(_, first), rest @ ..] => {
                f.write_str(first)?;
                rest.iter().try_for_each(|(_, name)| write!(f, " | {name}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_combine_and_print() {
        let both = Ready::READ | Ready::WRITE;
        assert!(both.contains(Ready::READ) && both.contains(Ready::NONE));
        assert!(!both.contains(Ready::READ | Ready::ERROR));
        assert_eq!(both & Ready::WRITE, Ready::WRITE);
        assert_eq!(both - Ready::WRITE, Ready::READ);
        assert!((both - both).is_empty());
        assert_eq!(format!("{both:?} {:?}", Ready::NONE), "READ | WRITE NONE");
    }
}
