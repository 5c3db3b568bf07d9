//! How tables, arrays and their values print: decoded, to a limited depth, whatever is in them.

use std::fmt;

use super::{FieldArray, FieldTable, FieldValue};

/// Deeper than any table in use, and far from what a stack holds.
const DEEPEST: usize = 16;

/// A value, and how many tables and arrays it lies in.
pub(super) struct Nested<'v, T> {
    value: &'v T,
    depth: usize,
}

impl<'v, T> Nested<'v, T> {
    pub(super) fn outermost(value: &'v T) -> Self {
        Self { value, depth: 0 }
    }
}

impl<T> Nested<'_, T> {
    fn inner<'v, U>(&self, value: &'v U) -> Nested<'v, U> {
        Nested { value, depth: self.depth + 1 }
    }
}

impl fmt::Debug for Nested<'_, FieldTable<'_>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.depth == DEEPEST {
            return f.write_str("{...}");
        }
        let mut map = f.debug_map();
        for entry in self.value {
            match entry {
                Ok((name, value)) => map.entry(&name, &self.inner(&value)),
                Err(error) => map.entry(&format_args!("malformed"), &error),
            };
        }
        map.finish()
    }
}

impl fmt::Debug for Nested<'_, FieldArray<'_>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.depth == DEEPEST {
            return f.write_str("[...]");
        }
        let mut list = f.debug_list();
        for value in self.value {
            match value {
                Ok(value) => list.entry(&self.inner(&value)),
                Err(error) => list.entry(&format_args!("malformed: {error:?}")),
            };
        }
        list.finish()
    }
}

impl fmt::Debug for Nested<'_, FieldValue<'_>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value): (_, &dyn fmt::Debug) = match self.value {
            FieldValue::Array(array) => {
                return Nested { value: array, depth: self.depth }.fmt(f);
            }
            FieldValue::Table(table) => {
                return Nested { value: table, depth: self.depth }.fmt(f);
            }
            FieldValue::Decimal { scale, value } => {
                let mut decimal = f.debug_struct("Decimal");
                return decimal.field("scale", scale).field("value", value).finish();
            }
            FieldValue::Void => return f.write_str("Void"),
            FieldValue::Bool(value) => ("Bool", value),
            FieldValue::I8(value) => ("I8", value),
            FieldValue::U8(value) => ("U8", value),
            FieldValue::I16(value) => ("I16", value),
            FieldValue::U16(value) => ("U16", value),
            FieldValue::I32(value) => ("I32", value),
            FieldValue::U32(value) => ("U32", value),
            FieldValue::I64(value) => ("I64", value),
            FieldValue::F32(value) => ("F32", value),
            FieldValue::F64(value) => ("F64", value),
            FieldValue::LongString(value) => ("LongString", value),
            FieldValue::Timestamp(value) => ("Timestamp", value),
            FieldValue::Bytes(value) => ("Bytes", value),
        };
        f.debug_tuple(name).field(value).finish()
    }
}
