//! What a graph takes and gives: the names that Optimum's exports have, with the variations that occur.

use ort::{
    session::Session,
    value::{Outlet, TensorElementType},
};

/// Type of the integers that an input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integer {
    I64,
    I32,
}

/// Names of one layer's part of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Key and value of the positions before.
    pub(crate) past: [String; 2],
    /// Key and value of all positions.
    pub(crate) present: [String; 2],
}

/// Inputs and outputs of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) ids: Integer,
    pub(crate) mask: Integer,
    pub(crate) positions: Option<Integer>,
    /// How many of the last positions get logits, 0 for all.
    pub(crate) keep: Option<Integer>,
    pub(crate) layers: Vec<Layer>,
    /// Type of keys and values: 32 or 16 bits.
    pub(crate) cache: TensorElementType,
    /// Sizes that the graph fixes.
    pub(crate) kv_heads: Option<usize>,
    pub(crate) head_dim: Option<usize>,
    pub(crate) vocabulary: Option<usize>,
    /// Type of the logits: 32 or 16 bits.
    pub(crate) logits: TensorElementType,
}

pub(crate) const IDS: &str = "input_ids";
pub(crate) const MASK: &str = "attention_mask";
pub(crate) const POSITIONS: &str = "position_ids";
pub(crate) const KEEP: &str = "num_logits_to_keep";
pub(crate) const LOGITS: &str = "logits";

impl Interface {
    /// Reads a session's interface; an error says what is not as it should be.
    pub(crate) fn of(session: &Session) -> Result<Self, String> {
        Self::read(session.inputs(), session.outputs())
    }

    fn read(inputs: &[Outlet], outputs: &[Outlet]) -> Result<Self, String> {
        let input = |name: &str| inputs.iter().find(|outlet| outlet.name() == name);
        let output = |name: &str| {
            let found = outputs.iter().find(|outlet| outlet.name() == name);
            found.ok_or_else(|| format!("the graph has no output `{name}`"))
        };
        let ids = integer(input(IDS).ok_or_else(|| format!("the graph has no input `{IDS}`"))?)?;
        let mask = input(MASK).ok_or_else(|| {
            format!("the graph has no input `{MASK}`, so prompts of a batch cannot be padded")
        })?;
        let mut layers = Vec::new();
        while let Some(key) = input(&past(layers.len(), "key")) {
            let (index, of) = (layers.len(), |kind: &str| format!("present.{}.{kind}", layers.len()));
            let value = past(index, "value");
            input(&value).ok_or_else(|| format!("the graph has no input `{value}`"))?;
            let present = [of("key"), of("value")];
            for name in &present {
                output(name)?;
            }
            layers.push(Layer { past: [key.name().to_owned(), value], present });
        }
        let Some(first) = layers.first() else {
            return Err("the graph has no inputs `past_key_values.*`: export it with a KV cache \
                        (`--task text-generation-with-past`)"
                .into());
        };
        let first = input(&first.past[0]).ok_or("the graph's first layer is gone")?;
        let known = |name: &str| {
            [IDS, MASK, POSITIONS, KEEP].contains(&name)
                || layers.iter().any(|layer| layer.past.iter().any(|past| past == name))
        };
        if let Some(strange) = inputs.iter().find(|outlet| !known(outlet.name())) {
            return Err(format!("the graph has an input `{}`, which is not known here", strange.name()));
        }
        let logits = output(LOGITS)?;
        Ok(Self {
            ids,
            mask: integer(mask)?,
            positions: input(POSITIONS).map(integer).transpose()?,
            keep: input(KEEP).map(integer).transpose()?,
            cache: float(first)?,
            kv_heads: fixed(first, 1),
            head_dim: fixed(first, 3),
            vocabulary: fixed(logits, 2),
            logits: float(logits)?,
            layers,
        })
    }
}

fn past(layer: usize, kind: &str) -> String {
    format!("past_key_values.{layer}.{kind}")
}

fn integer(outlet: &Outlet) -> Result<Integer, String> {
    match outlet.dtype().tensor_type() {
        Some(TensorElementType::Int64) => Ok(Integer::I64),
        Some(TensorElementType::Int32) => Ok(Integer::I32),
        other => Err(format!("the graph's `{}` has type {other:?}, and integers are given", outlet.name())),
    }
}

fn float(outlet: &Outlet) -> Result<TensorElementType, String> {
    match outlet.dtype().tensor_type() {
        Some(kind @ (TensorElementType::Float32 | TensorElementType::Float16)) => Ok(kind),
        other => Err(format!("the graph's `{}` has type {other:?}, and floats are read", outlet.name())),
    }
}

/// A dimension that does not vary.
fn fixed(outlet: &Outlet, axis: usize) -> Option<usize> {
    usize::try_from(*outlet.dtype().tensor_shape()?.get(axis)?).ok().filter(|&size| size > 0)
}

#[cfg(test)]
mod tests {
    use ort::value::{Shape, SymbolicDimensions, ValueType};

    use super::*;

    fn outlet(name: &str, ty: TensorElementType, shape: &[i64]) -> Outlet {
        let dimension_symbols = SymbolicDimensions::empty(shape.len());
        let shape = Shape::new(shape.iter().copied());
        Outlet::new(name, ValueType::Tensor { ty, shape, dimension_symbols })
    }

    fn export() -> (Vec<Outlet>, Vec<Outlet>) {
        use TensorElementType::{Float16, Float32, Int64};
        let inputs = vec![
            outlet(IDS, Int64, &[-1, -1]),
            outlet("past_key_values.0.key", Float16, &[-1, 3, -1, 16]),
            outlet("past_key_values.0.value", Float16, &[-1, 3, -1, 16]),
            outlet(MASK, Int64, &[-1, -1]),
        ];
        let outputs = vec![
            outlet(LOGITS, Float32, &[-1, -1, 100]),
            outlet("present.0.key", Float16, &[-1, 3, -1, 16]),
            outlet("present.0.value", Float16, &[-1, 3, -1, 16]),
        ];
        (inputs, outputs)
    }

    #[test]
    fn an_export_without_extras_is_understood() {
        let (inputs, outputs) = export();
        let read = Interface::read(&inputs, &outputs).expect("an interface");
        assert_eq!((read.positions, read.keep, read.layers.len()), (None, None, 1));
        assert_eq!((read.kv_heads, read.head_dim, read.vocabulary), (Some(3), Some(16), Some(100)));
        assert_eq!((read.cache, read.logits), (TensorElementType::Float16, TensorElementType::Float32));
        assert_eq!(read.layers[0].present, ["present.0.key", "present.0.value"]);
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        let refused = |change: fn(&mut Vec<Outlet>, &mut Vec<Outlet>)| {
            let (mut inputs, mut outputs) = export();
            change(&mut inputs, &mut outputs);
            Interface::read(&inputs, &outputs).expect_err("refused")
        };
        assert!(refused(|inputs, _| drop(inputs.remove(0))).contains(IDS));
        assert!(refused(|inputs, _| drop(inputs.remove(3))).contains(MASK));
        assert!(refused(|inputs, _| drop(inputs.drain(1..3))).contains("with-past"));
        assert!(refused(|inputs, _| drop(inputs.remove(2))).contains("past_key_values.0.value"));
        assert!(refused(|_, outputs| drop(outputs.remove(2))).contains("present.0.value"));
        assert!(refused(|_, outputs| drop(outputs.remove(0))).contains(LOGITS));
        let strange = |inputs: &mut Vec<Outlet>, _: &mut Vec<Outlet>| {
            inputs.push(outlet("use_cache_branch", TensorElementType::Bool, &[1]));
        };
        assert!(refused(strange).contains("use_cache_branch"));
        let float = |inputs: &mut Vec<Outlet>, _: &mut Vec<Outlet>| {
            inputs[0] = outlet(IDS, TensorElementType::Float32, &[-1, -1]);
        };
        assert!(refused(float).contains("Float32"));
    }
}
