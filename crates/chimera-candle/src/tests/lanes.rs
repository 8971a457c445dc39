//! Lanes of a batch against the same prompts alone.

use chimera_engine::{LanguageModel, Wanted};
use chimera_zoo::Variant;

use super::{decode, distance, load, prompt};

#[test]
fn padded_lanes_equal_their_solo_runs() {
    for (name, variant, bound) in [
        ("tiny-gpt2", Variant::F32Safetensors, 5e-5),
        ("llama-0.1m", Variant::F32Safetensors, 5e-5),
        ("gemma3-1m", Variant::F32Safetensors, 5e-5),
        // Activations are rounded to 8 bits: a difference of one float's last bit can become one of a 127th.
        ("llama-1m", Variant::Q8Gguf, 0.5),
    ] {
        let mut model = load(name, variant);
        let lengths = [5usize, 40, 1, 17];
        let prompts: Vec<Vec<u32>> =
            lengths.iter().enumerate().map(|(i, &n)| prompt(model.vocabulary(), n, i)).collect();
        let width = 40;
        let padding: Vec<usize> = lengths.iter().map(|n| width - n).collect();
        let steps = 24;
        let solo: Vec<_> = prompts.iter().map(|p| decode(&mut model, p, steps)).collect();

        let mut cache = model.start(&padding, width + steps).unwrap();
        let mut next: Vec<u32> = Vec::new();
        // In two chunks, the first of which is nothing but padding for some lanes.
        let column = |lane: usize, c: usize| c.checked_sub(padding[lane]).map_or(3, |p| prompts[lane][p]);
        for range in [0..22, 22..width] {
            next.clear();
            for lane in 0..prompts.len() {
                next.extend(range.clone().map(|c| column(lane, c)));
            }
            if range.end < width {
                model.forward(cache.as_mut(), &next, Wanted::None).unwrap();
            }
        }
        for step in 0..steps {
            let logits = model.forward(cache.as_mut(), &next, Wanted::Last).unwrap();
            for (lane, (_, rows)) in solo.iter().enumerate() {
                let d = distance(logits.row(lane).unwrap(), &rows[step]);
                assert!(d < bound, "{name}, lane {lane}, step {step}: {d}");
            }
            // Every lane is fed what it said alone, so that all steps are compared.
            next = solo.iter().map(|(tokens, _)| tokens[step]).collect();
        }
        assert_eq!(cache.len(), width + steps - 1);
    }
}
