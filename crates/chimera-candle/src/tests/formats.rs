//! Quantised types that the zoo does not write: made by the library's own quantiser and writer, and judged by the model
//! of the weights that they stand for.

use std::{fs::File, io::BufReader, path::Path};

use candle_core::{
    Device,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{Content, Value, write},
    },
};
use chimera_engine::LanguageModel;
use chimera_zoo::{Architecture, LlamaSpec, ModelSpec, Variant};

use super::{all_logits, decode, load_at, prompt, zoo};

/// Writes the model of `from` again, matrices as `kind` where their rows divide into its blocks; the second file has the
/// same weights widened to F32.
fn rewrite(from: &Path, kind: GgmlDType, quantised: &Path, widened: &Path) -> usize {
    let mut file = BufReader::new(File::open(from).unwrap());
    let content = Content::read(&mut file).unwrap();
    let (mut coarse, mut wide) = (Vec::new(), Vec::new());
    let mut count = 0;
    for name in content.tensor_infos.keys() {
        let original = content.tensor(&mut file, name, &Device::Cpu).unwrap();
        let values = original.dequantize(&Device::Cpu).unwrap();
        let fits = values.rank() == 2 && values.dim(1).unwrap().is_multiple_of(kind.block_size());
        let stored = if fits { QTensor::quantize(&values, kind).unwrap() } else { original };
        count += usize::from(fits);
        let exact = stored.dequantize(&Device::Cpu).unwrap();
        wide.push((name.as_str(), QTensor::quantize(&exact, GgmlDType::F32).unwrap()));
        coarse.push((name.as_str(), stored));
    }
    let metadata: Vec<(&str, &Value)> = content.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    for (path, tensors) in [(quantised, &coarse), (widened, &wide)] {
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(n, t)| (*n, t)).collect();
        write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
    }
    count
}

#[test]
fn every_quantised_type_computes_with_the_weights_it_stands_for() {
    // Widths that divide into blocks of 256.
    let llama = LlamaSpec {
        vocab: 512,
        ctx: 64,
        layers: 3,
        width: 256,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        feed_forward: 512,
        rope_theta: 10_000.0,
        rms_eps: 1e-5,
        tied: true,
        bos: None,
        eos: Some(511),
    };
    let spec = ModelSpec { name: "wide".into(), seed: 1, architecture: Architecture::Llama(llama) };
    let from = zoo().ensure_spec(&spec, Variant::F32Gguf).unwrap().weights;
    let folder = tempfile::tempdir().unwrap();
    let (quantised, widened) = (folder.path().join("q.gguf"), folder.path().join("w.gguf"));
    for (kind, name) in [
        (GgmlDType::Q4_0, "Q4_0"),
        (GgmlDType::Q4_1, "Q4_1"),
        (GgmlDType::Q5_0, "Q5_0"),
        (GgmlDType::Q8_0, "Q8_0"),
        (GgmlDType::Q4K, "Q4_K"),
        (GgmlDType::Q6K, "Q6_K"),
    ] {
        assert!(rewrite(&from, kind, &quantised, &widened) > 20);
        let (mut a, mut b) = (load_at(&quantised).unwrap(), load_at(&widened).unwrap());
        assert_eq!(a.info().quantisation.as_deref(), Some(name));
        assert!(a.info().weight_bytes_per_token < b.info().weight_bytes_per_token);
        let tokens = prompt(a.vocabulary(), 20, 10);
        let expected = all_logits(&mut b, &tokens);
        let all: Vec<f32> = expected.iter().flatten().copied().collect();
        let sd = (all.iter().map(|l| l * l).sum::<f32>() / all.len() as f32).sqrt();
        // Twenty rows at once, and one row at a time: both ways of multiplying.
        let together = all_logits(&mut a, &tokens);
        let mut one = a.start(&[0], 20).unwrap();
        for (position, token) in tokens.iter().enumerate() {
            let alone = a.forward(one.as_mut(), &[*token], chimera_engine::Wanted::Last).unwrap();
            for row in [&together[position][..], alone.row(0).unwrap()] {
                let square = row.iter().zip(&expected[position]).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
                let share = (square / row.len() as f32).sqrt() / sd;
                // The library rounds activations to 8 bits before it multiplies.
                assert!(share < 0.15, "{name}, position {position}: {share} of the logits' size");
            }
        }
        let (said, _) = decode(&mut a, &tokens, 4);
        assert_eq!(said.len(), 4);
    }
}
