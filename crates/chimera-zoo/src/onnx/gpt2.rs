//! GPT-2 as a graph: layer norm, learned positions, GELU by its tanh formula. Its matrices are stored by Hugging Face as
//! the graph wants them.

use chimera_onnx::Attribute;

use super::Graph;
use super::parts::Parts;
use crate::spec::Gpt2Spec;

pub(super) fn graph(mut p: Parts, spec: &Gpt2Spec) -> Graph {
    p.inputs();
    let embedding = p.weight("transformer.wte.weight");
    let positions = p.weight("transformer.wpe.weight");
    let tokens = p.g.node("Gather", &[&embedding, "input_ids"], &[]);
    let places = p.g.node("Gather", &[&positions, "position_ids"], &[]);
    let mut x = p.g.node("Add", &[&tokens, &places], &[]);
    let mask = p.mask();
    let heads = spec.heads;
    for layer in 0..spec.layers {
        let h = format!("transformer.h.{layer}");
        let y = norm(&mut p, spec, &format!("{h}.ln_1"), &x);
        let qkv = linear(&mut p, &format!("{h}.attn.c_attn"), &y);
        let qkv = p.heads(&qkv, 3 * heads);
        let qkv = p.split(&qkv, 1, &[heads, heads, heads]);
        let y = p.attention(layer, [&qkv[0], &qkv[1], &qkv[2]], &mask);
        let y = linear(&mut p, &format!("{h}.attn.c_proj"), &y);
        x = p.g.node("Add", &[&x, &y], &[]);
        let y = norm(&mut p, spec, &format!("{h}.ln_2"), &x);
        let y = linear(&mut p, &format!("{h}.mlp.c_fc"), &y);
        let y = gelu(&mut p, &y);
        let y = linear(&mut p, &format!("{h}.mlp.c_proj"), &y);
        x = p.g.node("Add", &[&x, &y], &[]);
    }
    let x = p.kept(&x);
    let x = norm(&mut p, spec, "transformer.ln_f", &x);
    p.head(&x, &embedding)
}

fn norm(p: &mut Parts, spec: &Gpt2Spec, name: &str, x: &str) -> String {
    let (weight, bias) = (p.weight(&format!("{name}.weight")), p.weight(&format!("{name}.bias")));
    let attributes =
        [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(spec.layer_norm_eps as f32))];
    p.g.node("LayerNormalization", &[x, &weight, &bias], &attributes)
}

fn linear(p: &mut Parts, name: &str, x: &str) -> String {
    let (weight, bias) = (p.weight(&format!("{name}.weight")), p.weight(&format!("{name}.bias")));
    let y = p.g.node("MatMul", &[x, &weight], &[]);
    p.g.node("Add", &[&y, &bias], &[])
}

/// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, in the order of operations that optimisers know.
fn gelu(p: &mut Parts, x: &str) -> String {
    let [half, three, cubic, root, one] =
        [0.5, 3.0, 0.044_715, (2.0 / std::f64::consts::PI).sqrt() as f32, 1.0].map(|v| p.g.scalar(p.kind, v));
    let halved = p.g.node("Mul", &[x, &half], &[]);
    let y = p.g.node("Pow", &[x, &three], &[]);
    let y = p.g.node("Mul", &[&y, &cubic], &[]);
    let y = p.g.node("Add", &[x, &y], &[]);
    let y = p.g.node("Mul", &[&y, &root], &[]);
    let y = p.g.node("Tanh", &[&y], &[]);
    let y = p.g.node("Add", &[&y, &one], &[]);
    p.g.node("Mul", &[&halved, &y], &[])
}
