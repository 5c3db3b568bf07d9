//! The properties' flags, one by one, and headers that peers send or should not send.

use haypile::protocol::{BasicProperties, DecodeError, EncodeError, FieldTable};

/// Every property with its bit and its value on the wire.
fn each() -> Vec<(u8, BasicProperties<'static>, Vec<u8>)> {
    let none = BasicProperties::default;
    let table = FieldTable::new().with("k", true).expect("a short name");
    vec![
        (15, BasicProperties { content_type: Some("a".into()), ..none() }, b"\x01a".into()),
        (14, BasicProperties { content_encoding: Some("b".into()), ..none() }, b"\x01b".into()),
        (13, BasicProperties { headers: Some(table), ..none() }, b"\0\0\0\x04\x01kt\x01".into()),
        (12, BasicProperties { delivery_mode: Some(2), ..none() }, b"\x02".into()),
        (11, BasicProperties { priority: Some(9), ..none() }, b"\x09".into()),
        (10, BasicProperties { correlation_id: Some("c".into()), ..none() }, b"\x01c".into()),
        (9, BasicProperties { reply_to: Some("d".into()), ..none() }, b"\x01d".into()),
        (8, BasicProperties { expiration: Some("60".into()), ..none() }, b"\x0260".into()),
        (7, BasicProperties { message_id: Some("e".into()), ..none() }, b"\x01e".into()),
        (
            6,
            BasicProperties { timestamp: Some(0x0102_0304_0506_0708), ..none() },
            b"\x01\x02\x03\x04\x05\x06\x07\x08".into(),
        ),
        (5, BasicProperties { message_type: Some("f".into()), ..none() }, b"\x01f".into()),
        (4, BasicProperties { user_id: Some("g".into()), ..none() }, b"\x01g".into()),
        (3, BasicProperties { app_id: Some("h".into()), ..none() }, b"\x01h".into()),
        (2, BasicProperties { cluster_id: Some("i".into()), ..none() }, b"\x01i".into()),
    ]
}

#[test]
fn each_property_has_its_bit() {
    let each = each();
    assert_eq!(each.len(), 14);
    for (bit, properties, value) in each {
        let expected = [(1u16 << bit).to_be_bytes().as_slice(), &value].concat();
        let mut encoded = Vec::new();
        properties.encode(&mut encoded).unwrap();
        assert_eq!(encoded, expected, "bit {bit}");
        assert_eq!(BasicProperties::decode(&expected), Ok(properties));
    }
}

#[test]
fn values_follow_in_the_order_of_the_bits() {
    let values: Vec<u8> = each().into_iter().flat_map(|(_, _, value)| value).collect();
    let encoded = [b"\xff\xfc".as_slice(), &values].concat();
    let properties = BasicProperties::decode(&encoded).unwrap();
    let mut again = Vec::new();
    properties.encode(&mut again).unwrap();
    assert_eq!(again, encoded);
    assert_eq!(
        format!("{properties:?}"),
        "BasicProperties { content_type: \"a\", content_encoding: \"b\", \
         headers: {\"k\": Bool(true)}, delivery_mode: 2, priority: 9, correlation_id: \"c\", \
         reply_to: \"d\", expiration: \"60\", message_id: \"e\", \
         timestamp: 72623859790382856, message_type: \"f\", user_id: \"g\", app_id: \"h\", \
         cluster_id: \"i\" }"
    );
}

#[test]
fn empty_is_not_absent() {
    let mut encoded = Vec::new();
    BasicProperties::default().encode(&mut encoded).unwrap();
    assert_eq!(encoded, b"\0\0");
    assert_eq!(BasicProperties::decode(&encoded), Ok(BasicProperties::default()));

    let empty = BasicProperties {
        reply_to: Some("".into()),
        headers: Some(FieldTable::new()),
        ..Default::default()
    };
    encoded.clear();
    empty.encode(&mut encoded).unwrap();
    assert_eq!(encoded, b"\x22\0\0\0\0\0\0");
    assert_eq!(BasicProperties::decode(&encoded), Ok(empty));
}

#[test]
fn further_flag_words_and_trailing_octets_are_let_pass() {
    let priority = BasicProperties { priority: Some(3), ..Default::default() };
    for encoded in [
        b"\x08\x00\x03".as_slice(),
        b"\x08\x00\x03 and more",
        b"\x08\x01\x00\x00\x03",
        b"\x08\x01\x80\x01\x40\x00\x03 and more",
    ] {
        assert_eq!(BasicProperties::decode(encoded), Ok(priority.clone()));
    }
    // Flag words without an end.
    let truncated = DecodeError::Truncated { needed: 2, available: 0 };
    assert_eq!(BasicProperties::decode(&[0, 1].repeat(100)), Err(truncated));
}

#[test]
fn a_property_that_does_not_exist_is_an_error() {
    let error = DecodeError::UnknownProperty(2);
    assert_eq!(error.reply_code(), 502);
    assert_eq!(BasicProperties::decode(b"\0\x02\x01x"), Err(error));
}

#[test]
fn every_string_is_checked() {
    let long = "x".repeat(256);
    let error = EncodeError::ShortStringTooLong { length: 256 };
    let none = BasicProperties::default;
    for properties in [
        BasicProperties { content_type: Some((&long).into()), ..none() },
        BasicProperties { content_encoding: Some((&long).into()), ..none() },
        BasicProperties { correlation_id: Some((&long).into()), ..none() },
        BasicProperties { reply_to: Some((&long).into()), ..none() },
        BasicProperties { expiration: Some((&long).into()), ..none() },
        BasicProperties { message_id: Some((&long).into()), ..none() },
        BasicProperties { message_type: Some((&long).into()), ..none() },
        BasicProperties { user_id: Some((&long).into()), ..none() },
        BasicProperties { app_id: Some((&long).into()), ..none() },
        BasicProperties { cluster_id: Some((&long).into()), ..none() },
    ] {
        assert_eq!(properties.encoded_len(), Err(error.clone()));
    }
}
