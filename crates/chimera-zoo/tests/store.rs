//! The store seen from outside: bits, sharing, damage.

use std::fs;

use chimera_zoo::{Generated, ModelFiles, TensorSource, Variant, Zoo, ZooError};
use safetensors::SafeTensors;

#[test]
fn safetensors_hold_the_generators_bits_under_huggingface_names() {
    let dir = tempfile::tempdir().unwrap();
    let files = Zoo::open(dir.path()).unwrap().ensure("llama-0.1m", Variant::F32Safetensors).unwrap();
    let data = fs::read(&files.weights).unwrap();
    let read = SafeTensors::deserialize(&data).unwrap();
    let spec = Zoo::spec("llama-0.1m").unwrap();
    assert_eq!(read.len(), spec.tensors().len());
    for def in spec.tensors() {
        let tensor = read.tensor(&def.name).unwrap();
        assert_eq!(tensor.shape(), def.shape);
        let expected: Vec<u8> =
            Generated::new(&spec).values(&def).unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(tensor.data() == expected, "{}", def.name);
    }
    let k = read.tensor("model.layers.1.self_attn.k_proj.weight").unwrap();
    assert_eq!(k.shape(), [32, 64]);
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(files.config.unwrap()).unwrap()).unwrap();
    assert_eq!(config["num_key_value_heads"], 2);
    assert_eq!(config["torch_dtype"], "float32");
}

#[test]
fn gpt2_matrices_are_conv1d() {
    let dir = tempfile::tempdir().unwrap();
    let files = Zoo::open(dir.path()).unwrap().ensure("tiny-gpt2", Variant::F16Safetensors).unwrap();
    let data = fs::read(&files.weights).unwrap();
    let read = SafeTensors::deserialize(&data).unwrap();
    assert_eq!(read.tensor("transformer.h.0.attn.c_attn.weight").unwrap().shape(), [2, 6]);
    assert_eq!(read.tensor("transformer.h.1.mlp.c_proj.weight").unwrap().shape(), [8, 2]);
    assert!(read.tensor("lm_head.weight").is_err(), "the head is tied");
    // Two bytes a weight; the tied head reads the whole embedding, positions one row of 1024.
    assert_eq!(files.manifest.bytes_per_decode_token, 2 * (102_714 - 1023 * 2));
}

#[test]
fn the_small_models_are_these_bits() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    for (name, variant, sha) in [
        (
            "tiny-gpt2",
            Variant::F32Safetensors,
            "bbefdfe0d0cd3ec9b4110bb4191f24ef7c6fb23558fae067f568dd857c24fee3",
        ),
        (
            "llama-0.1m",
            Variant::F32Safetensors,
            "74fee46aeb51f807afe81648c95e646072f8c4ba1ddc7d19987402817802cf46",
        ),
        (
            "gemma3-1m",
            Variant::F32Safetensors,
            "008c0b42ee0f7add76ee2b4db0c1ff572ce2ebbcb441ef6d06ce49d01a5598c0",
        ),
        ("gpt2-5m", Variant::Q8Gguf, "4ae2d449bedb01e263509e9d3247d6ed7d37066df4fdb02534e0e470dbfb8caf"),
        ("llama-0.1m", Variant::Q4Gguf, "934aae51d811d236a49b744259ccbc6907f2af642026cd208a174d40a5ce81e1"),
        ("gemma3-1m", Variant::F16Gguf, "d5aab2b001091409c254430f5caad21bdf425c74351ea229e862027d42441944"),
    ] {
        let files = zoo.ensure(name, variant).unwrap();
        assert_eq!(
            files.manifest.digest(),
            Some(sha),
            "{name} {variant}: a change of bits needs a new version"
        );
        files.verify().unwrap();
    }
}

#[test]
fn threads_that_ask_at_once_get_the_same_files_and_leave_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    let found: Vec<ModelFiles> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| zoo.ensure("llama-1m", Variant::F32Safetensors).unwrap()))
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    assert!(found.windows(2).all(|w| w[0] == w[1]));
    found[0].verify().unwrap();
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn damage_is_found_and_the_remedy_works() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    let ask = || zoo.ensure("tiny-gpt2", Variant::F32Safetensors);
    let files = ask().unwrap();

    // A changed byte: only the hash can tell.
    let mut data = fs::read(&files.weights).unwrap();
    let last = data.len() - 1;
    data[last] ^= 1;
    fs::write(&files.weights, &data).unwrap();
    let error = ask().unwrap().verify().unwrap_err();
    assert!(matches!(&error, ZooError::Corrupt { detail, .. } if detail.contains("SHA-256")), "{error}");

    // A half-written file: the size tells at once.
    fs::write(&files.weights, &data[..last / 2]).unwrap();
    let error = ask().unwrap_err();
    assert_eq!(error.code(), "zoo.corrupt");
    assert!(error.to_string().contains("remove the folder"), "{error}");

    // A missing record, and a missing file.
    fs::remove_file(&files.weights).unwrap();
    assert_eq!(ask().unwrap_err().code(), "zoo.corrupt");
    fs::remove_file(files.dir.join("manifest.json")).unwrap();
    assert_eq!(ask().unwrap_err().code(), "zoo.corrupt");

    fs::remove_dir_all(&files.dir).unwrap();
    ask().unwrap().verify().unwrap();
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let error = Zoo::open(dir.path()).unwrap().ensure("gpt3", Variant::F32Gguf).unwrap_err();
    assert_eq!(error.code(), "zoo.unknown_model");
    assert!(error.to_string().contains("gpt2-25m"), "{error}");
}
