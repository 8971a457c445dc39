//! GGUF seen from outside: what is written is read, what is converted is what it was, and damage is an error.
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside what the lint takes for tests")]

use std::fs;
use std::path::{Path, PathBuf};

use chimera_zoo::{
    Architecture, Generated, GgmlType, GgufFile, GgufModel, GgufValue, Gpt2Spec, ModelSpec, Origin,
    TensorSource, Variant, Zoo, dequantise, quantise_q4_0, quantise_q8_0,
};
use proptest::prelude::*;

fn fixture() -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/zoo/ggml_blocks.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

#[test]
fn blocks_are_read_as_the_reference_reads_them() {
    let kinds = [
        GgmlType::Q4_0,
        GgmlType::Q4_1,
        GgmlType::Q5_0,
        GgmlType::Q5_1,
        GgmlType::Q8_0,
        GgmlType::Q4_K,
        GgmlType::Q5_K,
        GgmlType::Q6_K,
        GgmlType::BF16,
        GgmlType::F16,
    ];
    let fixture = fixture();
    let cases = fixture["dequantise"].as_array().unwrap();
    assert_eq!(cases.len(), kinds.len());
    for (case, kind) in cases.iter().zip(kinds) {
        assert_eq!(case["type"], kind.label());
        let bytes: Vec<u8> = numbers(&case["bytes"]).into_iter().map(|b| b as u8).collect();
        let found = dequantise(kind, &bytes);
        let expected: Vec<f32> = numbers(&case["values"]).into_iter().map(f32::from_bits).collect();
        assert_eq!(found, expected, "{}", kind.label());
    }
}

#[test]
fn blocks_are_written_as_the_reference_writes_them() {
    for case in fixture()["quantise"].as_array().unwrap() {
        let values: Vec<f32> = numbers(&case["values"]).into_iter().map(f32::from_bits).collect();
        let mut found = Vec::new();
        match case["type"].as_str().unwrap() {
            "Q8_0" => quantise_q8_0(&values, &mut found),
            "Q4_0" => quantise_q4_0(&values, &mut found),
            other => panic!("{other}"),
        }
        let expected: Vec<u8> = numbers(&case["bytes"]).into_iter().map(|b| b as u8).collect();
        assert_eq!(found, expected, "{}", case["type"]);
    }
}

/// The F32 file, read and put back into Hugging Face's layout, is the generator's bits, for each family.
#[test]
fn f32_round_trips_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    for name in ["tiny-gpt2", "llama-0.1m", "llama-1m", "gemma3-1m"] {
        let files = zoo.ensure(name, Variant::F32Gguf).unwrap();
        let model = GgufModel::open(&files.weights, name).unwrap();
        let spec = Zoo::spec(name).unwrap();
        assert_eq!(model.spec().architecture, spec.architecture, "{name}");
        for def in spec.tensors() {
            let found = model.values(&def).unwrap();
            let expected = Generated::new(&spec).values(&def).unwrap();
            assert!(found == expected, "{name} {}", def.name);
        }
    }
}

/// Converting an F32 file gives the tensors that the generator gives directly, in every variant.
#[test]
fn conversion_and_generation_agree() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    for name in ["gpt2-5m", "llama-0.1m", "gemma3-1m"] {
        let source = zoo.ensure(name, Variant::F32Gguf).unwrap();
        for variant in Variant::ALL {
            if Zoo::reason_to_skip(&Zoo::spec(name).unwrap(), variant).is_some() {
                assert!(
                    zoo.convert(name, &source.weights, variant).unwrap_err().is_skip(),
                    "{name} {variant}"
                );
                continue;
            }
            let direct = zoo.ensure(name, variant).unwrap();
            let converted = zoo.convert(name, &source.weights, variant).unwrap();
            assert_ne!(direct.dir, converted.dir);
            assert_eq!(direct.manifest.digest(), converted.manifest.digest(), "{name} {variant}");
            assert_eq!(converted.manifest.arm, format!("{} from F32", variant.encoding().label()));
            assert!(matches!(converted.manifest.origin, Origin::Converted { .. }));
            assert_eq!(direct.manifest.tokenizer, converted.manifest.tokenizer);
            // Nothing is made twice.
            assert_eq!(zoo.convert(name, &source.weights, variant).unwrap(), converted);
        }
    }
}

#[test]
fn rows_that_do_not_divide_stay_f16_and_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    let manifest = zoo.ensure("gpt2-5m", Variant::Q8Gguf).unwrap().manifest;
    // Width 80 does not divide; the second feed-forward matrix has rows of 320.
    assert_eq!(manifest.kept_f16.len(), 1 + 12 * 3);
    assert!(manifest.kept_f16.contains(&"token_embd.weight".to_owned()));
    assert!(!manifest.kept_f16.iter().any(|n| n.contains("ffn_down")));
    assert_eq!(manifest.kept_f32, ["position_embd.weight"]);
    assert!(manifest.tensor_types.contains(&("Q8_0".to_owned(), 12)));
}

#[test]
fn a_variant_with_nothing_to_quantise_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    for variant in [Variant::Q8Gguf, Variant::Q4Gguf] {
        let error = zoo.ensure("tiny-gpt2", variant).unwrap_err();
        assert!(error.is_skip());
        assert_eq!(error.code(), "zoo.skipped");
        assert!(error.to_string().contains("divides by 32"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a skip leaves nothing behind");
}

#[test]
fn bytes_per_token_follow_from_the_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    // llama-1m has a head of its own: one row of 128 of the embedding's 512 rows is read, 34 bytes for 32 weights.
    let manifest = zoo.ensure("llama-1m", Variant::Q8Gguf).unwrap().manifest;
    let norms = (4 * 2 + 1) * 128 * 4;
    let matrices = (1_016_960 - (4 * 2 + 1) * 128 - 511 * 128) / 32 * 34;
    assert_eq!(manifest.bytes_per_decode_token, norms + matrices);
    // gemma3-1m reads all of its tied embedding.
    let manifest = zoo.ensure("gemma3-1m", Variant::F32Gguf).unwrap().manifest;
    assert_eq!(manifest.bytes_per_decode_token, 4 * 1_003_392);
}

#[test]
fn metadata_are_llama_cpps() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    let file = GgufFile::open(&zoo.ensure("gemma3-1m", Variant::Q4Gguf).unwrap().weights).unwrap();
    let number = |key: &str| file.get(key).and_then(GgufValue::as_u64);
    assert_eq!(file.get("general.architecture").and_then(GgufValue::as_str), Some("gemma3"));
    assert_eq!(number("general.file_type"), Some(2));
    assert_eq!(number("gemma3.attention.key_length"), Some(64));
    assert_eq!(number("gemma3.attention.sliding_window"), Some(32));
    assert_eq!(file.get("gemma3.rope.freq_base").and_then(GgufValue::as_f64), Some(1e6));
    assert_eq!(file.get("tokenizer.ggml.model").and_then(GgufValue::as_str), Some("gpt2"));
    assert_eq!(file.get("tokenizer.ggml.tokens").and_then(GgufValue::as_array).map(<[_]>::len), Some(512));
    assert_eq!(file.tensor("blk.5.post_ffw_norm.weight").unwrap().kind(), Some(GgmlType::F32));
    assert_eq!(file.tensor("blk.0.attn_q.weight").unwrap().shape, [256, 128]);
    assert_eq!(file.tensor("blk.0.attn_q.weight").unwrap().kind(), Some(GgmlType::Q4_0));
}

/// A small file to damage: no tokenizer, so that its head is mostly lengths.
fn small_file(dir: &Path) -> PathBuf {
    let shapes = Gpt2Spec { vocab: 64, ctx: 8, ..Gpt2Spec::new(1, 32, 2) };
    let spec = ModelSpec { name: "small".to_owned(), seed: 3, architecture: Architecture::Gpt2(shapes) };
    Zoo::open(dir).unwrap().ensure_spec(&spec, Variant::Q4Gguf).unwrap().weights
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let data = fs::read(small_file(dir.path())).unwrap();
    let path = dir.path().join("cut.gguf");
    for len in (0..data.len() - 32).step_by(7) {
        fs::write(&path, &data[..len]).unwrap();
        let error = GgufModel::open(&path, "cut").unwrap_err();
        assert_eq!(error.code(), "zoo.corrupt", "{len}: {error}");
    }
}

#[test]
fn a_tensor_of_another_type_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = fs::read(small_file(dir.path())).unwrap();
    let name = b"blk.0.ffn_up.weight";
    let at = data.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 16;
    assert_eq!(data[at], 2, "Q4_0");
    data[at] = 19; // IQ1_S
    let path = dir.path().join("other.gguf");
    fs::write(&path, &data).unwrap();
    let error = GgufModel::open(&path, "other").unwrap_err();
    assert_eq!(error.code(), "zoo.unsupported");
    assert!(error.to_string().contains("blk.0.ffn_up.weight of ggml type 19"), "{error}");
}

#[test]
fn a_count_of_blocks_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = fs::read(small_file(dir.path())).unwrap();
    let key = b"gpt2.block_count";
    let at = data.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 4;
    assert_eq!(data[at..at + 4], [1, 0, 0, 0]);
    data[at..at + 4].fill(0xff);
    let path = dir.path().join("deep.gguf");
    fs::write(&path, &data).unwrap();
    let error = GgufModel::open(&path, "deep").unwrap_err();
    assert!(error.to_string().contains("4294967295 blocks"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever a damaged head says, the reader neither panics nor allocates what is not there.
    #[test]
    fn a_damaged_head_never_panics(at in 0_usize..2000, with in any::<[u8; 8]>(), len in 1_usize..9) {
        let dir = tempfile::tempdir().unwrap();
        let mut data = fs::read(small_file(dir.path())).unwrap();
        let at = at.min(data.len() - 8);
        data[at..at + len.min(8)].copy_from_slice(&with[..len.min(8)]);
        let path = dir.path().join("damaged.gguf");
        fs::write(&path, &data).unwrap();
        if let Ok(model) = GgufModel::open(&path, "damaged") {
            for def in model.spec().tensors() {
                prop_assert_eq!(model.values(&def).unwrap().len(), def.elements());
            }
        }
    }
}
