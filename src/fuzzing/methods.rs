//! Bytes as the payload of a method frame: what decodes encodes to the same.

use super::memory::Watch;
use super::print;
use crate::protocol::{DecodeError, Method, connection};

/// The payload of a method frame.
pub fn run(data: &[u8]) {
    let watch = Watch::start();
    let decoded = Method::decode(data);
    assert_eq!(watch.most(), 0, "to decode allocates nothing");
    let Ok(method) = decoded else { return };
    let (class_id, method_id) = method.ids();
    assert_eq!(data[..4], [class_id.to_be_bytes(), method_id.to_be_bytes()].concat());
    print(&method);
    hides_secrets(&method);

    let mut encoded = Vec::new();
    method.encode(&mut encoded).expect("what was decoded can be encoded");
    // A reserved string is sent empty, bits that are not assigned unset, and a missing one is one.
    assert!(encoded.len() <= data.len() + 8);
    assert_eq!(Method::decode(&encoded).as_ref(), Ok(&method));
    let mut again = encoded.clone();
    again.clear();
    Method::decode(&encoded).expect("just seen").encode(&mut again).expect("just seen");
    assert_eq!(again, encoded, "the same bytes from then on");

    for length in 0..encoded.len() {
        let cut = Method::decode(&encoded[..length]);
        let is_truncated = matches!(cut, Err(DecodeError::Truncated { .. }));
        assert!(is_truncated, "{}, cut at {length}: {cut:?}", method.name());
    }
}

/// Another secret does not change what is printed.
fn hides_secrets(method: &Method<'_>) {
    let Method::Connection(method) = method else { return };
    let mut other = method.clone();
    match &mut other {
        connection::Method::StartOk(method) => method.response = "another".into(),
        connection::Method::SecureOk(method) => method.response = "another".into(),
        connection::Method::UpdateSecret(method) => method.new_secret = "another".into(),
        _ => return,
    }
    assert_eq!(format!("{method:?}"), format!("{other:?}"), "a secret is printed");
}
