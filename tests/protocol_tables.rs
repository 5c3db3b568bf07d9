//! Field tables and arrays: every tag, every cut, and what no peer should send.

use haypile::protocol::{
    DecodeError, EncodeError, FieldArray, FieldTable, FieldValue, LongStr, Method, queue,
};

/// One value of every tag, with its bytes.
fn every_tag() -> Vec<(FieldValue<'static>, &'static [u8])> {
    let table = FieldTable::from_encoded(b"\x01at\x01");
    let array = FieldArray::from_encoded(b"VB\x07");
    vec![
        (FieldValue::Bool(true), b"t\x01"),
        (FieldValue::Bool(false), b"t\x00"),
        (FieldValue::I8(-2), b"b\xfe"),
        (FieldValue::U8(254), b"B\xfe"),
        (FieldValue::I16(-2), b"s\xff\xfe"),
        (FieldValue::U16(0xFFFE), b"u\xff\xfe"),
        (FieldValue::I32(-2), b"I\xff\xff\xff\xfe"),
        (FieldValue::U32(0xFFFF_FFFE), b"i\xff\xff\xff\xfe"),
        (FieldValue::I64(-2), b"l\xff\xff\xff\xff\xff\xff\xff\xfe"),
        (FieldValue::F32(-1.5), b"f\xbf\xc0\x00\x00"),
        (FieldValue::F64(-1.5), b"d\xbf\xf8\x00\x00\x00\x00\x00\x00"),
        (FieldValue::Decimal { scale: 2, value: -314 }, b"D\x02\xff\xff\xfe\xc6"),
        (FieldValue::LongString("text".into()), b"S\x00\x00\x00\x04text"),
        (FieldValue::Array(array), b"A\x00\x00\x00\x03VB\x07"),
        (FieldValue::Timestamp(1_700_000_000), b"T\x00\x00\x00\x00\x65\x53\xf1\x00"),
        (FieldValue::Table(table), b"F\x00\x00\x00\x04\x01at\x01"),
        (FieldValue::Void, b"V"),
        (FieldValue::Bytes(b"\x00\xff".into()), b"x\x00\x00\x00\x02\x00\xff"),
    ]
}

#[test]
fn every_tag_has_its_bytes() {
    for (value, bytes) in every_tag() {
        let mut table = FieldTable::new();
        table.insert("key", value.clone()).unwrap();
        assert_eq!(table.encoded(), [b"\x03key", bytes].concat(), "{value:?}");
        assert_eq!(table.get("key"), Ok(Some(value.clone())));

        let array = FieldArray::new().with(value.clone()).unwrap();
        assert_eq!(array.encoded(), bytes);
        let decoded = array.iter().next().unwrap().unwrap();
        assert_eq!(decoded.into_owned(), value);
    }
}

#[test]
fn a_boolean_is_true_whatever_is_not_zero() {
    let table = FieldTable::from_encoded(b"\x01at\x07");
    assert_eq!(table.get("a"), Ok(Some(FieldValue::Bool(true))));
}

#[test]
fn values_come_from_the_types_they_are_made_of() {
    let values: [FieldValue<'_>; 13] = [
        true.into(),
        1i8.into(),
        1u8.into(),
        1i16.into(),
        1u16.into(),
        1i32.into(),
        1u32.into(),
        1i64.into(),
        1f32.into(),
        1f64.into(),
        "text".into(),
        String::from("text").into(),
        FieldTable::new().into(),
    ];
    let printed: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    let expected = [
        "Bool(true)",
        "I8(1)",
        "U8(1)",
        "I16(1)",
        "U16(1)",
        "I32(1)",
        "U32(1)",
        "I64(1)",
        "F32(1.0)",
        "F64(1.0)",
        "LongString(\"text\")",
        "LongString(\"text\")",
        "{}",
    ];
    assert_eq!(printed, expected);
    let numbers: Vec<_> = values.iter().map(FieldValue::as_i64).collect();
    assert_eq!(numbers, [vec![None], vec![Some(1); 7], vec![None; 5]].concat());
    let texts: Vec<_> = values.iter().filter_map(FieldValue::as_str).collect();
    assert_eq!(texts, ["text", "text"]);
}

#[test]
fn entries_keep_their_order_and_the_first_of_a_name_is_found() {
    let table = FieldTable::new().with("b", 1).unwrap().with("a", 2).unwrap().with("b", 3).unwrap();
    let entries: Result<Vec<_>, _> = table.iter().collect();
    let expected = [("b", 1), ("a", 2), ("b", 3)];
    assert_eq!(entries.unwrap(), expected.map(|(name, value)| (name.into(), value.into())));
    assert_eq!(table.get("b"), Ok(Some(FieldValue::I32(1))));
    assert_eq!(table.get("c"), Ok(None));
    assert_eq!(format!("{table:?}"), r#"{"b": I32(1), "a": I32(2), "b": I32(3)}"#);
    assert!(!table.is_empty());
    assert!(FieldTable::new().is_empty());
}

#[test]
fn clones_do_not_see_what_is_added_to_the_original() {
    let mut table = FieldTable::new().with("a", 1).unwrap();
    let clone = table.clone();
    table.insert("b", 2).unwrap();
    assert_eq!(clone, FieldTable::new().with("a", 1).unwrap());
    assert_eq!(table.get("b"), Ok(Some(FieldValue::I32(2))));

    let mut borrowed = FieldTable::from_encoded(b"\x01at\x01");
    borrowed.insert("b", 2).unwrap();
    assert_eq!(borrowed.encoded(), b"\x01at\x01\x01bI\x00\x00\x00\x02");
    assert_eq!(borrowed.clone().into_owned(), borrowed);
}

#[test]
fn what_cannot_be_encoded_leaves_table_and_array_alone() {
    let mut table = FieldTable::new().with("a", 1).unwrap();
    let before = table.clone();
    let error = EncodeError::ShortStringTooLong { length: 256 };
    assert_eq!(table.insert("k".repeat(256), 1), Err(error));
    assert_eq!(table.insert("k".repeat(255), FieldTable::new()), Ok(()));
    assert_eq!(&table.encoded()[..before.encoded().len()], before.encoded());
}

#[test]
#[cfg(target_pointer_width = "64")]
fn lengths_are_limited_to_32_bits() {
    // Zeroed memory that is never touched costs address space alone.
    let bytes = vec![0u8; 1 << 32];
    let long = LongStr::from(bytes.as_slice());
    let error = EncodeError::LongStringTooLong { length: 1 << 32 };
    let mut table = FieldTable::new();
    assert_eq!(table.insert("a", long), Err(error));
    let error = EncodeError::TableTooLong { length: 1 << 32 };
    assert_eq!(table.insert("a", FieldTable::from_encoded(&bytes[..])), Err(error.clone()));
    assert_eq!(table.insert("a", FieldArray::from_encoded(&bytes[..])), Err(error));
    assert!(table.is_empty());
}

#[test]
fn a_cut_anywhere_is_found_and_ends_the_iteration() {
    let mut table = FieldTable::new();
    let mut ends = vec![0];
    for (index, (value, _)) in every_tag().into_iter().enumerate() {
        table.insert(format!("key {index}"), value).unwrap();
        ends.push(table.encoded().len());
    }
    for cut in 0..=table.encoded().len() {
        let part = FieldTable::from_encoded(&table.encoded()[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        let mut entries = part.iter();
        assert_eq!(entries.by_ref().take(whole).filter(Result::is_ok).count(), whole);
        if ends.contains(&cut) {
            assert_eq!(entries.next(), None);
        } else {
            let error = entries.next().unwrap().unwrap_err();
            assert!(matches!(error, DecodeError::Truncated { .. }), "{error:?}");
            assert_eq!(entries.next(), None);
            assert_eq!(part.get("no such key"), Err(error));
            assert!(format!("{part:?}").contains("malformed: Truncated"));
        }
    }
}

#[test]
fn unknown_tags() {
    let known = b"tbBsuIilfdDSATFVx";
    for tag in (0..=255u8).filter(|tag| !known.contains(tag)) {
        let encoded = [b"\x01a".as_slice(), &[tag], &[0; 20]].concat();
        let table = FieldTable::from_encoded(&encoded[..]);
        let error = DecodeError::UnknownFieldType(tag);
        assert_eq!(error.reply_code(), 502);
        assert_eq!(table.iter().collect::<Vec<_>>(), [Err(error.clone())]);
        let array = FieldArray::from_encoded(&encoded[2..]);
        assert_eq!(array.iter().collect::<Vec<_>>(), [Err(error)]);
        assert_eq!(format!("{array:?}"), format!("[malformed: UnknownFieldType({tag})]"));
    }
}

#[test]
fn strings_need_not_be_utf8() {
    let table = FieldTable::from_encoded(b"\x01\xffS\x00\x00\x00\x02\xc3\x28");
    let (name, value) = table.iter().next().unwrap().unwrap();
    assert_eq!(name.as_bytes(), b"\xff");
    assert_eq!(value, FieldValue::LongString(b"\xc3\x28".into()));
    assert_eq!(value.as_str(), None);
    assert_eq!(format!("{table:?}"), "{\"\u{fffd}\": LongString(\"\u{fffd}(\")}");
}

/// A table in a table, `depth` times, and an array in an array likewise.
fn nested(depth: usize) -> (FieldTable<'static>, FieldArray<'static>) {
    let mut both = (FieldTable::new(), FieldArray::new());
    for _ in 0..depth {
        both.0 = FieldTable::new().with("t", both.0).expect("a short name");
        both.1 = FieldArray::new().with(both.1).expect("a short array");
    }
    both
}

#[test]
fn deep_nesting_needs_no_stack() {
    let work = || {
        let (table, array) = nested(1000);
        let printed = format!("{table:?} {array:?} {table:#?}");
        assert!(printed.contains(r#"{"t": {"t": {"#) && printed.contains("[[["));
        assert!(printed.contains("{...}") && printed.contains("[...]"));
        assert!(printed.len() < 10_000, "{}", printed.len());

        let declare = queue::Declare { arguments: table.clone(), ..Default::default() };
        let mut payload = Vec::new();
        Method::Queue(queue::Method::Declare(declare.clone())).encode(&mut payload).unwrap();
        let decoded = Method::decode(&payload).unwrap();
        assert_eq!(decoded, Method::Queue(queue::Method::Declare(declare)));

        let mut depth = 0;
        let mut inner = table;
        while let Some(value) = inner.get("t").unwrap().map(FieldValue::into_owned) {
            let FieldValue::Table(table) = value else { panic!("{value:?}") };
            (inner, depth) = (table, depth + 1);
        }
        assert_eq!(depth, 1000);
    };
    // Far less than a recursion of that depth would take.
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap();
    thread.join().unwrap();
}
