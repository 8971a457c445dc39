//! What the graphs of all families share: inputs and outputs, the mask, attention over the cache, and the head. The
//! choices serve decode: the concatenation with the cache is the only copy of it, grouped queries are folded into rows
//! instead of repeating keys and values, and what every block needs is made once.

use std::collections::HashMap;

use chimera_onnx::{Attribute, DataType, Extent, GraphBuilder, Tensor};

use super::{Graph, Recipe};
use crate::spec::{ModelSpec, Shape, TensorDef};

/// The operator set: the newest that every engine here reads.
const OPSET: i64 = 18;

const BATCH: Extent<'static> = Extent::Name("batch_size");
const SEQUENCE: Extent<'static> = Extent::Name("sequence_length");
const TOTAL: Extent<'static> = Extent::Name("total_sequence_length");
const PAST: Extent<'static> = Extent::Name("past_sequence_length");

/// A graph under construction.
pub(super) struct Parts {
    pub(super) g: GraphBuilder,
    /// The type of weights, activations and cache.
    pub(super) kind: DataType,
    pub(super) shape: Shape,
    defs: HashMap<String, TensorDef>,
    recipes: Vec<Recipe>,
}

impl Parts {
    pub(super) fn new(spec: &ModelSpec, kind: DataType) -> Self {
        Self {
            g: GraphBuilder::new(&spec.name, OPSET),
            kind,
            shape: spec.shape(),
            defs: spec.tensors().into_iter().map(|def| (def.name.clone(), def)).collect(),
            recipes: Vec::new(),
        }
    }

    /// The inputs, in the order in which exports list them.
    pub(super) fn inputs(&mut self) {
        let Shape { layers, kv_heads, head_dim, .. } = self.shape;
        self.g.input("input_ids", DataType::I64, &[BATCH, SEQUENCE]);
        self.g.input("attention_mask", DataType::I64, &[BATCH, TOTAL]);
        self.g.input("position_ids", DataType::I64, &[BATCH, SEQUENCE]);
        let (heads, width) = (Extent::Number(kv_heads as u64), Extent::Number(head_dim as u64));
        for layer in 0..layers {
            for part in ["key", "value"] {
                let name = format!("past_key_values.{layer}.{part}");
                self.g.input(&name, self.kind, &[BATCH, heads, PAST, width]);
            }
        }
        self.g.input("num_logits_to_keep", DataType::I64, &[]);
    }

    /// A tensor of the specification as it is stored by Hugging Face.
    pub(super) fn weight(&mut self, name: &str) -> String {
        self.made_of(name, &[name], false)
    }

    /// A linear layer of `[outputs, inputs]`, or several one below the other, as one of `[inputs, outputs]`.
    pub(super) fn linear(&mut self, name: &str, of: &[&str]) -> String {
        self.made_of(name, of, true)
    }

    fn made_of(&mut self, name: &str, of: &[&str], transposed: bool) -> String {
        // A name that the specification has not is a mistake of this module, which `Graph::values` tells.
        let defs: Vec<TensorDef> = of.iter().filter_map(|part| self.defs.get(*part).cloned()).collect();
        let mut dims: Vec<u64> =
            defs.first().map(|def| def.shape.iter().map(|n| *n as u64).collect()).unwrap_or_default();
        if let Some(rows) = dims.first_mut() {
            *rows = defs.iter().map(|def| def.shape[0] as u64).sum();
        }
        if transposed {
            dims.reverse();
        }
        self.recipes.push(Recipe { name: name.to_owned(), defs, transposed });
        self.g.constant(Tensor::deferred(name, &dims, self.kind))
    }

    /// What is added to the scores of every block, `[batch, 1, groups * sequence, total]`: zero where a query may look, and
    /// otherwise a number so low that its weight is zero. It is finite: a row that may look nowhere, as that of padding,
    /// must not become NaN.
    pub(super) fn mask(&mut self) -> String {
        let extent = |g: &mut GraphBuilder, of: &str| {
            g.node("Shape", &[of], &[("start", Attribute::Int(1)), ("end", Attribute::Int(2))])
        };
        let total = extent(&mut self.g, "attention_mask");
        let new = extent(&mut self.g, "input_ids");
        let past = self.g.node("Sub", &[&total, &new], &[]);
        let (zero, one) = (self.g.integer(0), self.g.integer(1));
        let (first, second) = (self.g.list(&[0]), self.g.list(&[1]));
        let end = self.g.node("Squeeze", &[&total, &first], &[]);
        let keys = self.g.node("Range", &[&zero, &end, &one], &[]);
        let queries = self.g.node("Slice", &[&keys, &past, &total, &first], &[]);
        let queries = self.g.node("Unsqueeze", &[&queries, &second], &[]);
        let causal = self.g.node("LessOrEqual", &[&keys, &queries], &[]);
        let there = self.g.node("Cast", &["attention_mask"], &[("to", Attribute::Int(9))]);
        let axes = self.g.list(&[1, 2]);
        let there = self.g.node("Unsqueeze", &[&there, &axes], &[]);
        let allowed = self.g.node("And", &[&there, &causal], &[]);
        // Far below any score, and far above where a sum with a score would overflow.
        let (yes, no) = (self.g.scalar(DataType::F32, 0.0), self.g.scalar(DataType::F32, -1e9));
        let mask = self.g.node("Where", &[&allowed, &yes, &no], &[]);
        let groups = self.groups();
        if groups == 1 {
            return mask;
        }
        let repeats = self.g.list(&[1, 1, groups, 1]);
        self.g.node("Tile", &[&mask, &repeats], &[])
    }

    fn groups(&self) -> i64 {
        (self.shape.heads / self.shape.kv_heads) as i64
    }

    /// `[batch, sequence, heads * width]` to `[batch, heads, sequence, width]`.
    pub(super) fn heads(&mut self, x: &str, heads: usize) -> String {
        let shape = self.g.list(&[0, 0, heads as i64, self.shape.head_dim as i64]);
        let x = self.g.node("Reshape", &[x, &shape], &[]);
        self.g.node("Transpose", &[&x], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))])
    }

    /// `x`, which is of one type, as another; itself if they are the same.
    pub(super) fn cast(&mut self, x: &str, from: DataType, to: DataType) -> String {
        if from == to {
            return x.to_owned();
        }
        self.g.node("Cast", &[x], &[("to", Attribute::Int(to.id().into()))])
    }

    /// Cuts `x` along an axis.
    pub(super) fn split(&mut self, x: &str, axis: i64, sizes: &[usize]) -> Vec<String> {
        let list: Vec<i64> = sizes.iter().map(|n| *n as i64).collect();
        let list = self.g.list(&list);
        self.g.nodes("Split", &[x, &list], sizes.len(), &[("axis", Attribute::Int(axis))])
    }

    /// Attention of new queries over cache and new tokens; heads apart, `[batch, heads, sequence, width]`. Gives
    /// `[batch, sequence, heads * width]`.
    pub(super) fn attention(&mut self, layer: usize, [q, k, v]: [&str; 3], mask: &str) -> String {
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let along = [("axis", Attribute::Int(2))];
        let (number, width) = (Extent::Number(kv_heads as u64), Extent::Number(head_dim as u64));
        let mut joined = Vec::new();
        for (part, new) in [("key", k), ("value", v)] {
            let name = format!("present.{layer}.{part}");
            let past = format!("past_key_values.{layer}.{part}");
            joined.push(self.g.named(&name, "Concat", &[&past, new], &along));
            self.g.output(&name, self.kind, &[BATCH, number, TOTAL, width]);
        }
        let groups = self.groups();
        // Queries that share a key stand below each other: one product for all, and no key is repeated.
        let q = if groups == 1 {
            q.to_owned()
        } else {
            let folded = self.g.list(&[0, kv_heads as i64, -1, head_dim as i64]);
            self.g.node("Reshape", &[q, &folded], &[])
        };
        let turned = self.g.node("Transpose", &[&joined[0]], &[("perm", Attribute::Ints(vec![0, 1, 3, 2]))]);
        let scores = self.g.node("MatMul", &[&q, &turned], &[]);
        let scale = self.g.scalar(self.kind, (head_dim as f64).powf(-0.5) as f32);
        let scores = self.g.node("Mul", &[&scores, &scale], &[]);
        // In F32 whatever the graph's type, as models are trained.
        let scores = self.cast(&scores, self.kind, DataType::F32);
        let scores = self.g.node("Add", &[&scores, mask], &[]);
        let weights = self.g.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let weights = self.cast(&weights, DataType::F32, self.kind);
        let mut out = self.g.node("MatMul", &[&weights, &joined[1]], &[]);
        if groups != 1 {
            let apart = self.g.list(&[0, heads as i64, -1, head_dim as i64]);
            out = self.g.node("Reshape", &[&out, &apart], &[]);
        }
        let out = self.g.node("Transpose", &[&out], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))]);
        let flat = self.g.list(&[0, 0, (heads * head_dim) as i64]);
        self.g.node("Reshape", &[&out, &flat], &[])
    }

    /// The last `num_logits_to_keep` positions of `[batch, sequence, width]`; all if it is zero.
    pub(super) fn kept(&mut self, x: &str) -> String {
        let (one, axis) = (self.g.list(&[1]), self.g.list(&[1]));
        let count = self.g.node("Reshape", &["num_logits_to_keep", &one], &[]);
        // Minus zero is the start.
        let start = self.g.node("Neg", &[&count], &[]);
        let end = self.g.list(&[i64::MAX]);
        self.g.node("Slice", &[x, &start, &end, &axis], &[])
    }

    /// The head and the output; `embedding` is the table that a tied head shares: one initializer, turned by a node that
    /// engines apply to constants once, when they load.
    pub(super) fn head(mut self, x: &str, embedding: &str) -> Graph {
        let weight = if self.shape.tied {
            self.g.node("Transpose", &[embedding], &[("perm", Attribute::Ints(vec![1, 0]))])
        } else {
            self.linear("lm_head.weight", &["lm_head.weight"])
        };
        if self.kind == DataType::F32 {
            self.g.named("logits", "MatMul", &[x, &weight], &[]);
        } else {
            let logits = self.g.node("MatMul", &[x, &weight], &[]);
            self.g.named("logits", "Cast", &[&logits], &[("to", Attribute::Int(DataType::F32.id().into()))]);
        }
        let vocab = Extent::Number(self.shape.vocab as u64);
        self.g.output("logits", DataType::F32, &[BATCH, Extent::Name("kept_length"), vocab]);
        let mut model = self.g.finish();
        // Readers expect the logits first.
        model.graph_mut().output.rotate_right(1);
        Graph { model, recipes: self.recipes }
    }
}
