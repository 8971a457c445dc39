//! A sound file, damaged at random and at every byte: what fuzzing does for hours, in a second.

#![expect(clippy::expect_used, reason = "helpers of tests fail like tests")]

use chimera_onnx::{Attribute, DataType, Extent, GraphBuilder, Tensor};
use proptest::prelude::*;

#[path = "arbitrary/drive.rs"]
mod drive;

fn sound() -> Vec<u8> {
    let mut g = GraphBuilder::new("g", 18);
    g.metadata("key", "value");
    g.input("x", DataType::F32, &[Extent::Name("n"), Extent::Number(2)]);
    let w = g.constant(Tensor::floats("w", &[2, 2], DataType::F32, &[1.0, 2.0, 3.0, 4.0]));
    let y = g.node("MatMul", &["x", &w], &[]);
    let axes = g.list(&[0, 1]);
    let y = g.node("Squeeze", &[&y, &axes], &[]);
    g.named("y", "Softmax", &[&y], &[("axis", Attribute::Int(-1))]);
    g.output("y", DataType::F32, &[]);
    g.finish().to_bytes().expect("sound")
}

#[test]
fn every_prefix_is_an_error() {
    let data = sound();
    assert_eq!(drive::read(&data), "read");
    for end in 0..data.len() {
        // Whole fields may be missing at the end: then there is no graph.
        assert_eq!(drive::read(&data[..end]), "onnx.corrupt", "the first {end} bytes");
    }
}

#[test]
fn every_byte_may_be_any_other() {
    let data = sound();
    let mut codes = std::collections::BTreeMap::new();
    for at in 0..data.len() {
        for change in [0x01, 0x80, 0x08, 0xff] {
            let mut other = data.clone();
            other[at] ^= change;
            *codes.entry(drive::read(&other)).or_insert(0) += 1;
        }
    }
    // Damage reaches every check.
    for code in ["read", "onnx.corrupt", "onnx.graph", "onnx.unknown_operator", "onnx.unsupported"] {
        assert!(codes.contains_key(code), "{codes:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
        drive::read(&data);
    }

    #[test]
    fn a_sound_file_with_pieces_moved_does_not_panic(
        from in 0_usize..400, length in 0_usize..60, to in 0_usize..400, noise in prop::collection::vec(any::<u8>(), 0..6)
    ) {
        let mut data = sound();
        let from = from.min(data.len());
        let piece: Vec<u8> = data.drain(from..(from + length).min(data.len())).collect();
        let to = to.min(data.len());
        data.splice(to..to, piece.into_iter().chain(noise));
        drive::read(&data);
    }
}
