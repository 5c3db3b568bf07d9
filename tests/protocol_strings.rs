//! Short and long strings.

use std::collections::HashMap;

use bytes::Bytes;
use haypile::protocol::{EncodeError, EncodeMethod, LongStr, ShortStr, basic, connection};

#[test]
fn all_conversions_hold_the_same_bytes() {
    let owned = String::from("text");
    let strings: [ShortStr<'_>; 8] = [
        "text".into(),
        (&owned).into(),
        owned.clone().into(),
        b"text".into(),
        b"text".as_slice().into(),
        b"text".to_vec().into(),
        Bytes::from_static(b"text").into(),
        ShortStr::from("text").into_owned(),
    ];
    for string in &strings {
        assert_eq!(string, &strings[0]);
        assert_eq!(*string, "text");
        assert_eq!(*string, *owned.as_str());
        assert_eq!(string.as_bytes(), b"text");
        assert_eq!(string.to_str(), Ok("text"));
        assert_eq!(string.len(), 4);
        assert!(!string.is_empty());
        assert_eq!(string.as_borrowed(), *string);
        assert_eq!(ShortStr::from(string), *string);
        assert_eq!(
            (format!("{string}"), format!("{string:?}")),
            ("text".into(), "\"text\"".into())
        );
    }
    assert!(ShortStr::default().is_empty());
    assert_eq!(LongStr::default(), "");
}

#[test]
fn what_is_not_utf8_is_kept_and_printed_with_replacements() {
    let string = ShortStr::from(b"a\xffb");
    assert!(string.to_str().is_err());
    assert_eq!(string.to_string_lossy(), "a\u{fffd}b");
    assert_eq!(string.to_string(), "a\u{fffd}b");
    assert_eq!(string.into_owned().as_bytes(), b"a\xffb");
}

#[test]
fn clones_of_an_owned_string_share_it() {
    let string = ShortStr::from("text").into_owned();
    let clone = string.clone().into_owned();
    assert_eq!(string.as_bytes().as_ptr(), clone.as_bytes().as_ptr());
}

#[test]
fn order_and_hash_are_those_of_the_bytes() {
    let [a, b] = [ShortStr::from("a"), ShortStr::from("b").into_owned()];
    assert!(a < b);
    let consumers = HashMap::from([(ShortStr::from("tag").into_owned(), 1)]);
    assert_eq!(consumers.get(&ShortStr::from("tag")), Some(&1));
    assert_eq!(consumers.get(b"tag".as_slice()), Some(&1));
    assert_eq!(consumers.get(b"gat".as_slice()), None);
}

#[test]
fn a_short_string_has_at_most_255_bytes() {
    let text = "x".repeat(256);
    let longest = basic::ConsumeOk { consumer_tag: (&text[..255]).into() };
    assert_eq!(longest.encoded_len(), Ok(256));
    let too_long = basic::ConsumeOk { consumer_tag: (&text).into() };
    assert_eq!(too_long.encoded_len(), Err(EncodeError::ShortStringTooLong { length: 256 }));
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_long_string_has_at_most_u32_max_bytes() {
    // Zeroed memory that is never touched costs address space alone.
    let text = vec![0u8; 1 << 32];
    let longest = connection::Secure { challenge: text[1..].into() };
    assert_eq!(longest.encoded_len(), Ok(4 + u32::MAX as usize));
    let too_long = connection::Secure { challenge: text.as_slice().into() };
    assert_eq!(too_long.encoded_len(), Err(EncodeError::LongStringTooLong { length: 1 << 32 }));
}
