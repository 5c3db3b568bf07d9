//! Bytes that are borrowed from an input or a program's string, or shared.

use bytes::Bytes;

use super::Writer;

/// What strings, tables and arrays hold. Both representations clone without copying.
#[derive(Clone)]
pub(super) enum Octets<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl<'a> Octets<'a> {
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    pub(super) fn into_owned(self) -> Octets<'static> {
        Octets::Shared(match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes,
        })
    }

    /// Appends `additional` bytes, which `write` writes. In place if nobody shares what is there.
    pub(super) fn append(&mut self, additional: usize, write: impl FnOnce(&mut Writer<'_>)) {
        let mut bytes = match std::mem::take(self) {
            Self::Borrowed(bytes) => {
                let mut copy = Vec::with_capacity(bytes.len() + additional);
                copy.extend_from_slice(bytes);
                copy
            }
            Self::Shared(bytes) => Vec::from(bytes),
        };
        Writer::append(&mut bytes, additional, write);
        *self = Self::Shared(bytes.into());
    }
}

impl Default for Octets<'_> {
    #[inline]
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}
