//! Field arrays: lists of values within a field table.

use std::fmt;
use std::iter::FusedIterator;

use super::field_debug::Nested;
use super::octets::Octets;
use super::wire::{WireType, write_long_bytes};
use super::{DecodeError, EncodeError, FieldValue, LongStr, Reader, Writer};

/// A list of values of any types, such as the header `x-death`. Like a
/// [`FieldTable`](super::FieldTable) it is kept as it lies on the wire.
///
/// ```
/// use haypile::protocol::{FieldArray, FieldTable, FieldValue};
///
/// let recipients = FieldArray::new().with("anna")?.with("bert")?;
/// let headers = FieldTable::new().with("CC", recipients)?;
/// let Some(FieldValue::Array(recipients)) = headers.get("CC")? else { panic!("not an array") };
/// assert_eq!(recipients.iter().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct FieldArray<'a>(Octets<'a>);

impl<'a> FieldArray<'a> {
    /// An empty array.
    pub fn new() -> Self {
        Self::default()
    }

    /// An array of these elements, encoded as [`encoded`](Self::encoded) gives them.
    #[inline]
    pub fn from_encoded(elements: impl Into<LongStr<'a>>) -> Self {
        Self(elements.into().0)
    }

    /// The elements as they lie on the wire, without the 4 bytes of length before them.
    #[inline]
    pub fn encoded(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.encoded().is_empty()
    }

    /// Appends an element. On an error the array is as it was.
    pub fn push<'v>(&mut self, value: impl Into<FieldValue<'v>>) -> Result<(), EncodeError> {
        let value = value.into();
        self.0.append(value.encoded_len()?, |to| value.write(to));
        Ok(())
    }

    /// This array with one more element: [`push`](Self::push) for chains.
    pub fn with<'v>(mut self, value: impl Into<FieldValue<'v>>) -> Result<Self, EncodeError> {
        self.push(value)?;
        Ok(self)
    }

    /// The elements in their order. The first that is malformed is the last.
    pub fn iter(&self) -> ArrayIter<'_> {
        ArrayIter(Reader::new(self.encoded()))
    }

    /// The same array, free of what it borrows from: copied, unless it was shared.
    pub fn into_owned(self) -> FieldArray<'static> {
        FieldArray(self.0.into_owned())
    }
}

/// Equal if they are the same on the wire.
impl<'b> PartialEq<FieldArray<'b>> for FieldArray<'_> {
    fn eq(&self, other: &FieldArray<'b>) -> bool {
        self.encoded() == other.encoded()
    }
}

impl Eq for FieldArray<'_> {}

impl fmt::Debug for FieldArray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Nested::outermost(self).fmt(f)
    }
}

impl<'t> IntoIterator for &'t FieldArray<'_> {
    type Item = Result<FieldValue<'t>, DecodeError>;
    type IntoIter = ArrayIter<'t>;

    fn into_iter(self) -> ArrayIter<'t> {
        self.iter()
    }
}

/// The elements of a [`FieldArray`].
#[derive(Clone, Debug)]
pub struct ArrayIter<'t>(Reader<'t>);

impl<'t> Iterator for ArrayIter<'t> {
    type Item = Result<FieldValue<'t>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let value = FieldValue::read(&mut self.0);
        if value.is_err() {
            self.0 = Reader::default();
        }
        Some(value)
    }
}

impl FusedIterator for ArrayIter<'_> {}

impl<'a> WireType<'a> for FieldArray<'a> {
    #[inline]
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        let length = self.encoded().len();
        match u32::try_from(length) {
            Ok(_) => Ok(4 + length),
            Err(_) => Err(EncodeError::TableTooLong { length }),
        }
    }

    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        write_long_bytes(self.encoded(), to);
    }

    #[inline]
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        from.field_array()
    }
}
