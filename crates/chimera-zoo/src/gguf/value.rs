//! A metadata value and its encoding. Strings are UTF-8 in every file seen; others are refused by the reader.

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the variants are the format's own types")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(ElementType, Vec<Value>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// The type of an array's elements, kept because an empty array has one too.
pub(crate) type ElementType = u32;

/// The number of [`Value::String`] in a file.
pub(crate) const STRING: u32 = 8;
/// The number of [`Value::Array`] in a file.
pub(crate) const ARRAY: u32 = 9;
const I32: u32 = 5;
const F32: u32 = 6;

impl Value {
    /// An array of strings.
    #[must_use]
    pub fn strings(items: impl IntoIterator<Item = String>) -> Self {
        Self::Array(STRING, items.into_iter().map(Self::String).collect())
    }

    /// An array of 32-bit integers.
    #[must_use]
    pub fn i32s(items: impl IntoIterator<Item = i32>) -> Self {
        Self::Array(I32, items.into_iter().map(Self::I32).collect())
    }

    /// An array of 32-bit floats.
    #[must_use]
    pub fn f32s(items: impl IntoIterator<Item = f32>) -> Self {
        Self::Array(F32, items.into_iter().map(Self::F32).collect())
    }

    /// The number of this value's type in a file.
    pub(crate) fn type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => I32,
            Self::F32(_) => F32,
            Self::Bool(_) => 7,
            Self::String(_) => STRING,
            Self::Array(..) => ARRAY,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// Appends the value's bytes, without its type.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(v) => out.push(*v),
            Self::I8(v) => out.extend(v.to_le_bytes()),
            Self::U16(v) => out.extend(v.to_le_bytes()),
            Self::I16(v) => out.extend(v.to_le_bytes()),
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::I32(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::String(v) => encode_string(v, out),
            Self::Array(element, items) => {
                out.extend(element.to_le_bytes());
                out.extend((items.len() as u64).to_le_bytes());
                for item in items {
                    item.encode(out);
                }
            }
            Self::U64(v) => out.extend(v.to_le_bytes()),
            Self::I64(v) => out.extend(v.to_le_bytes()),
            Self::F64(v) => out.extend(v.to_le_bytes()),
        }
    }

    /// The value as an unsigned number, if it is a non-negative integer of any width.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value as a float, if it is one. A 32-bit float gives the shortest decimal that it stands for, so that
    /// `1e-5` stays `1e-5`.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(v) => v.to_string().parse().ok(),
            Self::F64(v) => Some(v),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(v) => Some(v),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(_, items) => Some(items),
            _ => None,
        }
    }
}

/// A string's length and bytes.
pub(crate) fn encode_string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
