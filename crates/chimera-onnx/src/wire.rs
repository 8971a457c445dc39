//! Protobuf's wire format, walked over before anything is decoded: every length must lie within its parent, every wire type
//! must be one that is in use, and what the messages will take in memory is added up and limited. A file of a few
//! megabytes of empty messages would otherwise ask for gigabytes.

/// The messages that are walked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Annotation,
    Value,
    Type,
    TensorType,
    Shape,
    Dimension,
    Element,
    Map,
    Function,
    OperatorSet,
    Entry,
    Segment,
}

impl Kind {
    /// The message in a field, if it is one.
    fn child(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) => Self::Graph,
            (Self::Model, 8) | (Self::Function, 9) => Self::OperatorSet,
            (Self::Model, 25) => Self::Function,
            (Self::Model | Self::Function, 14)
            | (Self::Graph | Self::Tensor, 16)
            | (Self::Node, 9)
            | (Self::Tensor, 13)
            | (Self::Annotation, 2)
            | (Self::Value, 4) => Self::Entry,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Graph, 11..=13) | (Self::Function, 12) => Self::Value,
            (Self::Graph, 14) => Self::Annotation,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Attribute, 14 | 15) | (Self::Value, 2) | (Self::Element, 1) | (Self::Map, 2) => Self::Type,
            (Self::Tensor, 3) => Self::Segment,
            (Self::Type, 1 | 8) => Self::TensorType,
            (Self::Type, 4 | 9) => Self::Element,
            (Self::Type, 5) => Self::Map,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Dimension,
            _ => return None,
        })
    }

    /// Whether a field holds packed numbers, which take up to eight bytes for one.
    fn is_packed(self, field: u32) -> bool {
        matches!(
            (self, field),
            (Self::Attribute, 7 | 8) | (Self::Tensor, 1 | 4 | 5 | 7 | 10 | 11) | (Self::SparseTensor, 3)
        )
    }
}

/// How deep messages may lie within each other; prost's own limit is 100.
const DEEPEST: u32 = 64;
/// What a decoded message, a string and a number take at most, without their content.
const MESSAGE: u64 = 512;
const STRING: u64 = 48;
const NUMBER: u64 = 16;

/// A varint: its value and its length; `None` if it is cut short or longer than ten bytes.
pub(crate) fn varint(data: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, byte) in data.iter().enumerate().take(10) {
        // The tenth byte has room for one bit.
        if i == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Field number and wire type of a key; the reason if it can be none.
pub(crate) fn key(value: u64) -> Result<(u32, u8), String> {
    let (field, wire) = (value >> 3, (value & 7) as u8);
    if field == 0 || field > (1 << 29) - 1 {
        return Err(format!("field number {field}"));
    }
    if !matches!(wire, 0 | 1 | 2 | 5) {
        return Err(format!("unknown wire type {wire} of field {field}"));
    }
    Ok((field as u32, wire))
}

/// Walks over a message. `budget` is the memory that is left; the error says what is wrong and at which byte of the
/// message.
pub(crate) fn walk(kind: Kind, data: &[u8], budget: &mut u64, depth: u32) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("messages lie more than {DEEPEST} deep in each other"));
    }
    let mut at = 0;
    while at < data.len() {
        let start = at;
        let wrong = |what: String| format!("{what} at byte {start} of {kind:?}");
        let (value, length) = varint(&data[at..]).ok_or_else(|| wrong("a key is cut short".to_owned()))?;
        at += length;
        let (field, wire) = key(value).map_err(wrong)?;
        let (size, cost) = match wire {
            0 => {
                let (_, length) =
                    varint(&data[at..]).ok_or_else(|| wrong(format!("field {field} is cut short")))?;
                (length, NUMBER)
            }
            1 => (8, NUMBER),
            5 => (4, NUMBER),
            _ => {
                let (size, length) =
                    varint(&data[at..]).ok_or_else(|| wrong(format!("field {field} is cut short")))?;
                at += length;
                let left = (data.len() - at) as u64;
                if size > left {
                    return Err(wrong(format!("field {field} claims {size} bytes, {left} are left")));
                }
                let size = size as usize;
                if let Some(child) = kind.child(field) {
                    spend(budget, MESSAGE)?;
                    walk(child, &data[at..at + size], budget, depth + 1)?;
                    (size, 0)
                } else if kind.is_packed(field) {
                    (size, size as u64 * 8)
                } else {
                    (size, size as u64 + STRING)
                }
            }
        };
        if size > data.len() - at {
            return Err(wrong(format!("field {field} is cut short")));
        }
        spend(budget, cost)?;
        at += size;
    }
    Ok(())
}

/// Takes from what is left, or says that it is too little.
pub(crate) fn spend(budget: &mut u64, cost: u64) -> Result<(), String> {
    *budget = budget
        .checked_sub(cost)
        .ok_or("its structure, weights not counted, takes more memory than is allowed for it")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &[u8]) -> Result<(), String> {
        walk(Kind::Model, data, &mut 1_000_000, 0)
    }

    #[test]
    fn lengths_wire_types_and_numbers_of_fields_are_checked() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[0x08, 0x08]), Ok(()));
        for (data, part) in [
            (vec![0x08], "cut short"),
            (vec![0x08, 0x80], "cut short"),
            (vec![0x12, 5, b'a'], "claims 5 bytes, 1 are left"),
            (vec![0x0b], "unknown wire type 3"),
            (vec![0x0e], "unknown wire type 6"),
            (vec![0x00, 0x00], "field number 0"),
            (vec![0x0d, 0, 0, 0], "cut short"),
            // A node that claims more than its graph has.
            (vec![0x3a, 2, 0x0a, 9], "claims 9 bytes, 0 are left"),
            (vec![0xff; 12], "cut short"),
        ] {
            let error = check(&data).unwrap_err();
            assert!(error.contains(part), "{data:?}: {error}");
        }
    }

    #[test]
    fn small_files_cannot_ask_for_much_memory_or_stack() {
        let empty: Vec<u8> = [0x42, 0].repeat(10_000);
        assert!(check(&empty).unwrap_err().contains("memory"));
        // Graphs within attributes within nodes within graphs.
        let mut nested = Vec::new();
        for field in [0x0a_u8, 0x2a, 0x32].iter().rev().cycle().take(90) {
            let mut outer = vec![*field];
            prost::encoding::encode_varint(nested.len() as u64, &mut outer);
            outer.extend(&nested);
            nested = outer;
        }
        assert!(walk(Kind::Graph, &nested, &mut 1_000_000, 0).unwrap_err().contains("deep"));
    }
}
