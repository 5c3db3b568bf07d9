//! Values of every type for property tests, and the property that every method has.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::method::{METHOD_IDS_LEN, encode_payload};
use super::{
    DecodeError, EncodeMethod, FieldArray, FieldTable, FieldValue, LongStr, Method, ReplyMethod,
    ShortStr,
};

pub(super) fn just_default<T: Default + Clone + Debug + 'static>() -> BoxedStrategy<T> {
    Just(T::default()).boxed()
}

/// Makes the field that `set` sets arbitrary too.
pub(super) fn with_field<T: Debug + 'static, V: Arbitrary + 'static>(
    strategy: BoxedStrategy<T>,
    set: fn(&mut T, V),
) -> BoxedStrategy<T> {
    let both = (strategy, any::<V>());
    both.prop_map(move |(mut value, field)| {
        set(&mut value, field);
        value
    })
    .boxed()
}

/// What is encoded is decoded, by every way there is; any cut is an error, anything behind is not.
pub(super) fn check_method<M>()
where
    M: EncodeMethod + ReplyMethod + Arbitrary + Clone + Debug + PartialEq,
{
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    let outcome = runner.run(&any::<M>(), |method| {
        let mut payload = Vec::new();
        encode_payload(&method, &mut payload)?;
        prop_assert_eq!(method.encoded_len(), Ok(payload.len() - METHOD_IDS_LEN));

        let decoded = Method::decode(&payload)?;
        prop_assert_eq!(decoded.name(), M::NAME);
        prop_assert_eq!(decoded.ids(), (M::CLASS_ID, M::METHOD_ID));
        let mut again = Vec::new();
        decoded.encode(&mut again)?;
        prop_assert_eq!(&again, &payload);
        prop_assert_eq!(M::from_method(decoded), Some(method.clone()));

        for cut in 0..payload.len() {
            let decoded = Method::decode(&payload[..cut]);
            let truncated = matches!(decoded, Err(DecodeError::Truncated { .. }));
            prop_assert!(truncated, "cut at {}: {:?}", cut, decoded);
        }
        payload.extend(b"trailing");
        prop_assert_eq!(M::from_method(Method::decode(&payload)?), Some(method));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{}: {failure}", M::NAME);
    }
}

macro_rules! arbitrary {
    ($($Type:ident: $strategy:expr;)*) => {$(
        impl Arbitrary for $Type<'static> {
            type Parameters = ();
            type Strategy = BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                $strategy.boxed()
            }
        }
    )*};
}

arbitrary! {
    ShortStr: prop_oneof![
        3 => "[a-z.]{0,20}".prop_map(Self::from),
        1 => vec(any::<u8>(), 0..=255).prop_map(Self::from),
    ];
    LongStr: vec(any::<u8>(), 0..=300).prop_map(Self::from);
    FieldTable: any_table(any_value());
    FieldArray: any_array(any_value());
    FieldValue: any_value();
}

/// A value of any tag, with tables and arrays in each other.
fn any_value() -> impl Strategy<Value = FieldValue<'static>> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<f32>().prop_map(FieldValue::F32),
        any::<f64>().prop_map(FieldValue::F64),
        any::<(u8, i32)>().prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
        any::<LongStr<'static>>().prop_map(FieldValue::LongString),
        any::<u64>().prop_map(FieldValue::Timestamp),
        Just(FieldValue::Void),
        any::<LongStr<'static>>().prop_map(FieldValue::Bytes),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            any_table(inner.clone()).prop_map(FieldValue::Table),
            any_array(inner).prop_map(FieldValue::Array),
        ]
    })
}

fn any_table(
    value: impl Strategy<Value = FieldValue<'static>>,
) -> impl Strategy<Value = FieldTable<'static>> {
    vec((any::<ShortStr<'static>>(), value), 0..4).prop_map(|entries| {
        let mut table = FieldTable::new();
        for (name, value) in entries {
            table.insert(name, value).unwrap();
        }
        table
    })
}

fn any_array(
    value: impl Strategy<Value = FieldValue<'static>>,
) -> impl Strategy<Value = FieldArray<'static>> {
    vec(value, 0..4).prop_map(|values| {
        let mut array = FieldArray::new();
        for value in values {
            array.push(value).unwrap();
        }
        array
    })
}
