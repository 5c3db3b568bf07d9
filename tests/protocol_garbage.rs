//! Bytes that mean nothing, or nearly something: never a panic, and what can be decoded at all is
//! the same after it has been encoded.

use haypile::protocol::{
    BasicProperties, ContentHeader, FieldArray, FieldTable, FieldValue, Frame, Method,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes with many small numbers, which make plausible lengths, and many tags.
fn garbage(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => Just(0u8),
        4 => 1..8u8,
        3 => proptest::sample::select(b"tbBsuIilfdDSATFVx".as_slice()),
        2 => any::<u8>(),
    ];
    vec(octet, 0..length)
}

fn ids() -> impl Strategy<Value = [u8; 4]> {
    let class = proptest::sample::select([10u8, 20, 40, 50, 60, 85, 90].as_slice());
    let method = proptest::sample::select(
        [10u8, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71, 72, 80, 90, 100, 110, 111, 120]
            .as_slice(),
    );
    (class, method).prop_map(|(class, method)| [0, class, 0, method])
}

/// Walks through all that is in a table, printing it on the way, and builds it again.
fn rebuild_table(table: &FieldTable<'_>) -> Option<FieldTable<'static>> {
    let mut again = FieldTable::new();
    for entry in table {
        let (name, value) = entry.ok()?;
        again.insert(name.into_owned(), rebuild(value)?).expect("what was decoded can be encoded");
    }
    Some(again)
}

fn rebuild_array(array: &FieldArray<'_>) -> Option<FieldArray<'static>> {
    let mut again = FieldArray::new();
    for value in array {
        again.push(rebuild(value.ok()?)?).expect("what was decoded can be encoded");
    }
    Some(again)
}

fn rebuild(value: FieldValue<'_>) -> Option<FieldValue<'static>> {
    match value {
        FieldValue::Table(table) => rebuild_table(&table).map(FieldValue::Table),
        FieldValue::Array(array) => rebuild_array(&array).map(FieldValue::Array),
        // Any octet but 0 is true, so the same bytes do not come out again.
        FieldValue::Bool(_) => None,
        value => Some(value.into_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn methods(ids in ids(), arguments in garbage(80)) {
        let payload = [ids.as_slice(), &arguments].concat();
        if let Ok(method) = Method::decode(&payload) {
            prop_assert_eq!(format!("{method:?}").find(char::is_uppercase), Some(0));
            let mut encoded = Vec::new();
            method.encode(&mut encoded)?;
            prop_assert!(encoded.len() <= payload.len() + 8, "reserved strings become empty");
            prop_assert_eq!(Method::decode(&encoded)?, method);
        }
    }

    #[test]
    fn methods_of_any_ids(payload in vec(any::<u8>(), 0..64)) {
        if let Ok(method) = Method::decode(&payload) {
            let (class_id, method_id) = method.ids();
            prop_assert_eq!(&payload[..2], class_id.to_be_bytes());
            prop_assert_eq!(&payload[2..4], method_id.to_be_bytes());
        }
    }

    #[test]
    fn frames(
        kind in prop_oneof![1..4u8, Just(8), any::<u8>()],
        rest in garbage(40),
        frame_max in prop_oneof![Just(0), 0..64u32, any::<u32>()],
    ) {
        let input = [&[kind], rest.as_slice()].concat();
        if let Ok(Some((frame, length))) = Frame::parse(&input, frame_max) {
            prop_assert!(length <= input.len());
            prop_assert_eq!(frame.payload.len() + 8, length);
            prop_assert_eq!(input[length - 1], 0xCE);
            prop_assert!(frame_max == 0 || length <= frame_max as usize);
        }
    }

    #[test]
    fn content_headers(payload in garbage(60)) {
        if let Ok(header) = ContentHeader::decode(&payload) {
            prop_assert_eq!(header.properties, &payload[12..]);
            // The same or an error, but no panic: that is checked in the test of properties.
            let direct = BasicProperties::decode(header.properties);
            prop_assert_eq!(header.decode_properties(), direct);
        }
    }

    #[test]
    fn properties(flags: u16, values in garbage(120)) {
        let encoded = [flags.to_be_bytes().as_slice(), &values].concat();
        if let Ok(properties) = BasicProperties::decode(&encoded) {
            prop_assert_eq!(format!("{properties:?}").find("BasicProperties"), Some(0));
            let mut again = Vec::new();
            properties.encode(&mut again).unwrap();
            prop_assert!(again.len() <= encoded.len());
            prop_assert_eq!(BasicProperties::decode(&again)?, properties);
        }
    }

    #[test]
    fn tables(encoded in garbage(120)) {
        let table = FieldTable::from_encoded(encoded.as_slice());
        prop_assert_eq!(format!("{table:?}").find('{'), Some(0));
        if let Some(again) = rebuild_table(&table) {
            prop_assert_eq!(again, table);
        }
        let array = FieldArray::from_encoded(encoded.as_slice());
        prop_assert_eq!(format!("{array:?}").find('['), Some(0));
        if let Some(again) = rebuild_array(&array) {
            prop_assert_eq!(again, array);
        }
    }
}
