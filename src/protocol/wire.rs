//! How single values lie on the wire: big endian, and with their length before them.

use super::{DecodeError, EncodeError, FieldArray, FieldTable, LongStr, ShortStr};

/// Reads values off the front of some bytes. Every read is checked; what it gives borrows from the
/// input, so a length that a peer claims never leads to an allocation.
#[derive(Clone, Debug, Default)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the front of `input`.
    #[inline]
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// What has not been read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.truncated(count));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.truncated(N));
        };
        self.rest = rest;
        Ok(*array)
    }

    /// An octet.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// A short integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A long integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A long long integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string. Whether it is UTF-8 is not looked at.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn short_str(&mut self) -> Result<ShortStr<'a>, DecodeError> {
        self.short_bytes().map(ShortStr::from)
    }

    /// A long string.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn long_str(&mut self) -> Result<LongStr<'a>, DecodeError> {
        self.long_bytes().map(LongStr::from)
    }

    /// A field table. Its entries are not looked at.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn table(&mut self) -> Result<FieldTable<'a>, DecodeError> {
        self.long_bytes().map(FieldTable::from_encoded)
    }

    /// A field array. Its elements are not looked at.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]: nothing is read.
    #[inline]
    pub fn field_array(&mut self) -> Result<FieldArray<'a>, DecodeError> {
        self.long_bytes().map(FieldArray::from_encoded)
    }

    #[inline]
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }

    #[inline]
    fn long_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).unwrap_or(usize::MAX))
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated { needed, available: self.rest.len() }
    }
}

/// Most methods, and the heads of most messages, take no more bytes.
const FEW: usize = 64;

/// Writes values one after the other to a place that is just as long as they are.
///
/// # Panics
///
/// Every method, if what it writes is longer than what is left of the place.
#[derive(Debug)]
pub struct Writer<'o> {
    rest: &'o mut [u8],
}

impl<'o> Writer<'o> {
    /// A writer at the front of `place`.
    #[inline]
    pub fn new(place: &'o mut [u8]) -> Self {
        Self { rest: place }
    }

    /// Appends `size` bytes to `out`, which `write` has to write: all of them. Known beforehand,
    /// they cost one look at the capacity.
    #[inline]
    pub(super) fn append(out: &mut Vec<u8>, size: usize, write: impl FnOnce(&mut Writer<'_>)) {
        let start = out.len();
        if size <= FEW {
            // Stores, where to fill by a number that is not known to the compiler is a call.
            out.extend_from_slice(&[0; FEW]);
            out.truncate(start + size);
        } else {
            out.resize(start + size, 0);
        }
        let mut writer = Writer::new(&mut out[start..]);
        write(&mut writer);
        debug_assert!(writer.rest.is_empty(), "{} of {size} bytes missing", writer.rest.len());
    }

    /// Goes on behind the next `size` bytes, which are the caller's to write.
    #[inline]
    pub(super) fn place(&mut self, size: usize) -> &'o mut [u8] {
        let (place, rest) = std::mem::take(&mut self.rest).split_at_mut(size);
        self.rest = rest;
        place
    }

    /// Writes some bytes, as many as the type says.
    #[inline]
    pub fn array<const N: usize>(&mut self, array: [u8; N]) {
        self.place(N).copy_from_slice(&array);
    }

    /// Writes some bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return; // as many names are
        }
        self.place(bytes.len()).copy_from_slice(bytes);
    }
}

/// What can be freed of the input it was decoded from.
pub(super) trait IntoOwned {
    type Owned: 'static;

    fn into_owned(self) -> Self::Owned;
}

impl IntoOwned for bool {
    type Owned = Self;

    fn into_owned(self) -> Self {
        self
    }
}

/// A type of the wire: what arguments, properties and fields are made of.
pub(super) trait WireType<'a>: Sized {
    /// The size on the wire, if the value can go there.
    fn encoded_len(&self) -> Result<usize, EncodeError>;

    /// Writes the value. Only after `encoded_len` said Ok.
    fn write(&self, to: &mut Writer<'_>);

    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

macro_rules! integers {
    ($($integer:ident)*) => {$(
        impl IntoOwned for $integer {
            type Owned = Self;

            fn into_owned(self) -> Self {
                self
            }
        }

        impl WireType<'_> for $integer {
            #[inline]
            fn encoded_len(&self) -> Result<usize, EncodeError> {
                Ok(size_of::<Self>())
            }

            #[inline]
            fn write(&self, to: &mut Writer<'_>) {
                to.array(self.to_be_bytes());
            }

            #[inline]
            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.$integer()
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 }

/// Writes bytes with their 32-bit length before them, which the caller has checked to fit.
#[inline]
pub(super) fn write_long_bytes(bytes: &[u8], to: &mut Writer<'_>) {
    debug_assert!(u32::try_from(bytes.len()).is_ok());
    to.array((bytes.len() as u32).to_be_bytes());
    to.bytes(bytes);
}
