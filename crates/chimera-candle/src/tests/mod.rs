//! Tests that need logits: they run models of the zoo below the session.

mod damage;
mod formats;
mod lanes;
mod oracle;
mod parity;

use candle_core::Device;
use chimera_core::{LoadOptions, ModelRef};
use chimera_engine::{LanguageModel, Sampler, Wanted, files::locate};
use chimera_zoo::{ModelFiles, Variant, Zoo};

use crate::{error::LoadError, model::CandleModel};

/// The models of the build folder.
pub(crate) fn zoo() -> Zoo {
    // The test's program is in `deps` of the build folder.
    let program = std::env::current_exe().unwrap();
    Zoo::open(program.parent().and_then(|deps| deps.parent()).unwrap().join("chimera-candle-zoo")).unwrap()
}

/// Files of a model, made once per build folder.
pub(crate) fn files(name: &str, variant: Variant) -> ModelFiles {
    zoo().ensure(name, variant).unwrap()
}

pub(crate) fn load_at(path: &std::path::Path) -> Result<CandleModel, LoadError> {
    let located = locate(&ModelRef::at("model", path), None)?;
    CandleModel::load("model", &located, &LoadOptions::default(), &Device::Cpu)
}

pub(crate) fn load(name: &str, variant: Variant) -> CandleModel {
    load_at(&files(name, variant).weights).unwrap()
}

/// Some token ids of a vocabulary, the same for the same seed.
pub(crate) fn prompt(vocabulary: usize, length: usize, seed: usize) -> Vec<u32> {
    (0..length).map(|i| ((i * 7919 + seed * 104_729 + 13) % vocabulary) as u32).collect()
}

/// Logits at every position, read in one go.
pub(crate) fn all_logits(model: &mut CandleModel, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut cache = model.start(&[0], tokens.len()).unwrap();
    let logits = model.forward(cache.as_mut(), tokens, Wanted::All).unwrap();
    (0..logits.rows()).map(|row| logits.row(row).unwrap().to_vec()).collect()
}

/// Greedy tokens after a prompt, and the logits each was chosen from, by way of the cache.
pub(crate) fn decode(model: &mut CandleModel, prompt: &[u32], count: usize) -> (Vec<u32>, Vec<Vec<f32>>) {
    let mut cache = model.start(&[0], prompt.len() + count).unwrap();
    let mut greedy = Sampler::new(chimera_core::Sampling::default(), 0).unwrap();
    let (mut tokens, mut rows) = (Vec::new(), Vec::new());
    let mut next = prompt.to_vec();
    for _ in 0..count {
        let mut logits = model.forward(cache.as_mut(), &next, Wanted::Last).unwrap();
        rows.push(logits.row(0).unwrap().to_vec());
        let token = greedy.choose(logits.row_mut(0).unwrap()).unwrap();
        tokens.push(token);
        next = vec![token];
    }
    assert_eq!(cache.len(), prompt.len() + count - 1);
    (tokens, rows)
}

/// Largest difference of two rows of logits.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
