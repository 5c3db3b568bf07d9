//! Bytes as field tables, arrays and properties: decoded when asked for, walked, put together
//! again, printed.

use super::memory::Watch;
use super::print;
use crate::protocol::{BasicProperties, FieldArray, FieldTable, FieldValue};

/// More would only make each input slower.
const NAMES_LOOKED_UP: usize = 8;

/// What is in a table, or an array, or a content header behind the body's size.
pub fn run(data: &[u8]) {
    let watch = Watch::start();
    table(&FieldTable::from_encoded(data));
    array(&FieldArray::from_encoded(data));
    // Each level of nesting is copied on the way, as it is put together again.
    assert!(watch.most() <= 4096 + data.len() * data.len().max(16), "{} bytes", watch.most());
    properties(data);
}

fn table(table: &FieldTable<'_>) {
    print(table);
    for (name, value) in table.iter().map_while(Result::ok).take(NAMES_LOOKED_UP) {
        if let Ok(name) = name.to_str() {
            let first = table.get(name).expect("just read").expect("just seen");
            let same = table.iter().map_while(Result::ok).find(|(entry, _)| *entry == *name);
            assert!(same.is_some_and(|(_, value)| same_values(&value, &first)));
        }
        print(&value);
    }
    let Some((again, exact)) = rebuild_table(table) else { return };
    if exact {
        assert_eq!(again, *table);
    }
    let (third, _) = rebuild_table(&again).expect("what was encoded can be decoded");
    assert_eq!(third, again);
    assert_eq!(again.clone().into_owned(), again);
}

fn array(array: &FieldArray<'_>) {
    print(array);
    let Some((again, exact)) = rebuild_array(array) else { return };
    if exact {
        assert_eq!(again, *array);
    }
    let (third, _) = rebuild_array(&again).expect("what was encoded can be decoded");
    assert_eq!(third, again);
}

fn properties(data: &[u8]) {
    let watch = Watch::start();
    let decoded = BasicProperties::decode(data);
    assert_eq!(watch.most(), 0, "to decode allocates nothing");
    let Ok(properties) = decoded else { return };
    print(&properties);
    let mut encoded = Vec::new();
    properties.encode(&mut encoded).expect("what was decoded can be encoded");
    assert_eq!(properties.encoded_len(), Ok(encoded.len()));
    assert!(encoded.len() <= data.len());
    assert_eq!(BasicProperties::decode(&encoded).as_ref(), Ok(&properties));
    assert_eq!(properties.clone().into_owned(), properties);
    if let Some(headers) = &properties.headers {
        table(headers);
    }
}

/// As they are on the wire: a NaN is itself.
fn same_values(one: &FieldValue<'_>, other: &FieldValue<'_>) -> bool {
    let encode = |value: &FieldValue<'_>| FieldTable::new().with("", value.clone());
    encode(one) == encode(other)
}

/// The same table built entry by entry, and whether it must be the same on the wire: any octet but
/// 0 is true, so a `Bool` may not be. `None` if it is malformed.
fn rebuild_table(table: &FieldTable<'_>) -> Option<(FieldTable<'static>, bool)> {
    let (mut again, mut all_exact) = (FieldTable::new(), true);
    for entry in table {
        let (name, value) = entry.ok()?;
        let (value, exact) = rebuild(value)?;
        again.insert(name, value).expect("what was decoded can be encoded");
        all_exact &= exact;
    }
    Some((again, all_exact))
}

fn rebuild_array(array: &FieldArray<'_>) -> Option<(FieldArray<'static>, bool)> {
    let (mut again, mut all_exact) = (FieldArray::new(), true);
    for value in array {
        let (value, exact) = rebuild(value.ok()?)?;
        again.push(value).expect("what was decoded can be encoded");
        all_exact &= exact;
    }
    Some((again, all_exact))
}

fn rebuild(value: FieldValue<'_>) -> Option<(FieldValue<'static>, bool)> {
    Some(match value {
        FieldValue::Table(table) => {
            let (table, exact) = rebuild_table(&table)?;
            (FieldValue::Table(table), exact)
        }
        FieldValue::Array(array) => {
            let (array, exact) = rebuild_array(&array)?;
            (FieldValue::Array(array), exact)
        }
        FieldValue::Bool(value) => (FieldValue::Bool(value), false),
        value => (value.into_owned(), true),
    })
}
