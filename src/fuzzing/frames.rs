//! Bytes as frames: cut, judged early, put together again.

use super::memory::Watch;
use super::print;
use crate::protocol::{
    BasicProperties, ContentHeader, Frame, FrameKind, begin_body_frame, encode_body_frame,
    encode_content_header, end_frame,
};

/// Two octets for `frame_max`, then what came.
pub fn run(data: &[u8]) {
    let Some((limit, mut rest)) = data.split_first_chunk::<2>() else { return };
    let frame_max = match u16::from_be_bytes(*limit) {
        u16::MAX => u32::MAX,
        limit => u32::from(limit),
    };
    while let Ok(Some((frame, size))) = cut(rest, frame_max) {
        print(&frame);
        assert_eq!(frame.payload.len() + 8, size);
        assert!(frame_max == 0 || size <= frame_max as usize);
        assert_eq!(Frame::needed(rest), Some(size as u64));
        match frame.kind {
            FrameKind::Header => content_header(frame.payload),
            FrameKind::Body => body(&frame, &rest[..size]),
            FrameKind::Method | FrameKind::Heartbeat => {}
        }
        rest = &rest[size..];
    }
}

/// Cuts a frame, and sees that nothing is said of fewer bytes that more bytes take back.
fn cut(input: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, ()> {
    let watch = Watch::start();
    let whole = Frame::parse(input, frame_max);
    assert_eq!(watch.most(), 0, "a frame is not copied");
    let end = whole.as_ref().map_or(input.len(), |cut| cut.map_or(input.len(), |(_, size)| size));
    for length in (0..end.min(9)).chain(end.saturating_sub(2)..end) {
        match Frame::parse(&input[..length], frame_max) {
            Ok(None) => {}
            Ok(Some(frame)) => panic!("{frame:?} of the first {length} bytes, {whole:?} of all"),
            Err(early) => assert_eq!(Err(early), whole, "of the first {length} bytes"),
        }
    }
    whole.map_err(drop)
}

fn content_header(payload: &[u8]) {
    let Ok(header) = ContentHeader::decode(payload) else { return };
    print(&header);
    let Ok(properties) = header.decode_properties() else { return };
    print(&properties);
    let mut encoded = Vec::new();
    encode_content_header(&mut encoded, 0, 7, header.body_size, &properties)
        .expect("what was decoded can be encoded");
    let (frame, size) = cut(&encoded, 0).ok().flatten().expect("a frame");
    assert_eq!((frame.kind, frame.channel, size), (FrameKind::Header, 7, encoded.len()));
    let again = ContentHeader::decode(frame.payload).expect("a header");
    assert_eq!((again.class_id, again.body_size), (ContentHeader::CLASS_ID, header.body_size));
    assert_eq!(again.decode_properties(), Ok(properties.clone()));
    // What lies behind the properties is let pass, and nothing else is lost.
    assert!(again.properties.len() <= header.properties.len());
    assert_eq!(BasicProperties::decode(again.properties), Ok(properties.into_owned()));
}

fn body(frame: &Frame<'_>, whole: &[u8]) {
    let mut copied = Vec::new();
    encode_body_frame(&mut copied, frame.channel, frame.payload);
    assert_eq!(copied, whole);
    let mut in_parts = Vec::new();
    begin_body_frame(&mut in_parts, frame.channel, frame.payload.len() as u32);
    in_parts.extend_from_slice(frame.payload);
    end_frame(&mut in_parts);
    assert_eq!(in_parts, whole);
}
