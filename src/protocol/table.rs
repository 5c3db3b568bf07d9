//! Field tables: headers, arguments, the peers' properties.

use std::fmt;
use std::iter::FusedIterator;

use super::field_debug::Nested;
use super::octets::Octets;
use super::wire::{IntoOwned, WireType, write_long_bytes};
use super::{DecodeError, EncodeError, FieldValue, LongStr, Reader, ShortStr, Writer};

/// A field table: names and values in an order, kept as they lie on the wire.
///
/// Entries are decoded when they are asked for. So a table that is passed on stays the same byte
/// for byte, one that nobody reads costs nothing, and however deeply tables are nested, no code
/// recurses. It also means that a received table may turn out to be malformed only when it is read.
///
/// ```
/// use haypile::protocol::{FieldTable, FieldValue};
///
/// let arguments = FieldTable::new()
///     .with("x-max-length", 1000)?
///     .with("x-dead-letter-exchange", "graveyard")?;
/// assert_eq!(arguments.get("x-max-length")?, Some(FieldValue::I32(1000)));
/// assert_eq!(arguments.get("x-expires")?, None);
///
/// for entry in arguments.iter() {
///     let (name, value) = entry?;
///     println!("{name}: {value:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct FieldTable<'a>(Octets<'a>);

impl<'a> FieldTable<'a> {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// A table of these entries, encoded as [`encoded`](Self::encoded) gives them.
    #[inline]
    pub fn from_encoded(entries: impl Into<LongStr<'a>>) -> Self {
        Self(entries.into().0)
    }

    /// The entries as they lie on the wire, without the 4 bytes of length before them.
    #[inline]
    pub fn encoded(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.encoded().is_empty()
    }

    /// Appends an entry. One of the same name that is there already stays there, before it.
    /// On an error the table is as it was.
    pub fn insert<'v>(
        &mut self,
        name: impl Into<ShortStr<'v>>,
        value: impl Into<FieldValue<'v>>,
    ) -> Result<(), EncodeError> {
        let (name, value) = (name.into(), value.into());
        let additional = name.encoded_len()? + value.encoded_len()?;
        self.0.append(additional, |to| {
            name.write(to);
            value.write(to);
        });
        Ok(())
    }

    /// This table with one more entry: [`insert`](Self::insert) for chains.
    pub fn with<'v>(
        mut self,
        name: impl Into<ShortStr<'v>>,
        value: impl Into<FieldValue<'v>>,
    ) -> Result<Self, EncodeError> {
        self.insert(name, value)?;
        Ok(self)
    }

    /// The value of the first entry of this name. Malformed entries behind it are not found.
    pub fn get(&self, name: &str) -> Result<Option<FieldValue<'_>>, DecodeError> {
        for entry in self {
            let (entry, value) = entry?;
            if entry == *name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The entries in their order. The first that is malformed is the last.
    pub fn iter(&self) -> TableIter<'_> {
        TableIter(Reader::new(self.encoded()))
    }

    /// The same table, free of what it borrows from: copied, unless it was shared.
    pub fn into_owned(self) -> FieldTable<'static> {
        FieldTable(self.0.into_owned())
    }
}

/// Equal if they are the same on the wire.
impl<'b> PartialEq<FieldTable<'b>> for FieldTable<'_> {
    fn eq(&self, other: &FieldTable<'b>) -> bool {
        self.encoded() == other.encoded()
    }
}

impl Eq for FieldTable<'_> {}

impl fmt::Debug for FieldTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Nested::outermost(self).fmt(f)
    }
}

impl<'t> IntoIterator for &'t FieldTable<'_> {
    type Item = Result<(ShortStr<'t>, FieldValue<'t>), DecodeError>;
    type IntoIter = TableIter<'t>;

    fn into_iter(self) -> TableIter<'t> {
        self.iter()
    }
}

/// The entries of a [`FieldTable`].
#[derive(Clone, Debug)]
pub struct TableIter<'t>(Reader<'t>);

impl<'t> Iterator for TableIter<'t> {
    type Item = Result<(ShortStr<'t>, FieldValue<'t>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = read_entry(&mut self.0);
        if entry.is_err() {
            self.0 = Reader::default();
        }
        Some(entry)
    }
}

impl FusedIterator for TableIter<'_> {}

fn read_entry<'t>(from: &mut Reader<'t>) -> Result<(ShortStr<'t>, FieldValue<'t>), DecodeError> {
    Ok((from.short_str()?, FieldValue::read(from)?))
}

impl IntoOwned for FieldTable<'_> {
    type Owned = FieldTable<'static>;

    fn into_owned(self) -> FieldTable<'static> {
        self.into_owned()
    }
}

impl<'a> WireType<'a> for FieldTable<'a> {
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
        from.table()
    }
}
