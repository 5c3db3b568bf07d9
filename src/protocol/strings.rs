//! AMQP's two strings: bytes, normally UTF-8.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::Utf8Error;

use bytes::Bytes;

use super::octets::Octets;
use super::wire::{IntoOwned, WireType, write_long_bytes};
use super::{DecodeError, EncodeError, Reader, Writer};

macro_rules! string {
    ($(#[$meta:meta])* $String:ident) => {
        $(#[$meta])*
        #[derive(Clone, Default)]
        pub struct $String<'a>(pub(super) Octets<'a>);

        impl<'a> $String<'a> {
            /// The bytes of the string.
            #[inline]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_slice()
            }

            /// The string as text, if it is UTF-8.
            pub fn to_str(&self) -> Result<&str, Utf8Error> {
                std::str::from_utf8(self.as_bytes())
            }

            /// The string as text, with U+FFFD for what is not UTF-8.
            pub fn to_string_lossy(&self) -> Cow<'_, str> {
                String::from_utf8_lossy(self.as_bytes())
            }

            /// Whether it has no bytes.
            #[inline]
            pub fn is_empty(&self) -> bool {
                self.as_bytes().is_empty()
            }

            /// Its length in bytes.
            #[inline]
            pub fn len(&self) -> usize {
                self.as_bytes().len()
            }

            /// The same string, free of what it borrows from: copied, unless it was shared.
            pub fn into_owned(self) -> $String<'static> {
                $String(self.0.into_owned())
            }

            /// The same string, borrowed from this one.
            #[inline]
            pub fn as_borrowed(&self) -> $String<'_> {
                $String(Octets::Borrowed(self.as_bytes()))
            }
        }

        impl<'a> From<&'a [u8]> for $String<'a> {
            #[inline]
            fn from(bytes: &'a [u8]) -> Self {
                Self(Octets::Borrowed(bytes))
            }
        }

        impl<'a, const N: usize> From<&'a [u8; N]> for $String<'a> {
            fn from(bytes: &'a [u8; N]) -> Self {
                Self(Octets::Borrowed(bytes))
            }
        }

        impl<'a> From<&'a str> for $String<'a> {
            #[inline]
            fn from(text: &'a str) -> Self {
                Self(Octets::Borrowed(text.as_bytes()))
            }
        }

        impl<'a> From<&'a String> for $String<'a> {
            fn from(text: &'a String) -> Self {
                Self(Octets::Borrowed(text.as_bytes()))
            }
        }

        impl<'a> From<&'a $String<'_>> for $String<'a> {
            fn from(string: &'a $String<'_>) -> Self {
                string.as_borrowed()
            }
        }

        impl From<String> for $String<'_> {
            fn from(text: String) -> Self {
                Self(Octets::Shared(text.into()))
            }
        }

        impl From<Vec<u8>> for $String<'_> {
            fn from(bytes: Vec<u8>) -> Self {
                Self(Octets::Shared(bytes.into()))
            }
        }

        impl From<Bytes> for $String<'_> {
            fn from(bytes: Bytes) -> Self {
                Self(Octets::Shared(bytes))
            }
        }

        impl AsRef<[u8]> for $String<'_> {
            fn as_ref(&self) -> &[u8] {
                self.as_bytes()
            }
        }

        // So that a map with this key can be asked by bytes that are merely borrowed.
        impl Borrow<[u8]> for $String<'_> {
            fn borrow(&self) -> &[u8] {
                self.as_bytes()
            }
        }

        impl<'b> PartialEq<$String<'b>> for $String<'_> {
            fn eq(&self, other: &$String<'b>) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl Eq for $String<'_> {}

        impl PartialEq<str> for $String<'_> {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $String<'_> {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialOrd for $String<'_> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $String<'_> {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }

        impl Hash for $String<'_> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_bytes().hash(state);
            }
        }

        impl fmt::Debug for $String<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.to_string_lossy(), f)
            }
        }

        impl fmt::Display for $String<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.to_string_lossy())
            }
        }
    };
}

string! {
    /// A short string: the name of a queue, a routing key, a consumer tag. At most 255 bytes.
    ///
    /// Making one never fails; one that is too long is found when it is encoded, before anything is
    /// sent. It borrows a `&str` or `&[u8]`, or holds a `String` or `Bytes`, and prints what is not
    /// UTF-8 as U+FFFD.
    ///
    /// ```
    /// use haypile::protocol::ShortStr;
    ///
    /// let key = ShortStr::from("orders.new");
    /// assert_eq!(key, "orders.new");
    /// let kept: ShortStr<'static> = key.into_owned();
    /// assert_eq!(kept.to_str(), Ok("orders.new"));
    /// ```
    ShortStr
}

string! {
    /// A long string, which may be any bytes of any use, up to 4 GiB. Otherwise like [`ShortStr`].
    LongStr
}

impl IntoOwned for ShortStr<'_> {
    type Owned = ShortStr<'static>;

    fn into_owned(self) -> ShortStr<'static> {
        self.into_owned()
    }
}

impl<'a> WireType<'a> for ShortStr<'a> {
    #[inline]
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        match self.len() {
            length @ 0..=255 => Ok(1 + length),
            length => Err(EncodeError::ShortStringTooLong { length }),
        }
    }

    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        let bytes = self.as_bytes();
        debug_assert!(bytes.len() <= 255);
        to.array([bytes.len() as u8]);
        to.bytes(bytes);
    }

    #[inline]
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        from.short_str()
    }
}

impl IntoOwned for LongStr<'_> {
    type Owned = LongStr<'static>;

    fn into_owned(self) -> LongStr<'static> {
        self.into_owned()
    }
}

impl<'a> WireType<'a> for LongStr<'a> {
    #[inline]
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        match u32::try_from(self.len()) {
            Ok(_) => Ok(4 + self.len()),
            Err(_) => Err(EncodeError::LongStringTooLong { length: self.len() }),
        }
    }

    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        write_long_bytes(self.as_bytes(), to);
    }

    #[inline]
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        from.long_str()
    }
}
