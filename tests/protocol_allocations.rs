//! What the wire allocates: nothing by what a peer claims, and nothing at all for small messages.

#[path = "support/allocations.rs"]
#[allow(dead_code, reason = "this program uses a part of it")]
mod allocations;

use std::hint::black_box;

use allocations::{Allocations, Counting};
use haypile::protocol::{
    BasicProperties, ContentHeader, FieldTable, FieldValue, Frame, Method, ShortStr, basic,
    encode_body_frame, encode_content_header, encode_heartbeat, encode_method,
};

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `work` allocates, and how many bytes.
fn allocated<T>(work: impl FnOnce() -> T) -> (u64, u64) {
    let before = Allocations::now();
    black_box(work());
    let after = Allocations::now();
    (after.count - before.count, after.asked - before.asked)
}

const CLAIMS: [u32; 3] = [1 << 31, u32::MAX - 8, u32::MAX];

#[test]
fn the_counter_counts() {
    assert_eq!(allocated(|| Box::new(7u64)), (1, 8));
    assert_eq!(allocated(|| vec![0u8; 100]), (1, 100));
}

#[test]
fn frames_allocate_nothing_by_their_claims() {
    for kind in [1, 2, 3, 8] {
        for claim in CLAIMS {
            let input = [&[kind, 0, 1], claim.to_be_bytes().as_slice(), &[0; 100]].concat();
            for frame_max in [0, 4096, u32::MAX] {
                let work = || Frame::parse(&input, frame_max).is_ok();
                assert_eq!(allocated(work), (0, 0));
            }
        }
    }
}

#[test]
fn methods_allocate_nothing_by_their_claims() {
    for claim in CLAIMS {
        let claim = claim.to_be_bytes();
        let payloads = [
            // connection.start: the table, the mechanisms.
            [b"\0\x0a\0\x0a\0\x09".as_slice(), &claim, b"\x01a"].concat(),
            [b"\0\x0a\0\x0a\0\x09\0\0\0\0".as_slice(), &claim, b"PLAIN"].concat(),
            // queue.declare: the arguments.
            [b"\0\x32\0\x0a\0\0\x01q\0".as_slice(), &claim, b"\x01a"].concat(),
        ];
        for payload in payloads {
            assert!(Method::decode(&payload).is_err());
            assert_eq!(allocated(|| Method::decode(&payload).is_err()), (0, 0));
        }
    }
}

#[test]
fn tables_and_properties_allocate_nothing_by_their_claims() {
    for claim in CLAIMS {
        for tag in [b"S", b"x", b"A", b"F"] {
            let entries = [b"\x01a".as_slice(), tag, &claim.to_be_bytes(), b"text"].concat();
            let table = FieldTable::from_encoded(entries.as_slice());
            assert!(table.get("a").is_err());
            assert_eq!(allocated(|| table.iter().count()), (0, 0));
        }
        let headers = [b"\x20\x00".as_slice(), &claim.to_be_bytes(), b"\x01a"].concat();
        assert!(BasicProperties::decode(&headers).is_err());
        assert_eq!(allocated(|| BasicProperties::decode(&headers).is_err()), (0, 0));
    }
}

#[test]
fn a_content_header_allocates_nothing_by_its_body_size() {
    let payload = [b"\0\x3c\0\0".as_slice(), &u64::MAX.to_be_bytes(), &[0, 0]].concat();
    let work = || ContentHeader::decode(&payload).map(|header| header.body_size);
    assert_eq!(work(), Ok(u64::MAX));
    assert_eq!(allocated(work), (0, 0));
}

#[test]
fn a_delivery_is_read_without_allocating() {
    let mut input = Vec::new();
    let deliver = basic::Deliver {
        consumer_tag: "ctag1.7".into(),
        delivery_tag: 7,
        exchange: "events".into(),
        routing_key: "orders.new".into(),
        ..Default::default()
    };
    let headers = FieldTable::new().with("attempt", 1).unwrap().with("trace", "abc").unwrap();
    let properties = BasicProperties {
        content_type: Some("application/json".into()),
        headers: Some(headers),
        timestamp: Some(1_700_000_000),
        ..Default::default()
    };
    encode_method(&mut input, 4096, 1, &deliver).unwrap();
    encode_content_header(&mut input, 4096, 1, 4, &properties).unwrap();
    encode_body_frame(&mut input, 1, b"body");

    let cut = |input| Frame::parse(input, 4096).unwrap().unwrap();
    let work = || {
        let (frame, length) = cut(&input);
        assert_eq!(Method::decode(frame.payload).unwrap().name(), "basic.deliver");
        let rest = &input[length..];
        let (frame, length) = cut(rest);
        let header = ContentHeader::decode(frame.payload).unwrap();
        let properties = header.decode_properties().unwrap();
        let headers = properties.headers.as_ref().unwrap();
        assert_eq!(headers.get("attempt"), Ok(Some(FieldValue::I32(1))));
        let (frame, _) = cut(&rest[length..]);
        assert_eq!(frame.payload.len() as u64, header.body_size);
    };
    assert_eq!(allocated(work), (0, 0));
}

#[test]
fn a_publish_is_written_without_allocating() {
    let properties = BasicProperties {
        content_type: Some("text/plain".into()),
        delivery_mode: Some(BasicProperties::PERSISTENT),
        ..Default::default()
    };
    let mut out = Vec::with_capacity(4096);
    let work = || {
        let publish = basic::Publish {
            exchange: "events".into(),
            routing_key: "orders.new".into(),
            mandatory: true,
            ..Default::default()
        };
        encode_method(&mut out, 4096, 1, &publish).unwrap();
        encode_content_header(&mut out, 4096, 1, 4, &properties).unwrap();
        encode_body_frame(&mut out, 1, b"body");
        encode_heartbeat(&mut out);
    };
    assert_eq!(allocated(work), (0, 0));
    assert!(!out.is_empty());
}

#[test]
fn a_method_grows_the_output_once() {
    let publish = basic::Publish { routing_key: "k".repeat(200).into(), ..Default::default() };
    let mut out = Vec::new();
    let (times, _) = allocated(|| encode_method(&mut out, 4096, 1, &publish).unwrap());
    assert_eq!(times, 1);
}

#[test]
fn owned_strings_and_tables_are_cloned_without_copying() {
    let text = ShortStr::from("text").into_owned();
    let table = FieldTable::new().with("a", 1).unwrap().into_owned();
    let properties = BasicProperties {
        app_id: Some(text.clone()),
        headers: Some(table.clone()),
        ..Default::default()
    };
    // A first clone may make the bytes shareable.
    drop((text.clone(), table.clone(), properties.clone()));
    let work = || (text.clone(), table.clone().into_owned(), properties.clone().into_owned());
    let (_, bytes) = allocated(work);
    assert!(bytes <= 128, "{bytes}");
}
