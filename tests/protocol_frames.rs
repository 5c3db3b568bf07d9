//! Cutting frames from bytes, good and bad, and making frames.

use haypile::protocol::{
    BasicProperties, ContentHeader, DecodeError, EncodeError, FRAME_MIN_SIZE, FieldTable, Frame,
    FrameKind, basic, begin_body_frame, encode_body_frame, encode_content_header, encode_heartbeat,
    encode_method, end_frame, method_frame_len, queue,
};

const KINDS: [(u8, FrameKind); 4] = [
    (1, FrameKind::Method),
    (2, FrameKind::Header),
    (3, FrameKind::Body),
    (8, FrameKind::Heartbeat),
];

/// A frame that claims `size` bytes of payload and has those of `payload`.
fn frame(kind: u8, size: u32, payload: &[u8], end: u8) -> Vec<u8> {
    [&[kind, 0x12, 0x34], size.to_be_bytes().as_slice(), payload, &[end]].concat()
}

#[test]
fn frames_of_every_kind_and_small_size() {
    for (octet, kind) in KINDS {
        for size in 0..=13u8 {
            let payload: Vec<u8> = (0..size).collect();
            let mut input = frame(octet, size.into(), &payload, 0xCE);
            let whole = input.len();
            assert_eq!(whole, usize::from(size) + 8);
            input.extend(b"the next");
            for cut in 0..whole {
                assert_eq!(Frame::parse(&input[..cut], 4096), Ok(None));
                let needed = (cut >= 7).then_some(whole as u64);
                assert_eq!(Frame::needed(&input[..cut]), needed);
            }
            let parsed = Frame { kind, channel: 0x1234, payload: &payload };
            assert_eq!(Frame::parse(&input, 4096), Ok(Some((parsed, whole))));
            // The smallest limit that still holds it, and the first that does not.
            assert_eq!(Frame::parse(&input, whole as u32), Ok(Some((parsed, whole))));
            let too_large =
                DecodeError::FrameTooLarge { size: whole as u64, frame_max: whole as u32 - 1 };
            assert_eq!(Frame::parse(&input, whole as u32 - 1), Err(too_large));
        }
    }
}

#[test]
fn oversized_claims_show_in_the_header() {
    for (octet, _) in KINDS {
        for size in [4096 - 7, 1 << 31, u32::MAX] {
            let input = frame(octet, size, &[], 0xCE);
            let claimed = u64::from(size) + 8;
            let error = DecodeError::FrameTooLarge { size: claimed, frame_max: 4096 };
            assert_eq!(error.reply_code(), 501);
            assert_eq!(Frame::parse(&input[..6], 4096), Ok(None));
            assert_eq!(Frame::parse(&input[..7], 4096), Err(error));
            // Without a limit the rest is waited for.
            assert_eq!(Frame::parse(&input, 0), Ok(None));
            assert_eq!(Frame::needed(&input), Some(claimed));
        }
    }
}

#[test]
fn a_limit_below_any_frame_allows_none() {
    for frame_max in 1..8 {
        let error = DecodeError::FrameTooLarge { size: 8, frame_max };
        assert_eq!(Frame::parse(&frame(8, 0, &[], 0xCE), frame_max), Err(error));
    }
}

#[test]
fn a_frame_as_large_as_the_limit() {
    let payload = vec![7; 4096 - 8];
    let input = frame(3, payload.len() as u32, &payload, 0xCE);
    let (parsed, length) = Frame::parse(&input, 4096).unwrap().unwrap();
    assert_eq!((parsed.payload, length), (payload.as_slice(), 4096));
}

#[test]
fn wrong_end_octets() {
    for (octet, _) in KINDS {
        for size in 0..=13u8 {
            for end in (0..=255).filter(|end| *end != 0xCE) {
                let input = frame(octet, size.into(), &vec![0xCE; size.into()], end);
                let error = DecodeError::FrameEnd(end);
                assert_eq!(error.reply_code(), 501);
                assert_eq!(Frame::parse(&input, 4096), Err(error));
                assert_eq!(Frame::parse(&input[..input.len() - 1], 4096), Ok(None));
            }
        }
    }
}

#[test]
fn unknown_kinds_show_in_the_first_octet() {
    for octet in (0..=255).filter(|octet| ![1, 2, 3, 8].contains(octet)) {
        let error = DecodeError::UnknownFrameKind(octet);
        assert_eq!(error.reply_code(), 501);
        assert_eq!(Frame::parse(&[octet], 4096), Err(error));
    }
    // What a server answers that wants another version of the protocol.
    assert_eq!(Frame::parse(b"AMQP", 4096), Err(DecodeError::UnknownFrameKind(b'A')));
}

#[test]
fn content_headers() {
    let payload = b"\x00\x3c\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x10\x00\x02trailing";
    let header = ContentHeader::decode(payload).unwrap();
    assert_eq!((header.class_id, header.body_size), (60, 0x1_0000_0002));
    let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
    assert_eq!(header.decode_properties(), Ok(properties));
    for cut in 0..12 {
        let error = ContentHeader::decode(&payload[..cut]).unwrap_err();
        assert!(matches!(error, DecodeError::Truncated { .. }), "{error:?}");
        assert_eq!(error.reply_code(), 502);
    }
    // The properties may be malformed without harm to the frame.
    let header = ContentHeader::decode(&payload[..12]).unwrap();
    let error = DecodeError::Truncated { needed: 2, available: 0 };
    assert_eq!(header.decode_properties(), Err(error));
}

#[test]
fn made_frames_are_whole() {
    let mut out = Vec::new();
    let publish = basic::Publish { routing_key: "key".into(), ..Default::default() };
    encode_method(&mut out, FRAME_MIN_SIZE, 5, &publish).unwrap();
    assert_eq!(Ok(out.len()), method_frame_len(&publish));
    let properties = BasicProperties { message_id: Some("7".into()), ..Default::default() };
    encode_content_header(&mut out, FRAME_MIN_SIZE, 5, 9, &properties).unwrap();
    encode_body_frame(&mut out, 5, b"body");
    begin_body_frame(&mut out, 5, 5);
    out.extend(b" more");
    end_frame(&mut out);
    encode_body_frame(&mut out, 5, b"");
    encode_heartbeat(&mut out);

    let mut rest = out.as_slice();
    let mut cut = Vec::new();
    while let Some((frame, length)) = Frame::parse(rest, FRAME_MIN_SIZE).unwrap() {
        cut.push((frame.kind, frame.channel, frame.payload));
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    let [method, header, bodies @ ..] = cut.as_slice() else { panic!("{cut:?}") };
    assert_eq!((method.0, method.1), (FrameKind::Method, 5));
    assert_eq!((header.0, header.1), (FrameKind::Header, 5));
    let header = ContentHeader::decode(header.2).unwrap();
    assert_eq!((header.class_id, header.body_size), (60, 9));
    assert_eq!(header.decode_properties(), Ok(properties));
    let expected: [(_, _, &[u8]); 4] = [
        (FrameKind::Body, 5, b"body"),
        (FrameKind::Body, 5, b" more"),
        (FrameKind::Body, 5, b""),
        (FrameKind::Heartbeat, 0, b""),
    ];
    assert_eq!(bodies, expected);
}

#[test]
fn what_does_not_fit_a_frame_leaves_the_output_alone() {
    let arguments = FieldTable::new().with("x", "y".repeat(5000)).unwrap();
    let declare = queue::Declare { arguments: arguments.clone(), ..Default::default() };
    let size = method_frame_len(&declare).unwrap();
    let mut out = b"before".to_vec();
    let frame_max = size as u32 - 1;
    let error = EncodeError::FrameTooLarge { size, frame_max };
    assert_eq!(encode_method(&mut out, frame_max, 1, &declare), Err(error));
    assert_eq!(out, b"before");
    assert_eq!(encode_method(&mut out, size as u32, 1, &declare), Ok(()));
    assert_eq!(out.len(), 6 + size);
    assert_eq!(encode_method(&mut out, 0, 1, &declare), Ok(()));
    assert_eq!(out.len(), 6 + 2 * size);

    let mut out = b"before".to_vec();
    let properties = BasicProperties { headers: Some(arguments), ..Default::default() };
    let size = 8 + 12 + properties.encoded_len().unwrap();
    let frame_max = size as u32 - 1;
    let error = EncodeError::FrameTooLarge { size, frame_max };
    assert_eq!(encode_content_header(&mut out, frame_max, 1, 0, &properties), Err(error));
    assert_eq!(out, b"before");
    assert_eq!(encode_content_header(&mut out, size as u32, 1, 0, &properties), Ok(()));
    assert_eq!(out.len(), 6 + size);
}

#[test]
fn a_value_that_cannot_be_encoded_leaves_the_output_alone() {
    let name = "n".repeat(256);
    let error = EncodeError::ShortStringTooLong { length: 256 };
    let mut out = b"before".to_vec();
    let declare = queue::Declare { queue: (&name).into(), ..Default::default() };
    assert_eq!(encode_method(&mut out, 0, 1, &declare), Err(error.clone()));
    let properties = BasicProperties { app_id: Some(name.into()), ..Default::default() };
    assert_eq!(encode_content_header(&mut out, 0, 1, 0, &properties), Err(error));
    assert_eq!(out, b"before");
}
