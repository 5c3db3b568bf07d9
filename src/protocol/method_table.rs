//! The macros that make everything from the table in `methods.rs`.
//!
//! A class is
//! ```text
//! 50 queue Queue<'a> { METHODS }
//! ```
//! with its id, its module, its variant in `Method`, and a lifetime if one of its methods has one.
//! A method is
//! ```text
//! 10 "declare" Declare<'a> -> DeclareOk<'static> { FIELDS }
//! ```
//! with its id, its name in AMQP, its struct, a lifetime if it borrows, and the one reply that it
//! has if it is a request of the client's. A field, in the order of the wire, is
//! ```text
//! _: u16,                                       reserved: 0 when encoded, skipped when decoded
//! queue: ShortStr<'a>,
//! exchange_type: ShortStr<'a> = "direct".into(),  with the default that is not the type's
//! secret response: LongStr<'a>,                 never printed
//! ```

/// Makes the classes' modules and `Method`.
macro_rules! method_table {
    ($(
        $(#[$meta:meta])*
        $class_id:literal $class:ident $Class:ident $(<$a:lifetime>)? { $($methods:tt)* }
    )*) => {
        $(
            $(#[$meta])*
            pub mod $class {
                use super::*;

                define_class! { $class_id $class $Class $(<$a>)? { $($methods)* } }
            }
        )*

        /// Any method.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Method<'a> {
            $(
                #[doc = concat!("A method of the class ", stringify!($class), ".")]
                $Class($class::Method $(<$a>)?),
            )*
        }

        impl<'a> Method<'a> {
            /// Reads the payload of a method frame. Octets behind the last argument are let pass,
            /// since peers do send them.
            #[inline]
            pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(payload);
                let class_id = reader.u16()?;
                let method_id = reader.u16()?;
                match class_id {
                    $($class_id => {
                        $class::Method::decode(method_id, reader.rest()).map(Self::$Class)
                    })*
                    _ => Err(DecodeError::UnknownMethod { class_id, method_id }),
                }
            }

            /// Appends the payload of a method frame: what [`decode`](Self::decode) reads. On an
            /// error `out` is as it was. For a method whose type is known,
            /// [`encode_method`](crate::protocol::encode_method) makes the whole frame.
            pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $(Self::$Class(method) => method.encode(out),)*
                }
            }

            /// The name of the method in AMQP, such as "queue.declare".
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Class(method) => method.name(),)*
                }
            }

            /// The class id and the method id.
            pub fn ids(&self) -> (u16, u16) {
                match self {
                    $(Self::$Class(method) => method.ids(),)*
                }
            }
        }
    };
}

/// Makes what is in a class's module.
macro_rules! define_class {
    (
        $class_id:literal $class:ident $Class:ident $(<$a:lifetime>)? {
            $(
                $(#[$meta:meta])*
                $method_id:literal $name:literal $Method:ident $(<$b:lifetime>)? $(-> $Reply:ty)? {
                    $($fields:tt)*
                }
            )*
        }
    ) => {
        $(
            define_method! {
                @sort {
                    {
                        $(#[$meta])*
                        #[doc = concat!(
                            "\n\nAMQP: `", stringify!($class), ".", $name, "`, ",
                            stringify!($class_id), ".", stringify!($method_id), ".",
                        )]
                    }
                    $Class { $Method $(<$b>)? } $class_id $method_id
                    (concat!(stringify!($class), ".", $name)) { $($Reply)? }
                } {} {} $($fields)*
            }
        )*

        #[doc = concat!("Any method of the class ", stringify!($class), ".")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Method $(<$a>)? {
            $(
                #[doc = concat!("`", stringify!($class), ".", $name, "`.")]
                $Method($Method $(<$b>)?),
            )*
        }

        impl $(<$a>)? Method $(<$a>)? {
            #[inline]
            pub(super) fn decode(
                method_id: u16,
                arguments: & $($a)? [u8],
            ) -> Result<Self, DecodeError> {
                match method_id {
                    $($method_id => DecodeMethod::decode(arguments).map(Self::$Method),)*
                    _ => Err(DecodeError::UnknownMethod { class_id: $class_id, method_id }),
                }
            }

            pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $(Self::$Method(method) => encode_payload(method, out),)*
                }
            }

            /// The name of the method in AMQP, with that of its class.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Method(_) => $Method::NAME,)*
                }
            }

            /// The class id and the method id.
            pub fn ids(&self) -> (u16, u16) {
                match self {
                    $(Self::$Method(_) => ($class_id, $method_id),)*
                }
            }
        }

        #[cfg(test)]
        #[expect(non_snake_case, reason = "a test has the name of its method")]
        mod round_trip {
            $(
                #[test]
                fn $Method() {
                    $crate::protocol::arbitrary::check_method::<super::$Method>();
                }
            )*
        }
    };
}

/// Makes a method's struct and its traits.
macro_rules! define_method {
    // Sorts the fields: into the first list go all, as (pattern, type, value to encode); into the
    // second those of the struct, as (docs, name, type, default, value to print).
    (@sort $head:tt { $($wire:tt)* } { $($fields:tt)* }
        _: $Type:ty, $($rest:tt)*
    ) => {
        define_method! {
            @sort $head
            { $($wire)* (_, $Type, &<$Type>::default()) }
            { $($fields)* }
            $($rest)*
        }
    };
    (@sort $head:tt { $($wire:tt)* } { $($fields:tt)* }
        $(#[$meta:meta])* secret $field:ident: $Type:ty, $($rest:tt)*
    ) => {
        define_method! {
            @sort $head
            { $($wire)* ($field, $Type, $field) }
            { $($fields)* ($(#[$meta])*, $field, $Type, Default::default(), &Redacted) }
            $($rest)*
        }
    };
    (@sort $head:tt { $($wire:tt)* } { $($fields:tt)* }
        $(#[$meta:meta])* $field:ident: $Type:ty = $default:expr, $($rest:tt)*
    ) => {
        define_method! {
            @sort $head
            { $($wire)* ($field, $Type, $field) }
            { $($fields)* ($(#[$meta])*, $field, $Type, $default, $field) }
            $($rest)*
        }
    };
    (@sort $head:tt { $($wire:tt)* } { $($fields:tt)* }
        $(#[$meta:meta])* $field:ident: $Type:ty, $($rest:tt)*
    ) => {
        define_method! {
            @sort $head
            { $($wire)* ($field, $Type, $field) }
            { $($fields)* ($(#[$meta])*, $field, $Type, Default::default(), $field) }
            $($rest)*
        }
    };

    // All are sorted.
    (@sort
        {
            { $(#[$meta:meta])* } $Class:ident { $Method:ident $(<$a:lifetime>)? }
            $class_id:literal $method_id:literal $name:tt { $($Reply:ty)? }
        }
        { $(($pattern:tt, $WireType:ty, $value:expr))* }
        { $(($(#[$field_meta:meta])*, $field:ident, $Type:ty, $default:expr, $shown:expr))* }
    ) => {
        define_method! {
            @struct { $(#[$meta])* } { $Method $(<$a>)? }
            $($(#[$field_meta])* pub $field: $Type,)*
        }
        define_method! { @owned $Class { $Method $(<$a>)? } $($field)* }

        impl $(<$a>)? Default for $Method $(<$a>)? {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $(<$a>)? fmt::Debug for $Method $(<$a>)? {
            #[allow(unused_variables, reason = "a secret is not printed")]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($field,)* } = self;
                f.debug_struct(stringify!($Method))
                    $(.field(stringify!($field), $shown))*
                    .finish()
            }
        }

        impl $(<$a>)? EncodeMethod for $Method $(<$a>)? {
            const CLASS_ID: u16 = $class_id;
            const METHOD_ID: u16 = $method_id;
            const NAME: &'static str = $name;

            #[inline]
            #[allow(unused_mut, reason = "there are methods without arguments")]
            fn encoded_len(&self) -> Result<usize, EncodeError> {
                let Self { $($field,)* } = self;
                let mut length = ArgumentsLen::default();
                $(length.add::<$WireType>($value)?;)*
                Ok(length.total())
            }

            #[inline(always)]
            #[allow(unused_mut, unused_variables, reason = "there are methods without arguments")]
            fn encode(&self, to: &mut Writer<'_>) {
                let Self { $($field,)* } = self;
                let mut arguments = ArgumentsWriter::new(to);
                $(arguments.put::<$WireType>($value);)*
                arguments.end_bits();
            }
        }

        impl<'a> DecodeMethod<'a> for $Method $(<$a>)? {
            #[inline]
            #[allow(unused_mut, unused_variables, reason = "there are methods without arguments")]
            fn decode(arguments: &'a [u8]) -> Result<Self, DecodeError> {
                let mut arguments = ArgumentsReader::new(arguments);
                $(let $pattern: $WireType = arguments.take()?;)*
                Ok(Self { $($field,)* })
            }
        }

        define_method! { @request { impl $(<$a>)? Request for $Method $(<$a>)? } $($Reply)? }
    };

    (@request { $($impl:tt)* }) => {};
    (@request { $($impl:tt)* } $Reply:ty) => {
        $($impl)* {
            type Reply = $Reply;
        }
    };

    (@struct { $(#[$meta:meta])* } { $Method:ident }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $Method;
    };
    (@struct { $(#[$meta:meta])* } { $Method:ident $(<$a:lifetime>)? } $($fields:tt)+) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $Method $(<$a>)? { $($fields)+ }
    };

    (@owned $Class:ident { $Method:ident } $($field:ident)*) => {
        define_method! { @reply $Class $Method { $Method } {} $($field)* }
    };
    (@owned $Class:ident { $Method:ident<$a:lifetime> } $($field:ident)*) => {
        impl<$a> $Method<$a> {
            /// The same method, free of what it borrows from.
            pub fn into_owned(self) -> $Method<'static> {
                let Self { $($field,)* } = self;
                $Method { $($field: IntoOwned::into_owned($field),)* }
            }
        }

        define_method! { @reply $Class $Method { $Method<'static> } { .into_owned() } $($field)* }
    };

    (@reply $Class:ident $Method:ident
        { $Owned:ty } { $($into_owned:tt)* } $($field:ident)*
    ) => {
        impl ReplyMethod for $Owned {
            fn from_method(method: super::Method<'_>) -> Option<Self> {
                match method {
                    super::Method::$Class(Method::$Method(method)) => {
                        Some(method $($into_owned)*)
                    }
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        impl proptest::arbitrary::Arbitrary for $Owned {
            type Parameters = ();
            type Strategy = proptest::strategy::BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                let all = $crate::protocol::arbitrary::just_default::<Self>();
                $(
                    let all = $crate::protocol::arbitrary::with_field(all, |method, value| {
                        method.$field = value;
                    });
                )*
                all
            }
        }
    };
}
