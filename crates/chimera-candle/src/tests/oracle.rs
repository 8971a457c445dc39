//! The architectures written once more, plainly and in f64, from their papers: an oracle that shares
//! no code with the models under test but the reading of files.

use chimera_engine::LanguageModel;
use chimera_zoo::Variant;

use super::{all_logits, distance, files, load, prompt};
use crate::file::safetensors::SafetensorsFile;

struct Plain(SafetensorsFile);

type Rows = Vec<Vec<f64>>;

impl Plain {
    fn open(name: &str) -> Self {
        Self(SafetensorsFile::open(&files(name, Variant::F32Safetensors).weights).unwrap())
    }

    fn get(&mut self, name: &str) -> Vec<f64> {
        let prefixed = format!("transformer.{name}");
        let name = if self.0.has(&prefixed) { &prefixed } else { name };
        self.0.read(name).unwrap().values.iter().map(|&v| f64::from(v)).collect()
    }
}

/// `x` times a matrix that is stored as rows of inputs (GPT-2) or rows of outputs (Llama).
fn times(x: &[f64], w: &[f64], outputs: usize, rows_of_inputs: bool) -> Vec<f64> {
    let inputs = x.len();
    assert_eq!(w.len(), inputs * outputs);
    (0..outputs)
        .map(|o| {
            (0..inputs)
                .map(|i| x[i] * if rows_of_inputs { w[i * outputs + o] } else { w[o * inputs + i] })
                .sum()
        })
        .collect()
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64], epsilon: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (0..x.len()).map(|i| (x[i] - mean) / (variance + epsilon).sqrt() * weight[i] + bias[i]).collect()
}

fn rms_norm(x: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let mean = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(v, w)| v / (mean + epsilon).sqrt() * w).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// Attention of one head: position by position, over itself and as much of what came before as its window shows.
fn attend(q: &Rows, k: &Rows, v: &Rows, window: usize) -> Rows {
    let width = q[0].len();
    (0..q.len())
        .map(|t| {
            let first = (t + 1).saturating_sub(window);
            let scores: Vec<f64> = (first..=t)
                .map(|s| q[t].iter().zip(&k[s]).map(|(a, b)| a * b).sum::<f64>() / (width as f64).sqrt())
                .collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            (0..width).map(|d| (first..=t).map(|s| weights[s - first] / total * v[s][d]).sum()).collect()
        })
        .collect()
}

fn head(rows: &Rows, start: usize, width: usize) -> Rows {
    rows.iter().map(|r| r[start..start + width].to_vec()).collect()
}

fn join(heads: &[Rows]) -> Rows {
    (0..heads[0].len()).map(|t| heads.iter().flat_map(|h| h[t].clone()).collect()).collect()
}

fn gpt2(name: &str, (layers, width, heads): (usize, usize, usize), tokens: &[u32]) -> Rows {
    let mut file = Plain::open(name);
    let (wte, wpe) = (file.get("wte.weight"), file.get("wpe.weight"));
    let row = |table: &[f64], i: usize| table[i * width..(i + 1) * width].to_vec();
    let mut x: Rows =
        tokens.iter().enumerate().map(|(t, &id)| add(&row(&wte, id as usize), &row(&wpe, t))).collect();
    for layer in 0..layers {
        let mut get = |part: &str| file.get(&format!("h.{layer}.{part}"));
        let (w, b) = (get("ln_1.weight"), get("ln_1.bias"));
        let (qkv_w, qkv_b) = (get("attn.c_attn.weight"), get("attn.c_attn.bias"));
        let qkv: Rows = x
            .iter()
            .map(|r| add(&times(&layer_norm(r, &w, &b, 1e-5), &qkv_w, 3 * width, true), &qkv_b))
            .collect();
        let size = width / heads;
        let attended: Vec<Rows> = (0..heads)
            .map(|h| {
                let part = |n: usize| head(&qkv, n * width + h * size, size);
                attend(&part(0), &part(1), &part(2), usize::MAX)
            })
            .collect();
        let (w, b) = (get("attn.c_proj.weight"), get("attn.c_proj.bias"));
        let attended = join(&attended);
        x = x.iter().zip(&attended).map(|(r, a)| add(r, &add(&times(a, &w, width, true), &b))).collect();
        let (nw, nb) = (get("ln_2.weight"), get("ln_2.bias"));
        let (uw, ub) = (get("mlp.c_fc.weight"), get("mlp.c_fc.bias"));
        let (dw, db) = (get("mlp.c_proj.weight"), get("mlp.c_proj.bias"));
        x = x
            .iter()
            .map(|r| {
                let up = add(&times(&layer_norm(r, &nw, &nb, 1e-5), &uw, 4 * width, true), &ub);
                let up: Vec<f64> = up.into_iter().map(gelu).collect();
                add(r, &add(&times(&up, &dw, width, true), &db))
            })
            .collect();
    }
    let (w, b) = (file.get("ln_f.weight"), file.get("ln_f.bias"));
    x.iter().map(|r| times(&layer_norm(r, &w, &b, 1e-5), &wte, wte.len() / width, false)).collect()
}

/// Turns a head by its position, pairs being halves.
fn rotate(x: &[f64], position: usize, base: f64) -> Vec<f64> {
    let half = x.len() / 2;
    let angle = |i: usize| position as f64 * base.powf(-2.0 * (i % half) as f64 / x.len() as f64);
    (0..x.len())
        .map(|i| {
            let other = if i < half { -x[i + half] } else { x[i - half] };
            x[i] * angle(i).cos() + other * angle(i).sin()
        })
        .collect()
}

fn llama_0_1m(tokens: &[u32]) -> Rows {
    let (layers, width, heads, kv_heads, size, feed) = (2, 64, 4, 2, 16, 128);
    let mut file = Plain::open("llama-0.1m");
    let table = file.get("model.embed_tokens.weight");
    let mut x: Rows =
        tokens.iter().map(|&id| table[id as usize * width..(id as usize + 1) * width].to_vec()).collect();
    for layer in 0..layers {
        let mut get = |part: &str| file.get(&format!("model.layers.{layer}.{part}.weight"));
        let norm = get("input_layernorm");
        let normed: Rows = x.iter().map(|r| rms_norm(r, &norm, 1e-5)).collect();
        let mut map = |part: &str, outputs: usize| -> Rows {
            let w = get(part);
            normed.iter().map(|r| times(r, &w, outputs, false)).collect()
        };
        let q = map("self_attn.q_proj", heads * size);
        let k = map("self_attn.k_proj", kv_heads * size);
        let v = map("self_attn.v_proj", kv_heads * size);
        let turned = |rows: &Rows, h: usize| -> Rows {
            head(rows, h * size, size).iter().enumerate().map(|(t, r)| rotate(r, t, 10_000.0)).collect()
        };
        let attended: Vec<Rows> = (0..heads)
            .map(|h| {
                let shared = h / (heads / kv_heads);
                attend(&turned(&q, h), &turned(&k, shared), &head(&v, shared * size, size), usize::MAX)
            })
            .collect();
        let attended = join(&attended);
        let o = get("self_attn.o_proj");
        x = x.iter().zip(&attended).map(|(r, a)| add(r, &times(a, &o, width, false))).collect();
        let (norm, gate, up, down) =
            (get("post_attention_layernorm"), get("mlp.gate_proj"), get("mlp.up_proj"), get("mlp.down_proj"));
        x = x
            .iter()
            .map(|r| {
                let n = rms_norm(r, &norm, 1e-5);
                let (g, u) = (times(&n, &gate, feed, false), times(&n, &up, feed, false));
                let fed: Vec<f64> = g.iter().zip(&u).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                add(r, &times(&fed, &down, width, false))
            })
            .collect();
    }
    let norm = file.get("model.norm.weight");
    x.iter().map(|r| times(&rms_norm(r, &norm, 1e-5), &table, table.len() / width, false)).collect()
}

fn gemma3_1m(tokens: &[u32]) -> Rows {
    let (layers, width, heads, size, feed, window) = (6, 128, 4, 64, 192, 32);
    let mut file = Plain::open("gemma3-1m");
    let table = file.get("model.embed_tokens.weight");
    let mut x: Rows = tokens
        .iter()
        .map(|&id| {
            let row = &table[id as usize * width..(id as usize + 1) * width];
            row.iter().map(|v| v * (width as f64).sqrt()).collect()
        })
        .collect();
    // Norms store their difference to one.
    let norm = |x: &[f64], w: &[f64]| rms_norm(x, &w.iter().map(|w| w + 1.0).collect::<Vec<_>>(), 1e-6);
    for layer in 0..layers {
        let mut get = |part: &str| file.get(&format!("model.layers.{layer}.{part}.weight"));
        let all = (layer + 1) % 6 == 0;
        let (base, window) = if all { (1e6, usize::MAX) } else { (1e4, window) };
        let before = get("input_layernorm");
        let normed: Rows = x.iter().map(|r| norm(r, &before)).collect();
        let mut map = |part: &str, outputs: usize| -> Rows {
            let w = get(part);
            normed.iter().map(|r| times(r, &w, outputs, false)).collect()
        };
        // One head of keys and values for all.
        let q = map("self_attn.q_proj", heads * size);
        let k = map("self_attn.k_proj", size);
        let v = map("self_attn.v_proj", size);
        let (q_norm, k_norm) = (get("self_attn.q_norm"), get("self_attn.k_norm"));
        let turned = |rows: &Rows, h: usize, w: &[f64]| -> Rows {
            let part = head(rows, h * size, size);
            part.iter().enumerate().map(|(t, r)| rotate(&norm(r, w), t, base)).collect()
        };
        let keys = turned(&k, 0, &k_norm);
        let attended: Vec<Rows> =
            (0..heads).map(|h| attend(&turned(&q, h, &q_norm), &keys, &v, window)).collect();
        let (o, after) = (get("self_attn.o_proj"), get("post_attention_layernorm"));
        let attended = join(&attended);
        x = x
            .iter()
            .zip(&attended)
            .map(|(r, a)| add(r, &norm(&times(a, &o, width, false), &after)))
            .collect();
        let (before, after) = (get("pre_feedforward_layernorm"), get("post_feedforward_layernorm"));
        let (gate, up, down) = (get("mlp.gate_proj"), get("mlp.up_proj"), get("mlp.down_proj"));
        x = x
            .iter()
            .map(|r| {
                let n = norm(r, &before);
                let (g, u) = (times(&n, &gate, feed, false), times(&n, &up, feed, false));
                let fed: Vec<f64> = g.iter().zip(&u).map(|(g, u)| gelu(*g) * u).collect();
                add(r, &norm(&times(&fed, &down, width, false), &after))
            })
            .collect();
    }
    let last = file.get("model.norm.weight");
    x.iter().map(|r| times(&norm(r, &last), &table, table.len() / width, false)).collect()
}

fn compare(name: &str, bound: f32, expected: &Rows, actual: &[Vec<f32>]) {
    assert_eq!(expected.len(), actual.len());
    for (position, (e, a)) in expected.iter().zip(actual).enumerate() {
        let e: Vec<f32> = e.iter().map(|&v| v as f32).collect();
        let d = distance(&e, a);
        assert!(d < bound, "{name}, position {position}: {d}");
    }
}

#[test]
fn gpt2_is_what_the_paper_says() {
    let mut model = load("tiny-gpt2", Variant::F32Safetensors);
    let tokens = prompt(model.vocabulary(), 24, 6);
    // A norm over two values divides by their difference, which may be next to nothing: it magnifies rounding.
    compare("tiny-gpt2", 2e-2, &gpt2("tiny-gpt2", (2, 2, 2), &tokens), &all_logits(&mut model, &tokens));
    // Wider, where a head has more than one value.
    let mut model = load("gpt2-5m", Variant::F32Safetensors);
    let tokens = prompt(model.vocabulary(), 6, 7);
    compare("gpt2-5m", 5e-5, &gpt2("gpt2-5m", (12, 80, 2), &tokens), &all_logits(&mut model, &tokens));
}

#[test]
fn llama_is_what_the_paper_says() {
    let mut model = load("llama-0.1m", Variant::F32Safetensors);
    let tokens = prompt(model.vocabulary(), 24, 8);
    compare("llama-0.1m", 5e-5, &llama_0_1m(&tokens), &all_logits(&mut model, &tokens));
}

#[test]
fn gemma3_is_what_the_report_says() {
    let mut model = load("gemma3-1m", Variant::F32Safetensors);
    // Longer than the window of 32.
    let tokens = prompt(model.vocabulary(), 45, 9);
    compare("gemma3-1m", 1e-4, &gemma3_1m(&tokens), &all_logits(&mut model, &tokens));
}
