//! A Llama forward pass in the plainest code, to see that generated weights behave: logits of a sensible size, a greedy
//! text that does not stand still, the same text from either container, and quantisation that costs what it should. It
//! shares no code with any engine, and no speed.

use chimera_zoo::{
    Architecture, Generated, GgufModel, LlamaSpec, ModelSpec, TensorSource, Variant, Zoo, ZooError,
};

struct Llama<'a> {
    shape: LlamaSpec,
    spec: &'a ModelSpec,
    source: &'a dyn TensorSource,
}

fn product(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    matrix.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

fn norm(x: &[f32], weight: &[f32], eps: f64) -> Vec<f32> {
    let mean = x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
    let scale = 1.0 / (mean + eps as f32).sqrt();
    x.iter().zip(weight).map(|(v, w)| v * scale * w).collect()
}

/// Rotates each head's half-split pairs.
fn rotate(x: &mut [f32], head: usize, position: usize, theta: f64) {
    for head_values in x.chunks_exact_mut(head) {
        for j in 0..head / 2 {
            let angle = position as f64 * theta.powf(-2.0 * j as f64 / head as f64);
            let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
            let (a, b) = (head_values[j], head_values[j + head / 2]);
            head_values[j] = a * cos - b * sin;
            head_values[j + head / 2] = b * cos + a * sin;
        }
    }
}

impl Llama<'_> {
    fn tensor(&self, name: &str) -> Result<Vec<f32>, ZooError> {
        let defs = self.spec.tensors();
        let def = defs.iter().find(|t| t.name == name);
        let missing = || ZooError::UnknownModel { name: name.to_owned(), known: String::new() };
        self.source.values(def.ok_or_else(missing)?)
    }

    /// The logits after the last token.
    fn logits(&self, tokens: &[usize]) -> Result<Vec<f32>, ZooError> {
        let s = &self.shape;
        let embedding = self.tensor("model.embed_tokens.weight")?;
        let row = |token: usize| embedding[token * s.width..(token + 1) * s.width].to_vec();
        let mut stream: Vec<Vec<f32>> = tokens.iter().map(|t| row(*t)).collect();
        for layer in 0..s.layers {
            let part = |name: &str| self.tensor(&format!("model.layers.{layer}.{name}.weight"));
            let before = part("input_layernorm")?;
            let (q_proj, k_proj, v_proj) =
                (part("self_attn.q_proj")?, part("self_attn.k_proj")?, part("self_attn.v_proj")?);
            let o_proj = part("self_attn.o_proj")?;
            let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for (position, x) in stream.iter().enumerate() {
                let x = norm(x, &before, s.rms_eps);
                let (mut q, mut k) = (product(&q_proj, &x), product(&k_proj, &x));
                rotate(&mut q, s.head_dim, position, s.rope_theta);
                rotate(&mut k, s.head_dim, position, s.rope_theta);
                queries.push(q);
                keys.push(k);
                values.push(product(&v_proj, &x));
            }
            let after = part("post_attention_layernorm")?;
            let (gate, up, down) = (part("mlp.gate_proj")?, part("mlp.up_proj")?, part("mlp.down_proj")?);
            for (position, x) in stream.iter_mut().enumerate() {
                let mut mixed = Vec::new();
                for head in 0..s.heads {
                    let of = |v: &[f32], h: usize| v[h * s.head_dim..(h + 1) * s.head_dim].to_vec();
                    let shared = head * s.kv_heads / s.heads;
                    let query = of(&queries[position], head);
                    let scale = 1.0 / (s.head_dim as f32).sqrt();
                    let scores: Vec<f32> = (0..=position)
                        .map(|t| product(&of(&keys[t], shared), &query)[0] * scale)
                        .map(f32::exp)
                        .collect();
                    let total: f32 = scores.iter().sum();
                    let mut sum = vec![0.0; s.head_dim];
                    for (t, score) in scores.iter().enumerate() {
                        for (a, v) in sum.iter_mut().zip(of(&values[t], shared)) {
                            *a += score / total * v;
                        }
                    }
                    mixed.extend(sum);
                }
                x.iter_mut().zip(product(&o_proj, &mixed)).for_each(|(a, b)| *a += b);
                let y = norm(x, &after, s.rms_eps);
                let inner: Vec<f32> = product(&gate, &y)
                    .into_iter()
                    .zip(product(&up, &y))
                    .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                    .collect();
                x.iter_mut().zip(product(&down, &inner)).for_each(|(a, b)| *a += b);
            }
        }
        let last = norm(&stream[tokens.len() - 1], &self.tensor("model.norm.weight")?, s.rms_eps);
        let head = if s.tied { embedding } else { self.tensor("lm_head.weight")? };
        Ok(product(&head, &last))
    }

    fn greedy(&self, prompt: &[usize], count: usize) -> Result<Vec<usize>, ZooError> {
        let mut tokens = prompt.to_vec();
        for _ in 0..count {
            let logits = self.logits(&tokens)?;
            let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
            tokens.push(best);
        }
        Ok(tokens.split_off(prompt.len()))
    }
}

/// Root mean square of a difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    (a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f32>() / a.len() as f32).sqrt()
}

#[test]
fn generated_weights_behave_and_every_encoding_stays_near() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    let spec = Zoo::spec("llama-0.1m").unwrap();
    let Architecture::Llama(shape) = spec.architecture.clone() else { panic!("not a Llama") };
    let generated = Generated::new(&spec);
    let exact = Llama { shape: shape.clone(), spec: &spec, source: &generated };
    let prompt = [7, 100, 33, 2];

    let logits = exact.logits(&prompt).unwrap();
    let spread = distance(&logits, &vec![0.0; logits.len()]);
    assert!((1.0..3.0).contains(&spread), "logits spread {spread}");
    let text = exact.greedy(&prompt, 16).unwrap();
    let mut distinct = text.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() >= 4, "{text:?}");

    for (variant, bound) in [
        (Variant::F32Gguf, 0.0),
        // Logits have a spread of 2. Relative errors of the weights: 2^-12, 1/440 and 1/14 of their spread in F16,
        // Q8_0 and Q4_0; sums of independent errors through two blocks grow a few times over.
        (Variant::F16Gguf, 0.01),
        (Variant::Q8Gguf, 0.1),
        (Variant::Q4Gguf, 1.0),
    ] {
        let files = zoo.ensure("llama-0.1m", variant).unwrap();
        let model = GgufModel::open(&files.weights, "llama-0.1m").unwrap();
        let stored = Llama { shape: shape.clone(), spec: &spec, source: &model };
        let error = distance(&logits, &stored.logits(&prompt).unwrap());
        assert!(error <= bound, "{variant}: {error} > {bound}");
        assert!(bound == 0.0 || error > bound / 100.0, "{variant}: {error} is too good for {bound}");
    }
}
