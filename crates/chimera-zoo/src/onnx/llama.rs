//! Llama as a graph: RMS norm from basic operators, rotary positions from a table, SwiGLU. Queries, keys and values are
//! one matrix, and so are gate and up: one product and one rotation for all heads, and no two products that share a
//! quantised activation, which ONNX Runtime would leave in floats when it is signed.

use chimera_onnx::{Attribute, DataType, Tensor};

use super::Graph;
use super::parts::Parts;
use crate::spec::LlamaSpec;

/// The rotary tables, one row a position. The names tell [`crate::Manifest::bytes_per_decode_token`] that a step reads one
/// row of each.
pub(crate) const COSINES: &str = "rotary.cosines";
pub(crate) const SINES: &str = "rotary.sines";

pub(super) fn graph(mut p: Parts, spec: &LlamaSpec) -> Graph {
    p.inputs();
    let embedding = p.weight("model.embed_tokens.weight");
    let mut x = p.g.node("Gather", &[&embedding, "input_ids"], &[]);
    let mask = p.mask();
    let rotation = rotation(&mut p, spec);
    let (heads, kv, d) = (spec.heads, spec.kv_heads, spec.head_dim);
    for layer in 0..spec.layers {
        let l = format!("model.layers.{layer}");
        let y = norm(&mut p, spec, &format!("{l}.input_layernorm.weight"), &x);
        let parts = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{l}.self_attn.{part}.weight"));
        let weight =
            p.linear(&format!("{l}.self_attn.qkv_proj.weight"), &parts.each_ref().map(String::as_str));
        let qkv = p.g.node("MatMul", &[&y, &weight], &[]);
        let qkv = p.heads(&qkv, heads + 2 * kv);
        let qk_v = p.split(&qkv, 1, &[heads + kv, kv]);
        let qk = rotate(&mut p, &qk_v[0], d, &rotation);
        let qk = p.split(&qk, 1, &[heads, kv]);
        let y = p.attention(layer, [&qk[0], &qk[1], &qk_v[1]], &mask);
        let y = linear(&mut p, &format!("{l}.self_attn.o_proj.weight"), &y);
        x = p.g.node("Add", &[&x, &y], &[]);
        let y = norm(&mut p, spec, &format!("{l}.post_attention_layernorm.weight"), &x);
        let parts = ["gate_proj", "up_proj"].map(|part| format!("{l}.mlp.{part}.weight"));
        let weight = p.linear(&format!("{l}.mlp.gate_up_proj.weight"), &parts.each_ref().map(String::as_str));
        let both = p.g.node("MatMul", &[&y, &weight], &[]);
        let both = p.split(&both, -1, &[spec.feed_forward, spec.feed_forward]);
        let open = p.g.node("Sigmoid", &[&both[0]], &[]);
        let gate = p.g.node("Mul", &[&both[0], &open], &[]);
        let y = p.g.node("Mul", &[&gate, &both[1]], &[]);
        let y = linear(&mut p, &format!("{l}.mlp.down_proj.weight"), &y);
        x = p.g.node("Add", &[&x, &y], &[]);
    }
    let x = p.kept(&x);
    let x = norm(&mut p, spec, "model.norm.weight", &x);
    p.head(&x, &embedding)
}

fn linear(p: &mut Parts, name: &str, x: &str) -> String {
    let weight = p.linear(name, &[name]);
    p.g.node("MatMul", &[x, &weight], &[])
}

/// In F32 whatever the graph's type: squares of F16 overflow.
fn norm(p: &mut Parts, spec: &LlamaSpec, name: &str, x: &str) -> String {
    let weight = p.weight(name);
    let to = |kind: DataType| [("to", Attribute::Int(kind.id().into()))];
    let wide =
        if p.kind == DataType::F32 { x.to_owned() } else { p.g.node("Cast", &[x], &to(DataType::F32)) };
    let two = p.g.scalar(DataType::F32, 2.0);
    let epsilon = p.g.scalar(DataType::F32, spec.rms_eps as f32);
    let axis = p.g.list(&[-1]);
    let y = p.g.node("Pow", &[&wide, &two], &[]);
    let y = p.g.node("ReduceMean", &[&y, &axis], &[("keepdims", Attribute::Int(1))]);
    let y = p.g.node("Add", &[&y, &epsilon], &[]);
    let y = p.g.node("Sqrt", &[&y], &[]);
    let y = p.g.node("Div", &[&wide, &y], &[]);
    let y = p.cast(&y, DataType::F32, p.kind);
    p.g.node("Mul", &[&y, &weight], &[])
}

/// Cosines and sines of the positions, `[batch, 1, sequence, width]`, from tables made here in double precision. A position
/// beyond the context is no row of them, and engines say so.
fn rotation(p: &mut Parts, spec: &LlamaSpec) -> [String; 2] {
    let d = spec.head_dim;
    let (mut cosines, mut sines) = (Vec::new(), Vec::new());
    for position in 0..spec.ctx {
        for i in 0..d {
            // Pairs are halves of a head: (a, b) becomes (a cos - b sin, b cos + a sin). The sign is in the table.
            let angle = position as f64 * spec.rope_theta.powf(-2.0 * (i % (d / 2)) as f64 / d as f64);
            let (sine, cosine) = angle.sin_cos();
            cosines.push(cosine as f32);
            sines.push(if i < d / 2 { -sine } else { sine } as f32);
        }
    }
    let dims = [spec.ctx as u64, d as u64];
    let axis = p.g.list(&[1]);
    [(COSINES, cosines), (SINES, sines)].map(|(name, values)| {
        let table = p.g.constant(Tensor::floats(name, &dims, p.kind, &values));
        let rows = p.g.node("Gather", &[&table, "position_ids"], &[]);
        p.g.node("Unsqueeze", &[&rows, &axis], &[])
    })
}

fn rotate(p: &mut Parts, x: &str, d: usize, [cosines, sines]: &[String; 2]) -> String {
    let halves = p.split(x, -1, &[d / 2, d / 2]);
    let swapped = p.g.node("Concat", &[&halves[1], &halves[0]], &[("axis", Attribute::Int(-1))]);
    let straight = p.g.node("Mul", &[x, cosines], &[]);
    let crossed = p.g.node("Mul", &[&swapped, sines], &[]);
    p.g.node("Add", &[&straight, &crossed], &[])
}
