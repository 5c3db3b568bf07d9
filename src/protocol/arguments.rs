//! The arguments of a method: wire types one after the other, save that up to eight bits that
//! follow each other share an octet, the first of them the lowest.

use super::wire::WireType;
use super::{DecodeError, EncodeError, Reader, Writer};

/// A type that can be an argument: any wire type, and `bool`.
pub(super) trait Argument<'a>: Sized {
    fn measure(&self, length: &mut ArgumentsLen) -> Result<(), EncodeError>;
    fn write(&self, to: &mut ArgumentsWriter<'_, '_>);
    fn read(from: &mut ArgumentsReader<'a>) -> Result<Self, DecodeError>;
}

/// Where the next bit goes in the octet that bits share. 0: none is begun, or it is full.
#[derive(Default)]
struct BitPlace(u8);

impl BitPlace {
    /// The mask of the next bit, and whether it is the first of an octet.
    #[inline]
    fn next(&mut self) -> (u8, bool) {
        let first = self.0 == 0;
        let mask = if first { 1 } else { self.0 };
        self.0 = mask << 1;
        (mask, first)
    }

    /// Whether an octet is begun and not full.
    #[inline]
    fn is_begun(&self) -> bool {
        self.0 != 0
    }

    /// Anything else than a bit has come between.
    #[inline]
    fn end(&mut self) {
        self.0 = 0;
    }
}

/// Adds up the size of arguments.
#[derive(Default)]
pub(super) struct ArgumentsLen {
    total: usize,
    bits: BitPlace,
}

impl ArgumentsLen {
    #[inline]
    pub(super) fn add<'a, T: Argument<'a>>(&mut self, argument: &T) -> Result<(), EncodeError> {
        argument.measure(self)
    }

    #[inline]
    pub(super) fn total(&self) -> usize {
        self.total
    }
}

/// Writes arguments to a place of their size.
pub(super) struct ArgumentsWriter<'w, 'o> {
    to: &'w mut Writer<'o>,
    /// The bits of the octet that is begun.
    octet: u8,
    bits: BitPlace,
}

impl<'w, 'o> ArgumentsWriter<'w, 'o> {
    #[inline]
    pub(super) fn new(to: &'w mut Writer<'o>) -> Self {
        Self { to, octet: 0, bits: BitPlace::default() }
    }

    /// Writes the octet of bits that is begun, if one is.
    #[inline]
    pub(super) fn end_bits(&mut self) {
        if self.bits.is_begun() {
            self.to.array([self.octet]);
            self.bits.end();
        }
    }

    #[inline]
    pub(super) fn put<'a, T: Argument<'a>>(&mut self, argument: &T) {
        argument.write(self);
    }
}

/// Reads arguments off a payload.
pub(super) struct ArgumentsReader<'a> {
    input: Reader<'a>,
    octet: u8,
    bits: BitPlace,
}

impl<'a> ArgumentsReader<'a> {
    #[inline]
    pub(super) fn new(arguments: &'a [u8]) -> Self {
        Self { input: Reader::new(arguments), octet: 0, bits: BitPlace::default() }
    }

    #[inline]
    pub(super) fn take<T: Argument<'a>>(&mut self) -> Result<T, DecodeError> {
        T::read(self)
    }
}

impl<'a, T: WireType<'a>> Argument<'a> for T {
    #[inline]
    fn measure(&self, length: &mut ArgumentsLen) -> Result<(), EncodeError> {
        length.bits.end();
        length.total += self.encoded_len()?;
        Ok(())
    }

    #[inline]
    fn write(&self, to: &mut ArgumentsWriter<'_, '_>) {
        to.end_bits();
        WireType::write(self, to.to);
    }

    #[inline]
    fn read(from: &mut ArgumentsReader<'a>) -> Result<Self, DecodeError> {
        from.bits.end();
        WireType::read(&mut from.input)
    }
}

impl Argument<'_> for bool {
    #[inline]
    fn measure(&self, length: &mut ArgumentsLen) -> Result<(), EncodeError> {
        let (_, first) = length.bits.next();
        length.total += usize::from(first);
        Ok(())
    }

    #[inline]
    fn write(&self, to: &mut ArgumentsWriter<'_, '_>) {
        let (mask, first) = to.bits.next();
        let before = if first { 0 } else { to.octet };
        to.octet = before | if *self { mask } else { 0 };
        if !to.bits.is_begun() {
            to.to.array([to.octet]);
        }
    }

    #[inline]
    fn read(from: &mut ArgumentsReader<'_>) -> Result<Self, DecodeError> {
        let (mask, first) = from.bits.next();
        if first {
            from.octet = from.input.u8()?;
        }
        Ok(from.octet & mask != 0)
    }
}
