//! One set of weights in different containers, and one computation done in different ways.

use chimera_engine::{LanguageModel, Wanted};
use chimera_zoo::Variant;

use super::{all_logits, decode, distance, load, prompt};

const MODELS: [&str; 4] = ["tiny-gpt2", "llama-0.1m", "llama-1m", "gemma3-1m"];

#[test]
fn safetensors_and_gguf_of_f32_agree() {
    for name in MODELS {
        let mut a = load(name, Variant::F32Safetensors);
        let mut b = load(name, Variant::F32Gguf);
        let prompt = prompt(a.vocabulary(), 20, 1);
        let (tokens_a, rows_a) = decode(&mut a, &prompt, 32);
        let (tokens_b, rows_b) = decode(&mut b, &prompt, 32);
        assert_eq!(tokens_a, tokens_b, "{name}");
        for (a, b) in rows_a.iter().zip(&rows_b) {
            assert!(distance(a, b) < 2e-5, "{name}: {}", distance(a, b));
        }
        let (a, b) = (a.info(), b.info());
        assert_eq!(
            (a.parameters, a.layers, a.width, a.context),
            (b.parameters, b.layers, b.width, b.context)
        );
        assert_eq!(a.weight_bytes_per_token, b.weight_bytes_per_token, "{name}");
    }
}

#[test]
fn coarser_encodings_stay_within_their_bounds() {
    // Largest difference of a logit from F32 over 24 positions, as a share of the logits' standard deviation.
    let bounds = [
        (Variant::F16Safetensors, 0.03),
        (Variant::F16Gguf, 0.03),
        (Variant::Q8Gguf, 0.4),
        (Variant::Q4Gguf, 4.0),
    ];
    for name in ["llama-0.1m", "llama-1m", "gemma3-1m"] {
        let mut exact = load(name, Variant::F32Safetensors);
        let tokens = prompt(exact.vocabulary(), 24, 2);
        let expected = all_logits(&mut exact, &tokens);
        let all: Vec<f64> = expected.iter().flatten().map(|&l| f64::from(l)).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let sd = (all.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
        for (variant, bound) in bounds {
            let mut coarse = load(name, variant);
            let rows = all_logits(&mut coarse, &tokens);
            let worst = rows.iter().zip(&expected).map(|(a, b)| distance(a, b)).fold(0.0, f32::max);
            let share = f64::from(worst) / sd;
            println!("{name} {variant}: {share:.4} standard deviations");
            assert!(share < bound, "{name} {variant}: {share}");
            assert!(share > 0.0, "{name} {variant} was not coarser");
        }
    }
}

#[test]
fn a_prompt_read_in_chunks_is_the_same_prompt() {
    for name in MODELS {
        let mut model = load(name, Variant::F32Safetensors);
        let tokens = prompt(model.vocabulary(), 50, 3);
        let expected = all_logits(&mut model, &tokens);
        for chunk in [1, 7, 16, 49] {
            let mut cache = model.start(&[0], tokens.len()).unwrap();
            let mut rows = Vec::new();
            for part in tokens.chunks(chunk) {
                let logits = model.forward(cache.as_mut(), part, Wanted::All).unwrap();
                rows.extend((0..logits.rows()).map(|r| logits.row(r).unwrap().to_vec()));
            }
            for (position, (a, b)) in rows.iter().zip(&expected).enumerate() {
                let d = distance(a, b);
                // A norm over two values divides by their difference: it magnifies rounding.
                let bound = if name == "tiny-gpt2" { 2e-2 } else { 5e-5 };
                assert!(d < bound, "{name}, chunks of {chunk}, position {position}: {d}");
            }
        }
    }
}

#[test]
fn the_cache_gives_what_reading_everything_again_gives() {
    for name in MODELS {
        let mut model = load(name, Variant::F32Safetensors);
        // Gemma's window of 32 lies within the 60 positions.
        let prompt = prompt(model.vocabulary(), 20, 4);
        let (tokens, rows) = decode(&mut model, &prompt, 40);
        let all: Vec<u32> = prompt.iter().chain(&tokens).copied().collect();
        let again = all_logits(&mut model, &all[..all.len() - 1]);
        for (step, row) in rows.iter().enumerate() {
            let d = distance(row, &again[prompt.len() - 1 + step]);
            let bound = if name == "tiny-gpt2" { 2e-2 } else { 5e-5 };
            assert!(d < bound, "{name}, step {step}: {d}");
        }
    }
}

#[test]
fn wanted_rows_are_those_that_come() {
    let mut model = load("llama-0.1m", Variant::F32Safetensors);
    let tokens = prompt(model.vocabulary(), 9, 5);
    let all = all_logits(&mut model, &tokens);
    let mut cache = model.start(&[0], 9).unwrap();
    assert_eq!(model.forward(cache.as_mut(), &tokens[..8], Wanted::None).unwrap().rows(), 0);
    let last = model.forward(cache.as_mut(), &tokens[8..], Wanted::Last).unwrap();
    assert_eq!(last.rows(), 1);
    assert!(distance(last.row(0).unwrap(), &all[8]) < 5e-5);
    // The cache is full now.
    assert!(model.forward(cache.as_mut(), &tokens[..1], Wanted::Last).is_err());
}

#[test]
fn counts_are_the_published_ones() {
    for (name, parameters) in [("tiny-gpt2", 102_714), ("gpt2-5m", 5_036_720), ("llama-0.1m", 106_816)] {
        let files = super::files(name, Variant::F32Safetensors);
        let model = super::load_at(&files.weights).unwrap();
        let info = model.info();
        assert_eq!(info.parameters.unwrap().total, parameters, "{name}");
        assert_eq!(info.digest.as_deref(), files.manifest.digest());
        assert_eq!(info.weight_bytes_per_token, Some(files.manifest.bytes_per_decode_token), "{name}");
        let shape = &files.manifest.shape;
        let kv = 2 * shape.layers * shape.kv_heads * shape.head_dim * 4;
        assert_eq!(info.kv_bytes_per_position, Some(kv as u64));
    }
}
