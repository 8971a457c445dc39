//! The models that have names. The GPT-2 family is TR121's, shape by shape; the Llama family and the Gemma are chosen
//! here, every width a multiple of 32, so that all encodings exist.

use super::{Architecture, Gemma3Spec, Gpt2Spec, LlamaSpec, ModelSpec};

/// The seed of every named model.
const SEED: u64 = 121;

/// TR121's GPT-2 family: name, layers, width, heads, exact parameters.
pub const TR121_FAMILY: [(&str, usize, usize, usize, u64); 8] = [
    ("tiny-gpt2", 2, 2, 2, 102_714),
    ("gpt2-5m", 12, 80, 2, 5_036_720),
    ("gpt2-25m", 3, 384, 2, 25_016_064),
    ("gpt2-45m", 6, 512, 8, 45_171_200),
    ("gpt2-50m", 8, 512, 2, 51_475_968),
    ("gpt2-75m", 5, 768, 2, 74_824_704),
    ("gpt2-100m", 8, 768, 2, 96_088_320),
    ("gpt2", 12, 768, 12, 124_439_808),
];

/// Every named model, GPT-2 first, each family from small to large. Exact parameters of the others: llama-0.1m
/// 106,816; llama-1m 1,016,960; llama-10m 9,999,680; llama-50m 50,348,544; gemma3-1m 1,003,392.
#[must_use]
pub fn models() -> Vec<ModelSpec> {
    let gpt2 = TR121_FAMILY.map(|(name, layers, width, heads, _)| {
        (name, Architecture::Gpt2(Gpt2Spec::new(layers, width, heads)))
    });
    let llama = [
        // Grouped queries and a tied head.
        ("llama-0.1m", llama(512, 2, 64, (4, 2, 16), 128, true)),
        // Grouped queries and a head of its own.
        ("llama-1m", llama(512, 4, 128, (4, 2, 32), 448, false)),
        // As many key-value heads as query heads.
        ("llama-10m", llama(1024, 8, 320, (5, 5, 64), 832, true)),
        ("llama-50m", llama(4096, 16, 512, (8, 2, 64), 1536, true)),
    ];
    let gemma = Gemma3Spec {
        vocab: 512,
        ctx: 1024,
        layers: 6,
        width: 128,
        heads: 4,
        kv_heads: 1,
        head_dim: 64,
        feed_forward: 192,
        sliding_window: 32,
        sliding_window_pattern: 6,
        rope_theta: 1_000_000.0,
        rope_local_theta: 10_000.0,
        rms_eps: 1e-6,
        bos: Some(511),
        eos: Some(511),
    };
    gpt2.into_iter()
        .chain(llama)
        .chain([("gemma3-1m", Architecture::Gemma3(gemma))])
        .map(|(name, architecture)| ModelSpec { name: name.to_owned(), seed: SEED, architecture })
        .collect()
}

/// The names of [`models`].
#[must_use]
pub fn model_names() -> Vec<String> {
    models().into_iter().map(|m| m.name).collect()
}

fn llama(
    vocab: usize,
    layers: usize,
    width: usize,
    (heads, kv_heads, head_dim): (usize, usize, usize),
    feed_forward: usize,
    tied: bool,
) -> Architecture {
    // The last id ends a text; everything below is bytes and merges.
    let end = Some(vocab as u32 - 1);
    Architecture::Llama(LlamaSpec {
        vocab,
        ctx: 2048,
        layers,
        width,
        heads,
        kv_heads,
        head_dim,
        feed_forward,
        rope_theta: 10_000.0,
        rms_eps: 1e-5,
        tied,
        bos: end,
        eos: end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of_tensors(spec: &ModelSpec) -> u64 {
        spec.tensors().iter().map(|t| t.elements() as u64).sum()
    }

    #[test]
    fn gpt2_formula_table_and_tensors_agree() {
        let models = models();
        for (name, layers, width, heads, params) in TR121_FAMILY {
            let spec = models.iter().find(|m| m.name == name).unwrap();
            let shape = spec.shape();
            assert_eq!((shape.layers, shape.width, shape.heads), (layers, width, heads), "{name}");
            assert_eq!(spec.params(), params, "{name}: formula");
            assert_eq!(sum_of_tensors(spec), params, "{name}: tensors");
        }
    }

    #[test]
    fn other_families_agree_with_their_documented_counts() {
        let models = models();
        for (name, params) in [
            ("llama-0.1m", 106_816),
            ("llama-1m", 1_016_960),
            ("llama-10m", 9_999_680),
            ("llama-50m", 50_348_544),
            ("gemma3-1m", 1_003_392),
        ] {
            let spec = models.iter().find(|m| m.name == name).unwrap();
            assert_eq!(spec.params(), params, "{name}: formula");
            assert_eq!(sum_of_tensors(spec), params, "{name}: tensors");
        }
    }

    #[test]
    fn every_named_model_is_valid_and_named_once() {
        let models = models();
        for spec in &models {
            spec.validate().unwrap();
            let mut names: Vec<String> = spec.tensors().into_iter().map(|t| t.name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", spec.name);
        }
        let mut names = model_names();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), models.len());
    }

    #[test]
    fn heads_that_do_not_fit_are_refused() {
        let bad = ModelSpec {
            name: "bad".to_owned(),
            seed: 0,
            architecture: Architecture::Gpt2(Gpt2Spec::new(1, 10, 3)),
        };
        assert_eq!(bad.validate().unwrap_err().code(), "zoo.invalid_spec");
    }
}
