//! What a graph must look like to generate with it: token ids in, logits out, and keys and values that go round. The names
//! are those of Optimum's exports. What does not fit is refused here, before an hour of building.

use crate::{
    error::TensorRtError,
    tensor::{Element, Role, TensorSpec},
};

pub(crate) const IDS: &str = "input_ids";
pub(crate) const MASK: &str = "attention_mask";
pub(crate) const POSITIONS: &str = "position_ids";
pub(crate) const KEEP: &str = "num_logits_to_keep";
pub(crate) const LOGITS: &str = "logits";

/// The inputs and outputs of a graph with a cache of keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) vocabulary: usize,
    /// Type of keys and values.
    pub(crate) cache: Element,
    /// Whether it takes position ids; without them it counts by itself.
    pub(crate) positions: bool,
    /// Whether it takes the number of positions whose logits are wanted; without it, it gives all.
    pub(crate) keep: bool,
}

/// Name of the keys (0) or values (1) of a layer, as input.
pub(crate) fn past(layer: usize, which: usize) -> String {
    format!("past_key_values.{layer}.{}", if which == 0 { "key" } else { "value" })
}

/// The same as output.
pub(crate) fn present(layer: usize, which: usize) -> String {
    format!("present.{layer}.{}", if which == 0 { "key" } else { "value" })
}

impl Interface {
    /// Reads it off a graph's or an engine's tensors.
    pub(crate) fn of(tensors: &[TensorSpec]) -> Result<Self, TensorRtError> {
        let find = |name: &str, role| tensors.iter().find(|t| t.name == name && t.role == role);
        let needed = |name: &str, role| {
            find(name, role).ok_or_else(|| {
                let kind = if role == Role::Input { "input" } else { "output" };
                refuse(format!(
                    "it has no {kind} {name}: graphs with a KV cache are run, as `optimum-cli export onnx --task \
                     text-generation-with-past` and the zoo write them"
                ))
            })
        };
        for name in [IDS, MASK] {
            expect(needed(name, Role::Input)?, Element::I64, 2)?;
        }
        let positions = find(POSITIONS, Role::Input);
        if let Some(tensor) = positions {
            expect(tensor, Element::I64, 2)?;
        }
        let keep = find(KEEP, Role::Input);
        if let Some(tensor) = keep {
            expect(tensor, Element::I64, 0)?;
        }
        let logits = needed(LOGITS, Role::Output)?;
        expect(logits, Element::F32, 3)?;
        let vocabulary = fixed(logits, 2)?;

        let first = needed(&past(0, 0), Role::Input)?;
        let (kv_heads, head_dim, cache) = (fixed(first, 1)?, fixed(first, 3)?, first.element);
        if !matches!(cache, Element::F32 | Element::F16) {
            return Err(refuse(format!("{} holds {cache}: F32 and F16 caches are run", first.name)));
        }
        let layers = (0..).take_while(|&layer| find(&past(layer, 0), Role::Input).is_some()).count();
        for layer in 0..layers {
            for which in [0, 1] {
                for (name, role) in [(past(layer, which), Role::Input), (present(layer, which), Role::Output)]
                {
                    let tensor = needed(&name, role)?;
                    expect(tensor, cache, 4)?;
                    // An output's extents may be left open; those of inputs are what the cache is made by.
                    let open = role == Role::Output;
                    let is = |index: usize, wanted: usize| {
                        tensor.dims.get(index).copied().flatten().map_or(open, |found| found == wanted)
                    };
                    if !is(1, kv_heads) || !is(3, head_dim) {
                        return Err(refuse(format!(
                            "{name} has the shape {}, and {} {}",
                            tensor.shape(),
                            first.name,
                            first.shape()
                        )));
                    }
                }
            }
        }
        let known = 2 + usize::from(positions.is_some()) + usize::from(keep.is_some()) + 2 * layers;
        let inputs: Vec<&str> =
            tensors.iter().filter(|t| t.role == Role::Input).map(|t| t.name.as_str()).collect();
        if inputs.len() != known {
            return Err(refuse(format!("it has inputs beyond those known: {}", inputs.join(", "))));
        }
        let outputs = tensors.iter().filter(|t| t.role == Role::Output).count();
        if outputs != 1 + 2 * layers {
            return Err(refuse(format!(
                "it has {outputs} outputs for {layers} layers: logits and two for each"
            )));
        }
        let (positions, keep) = (positions.is_some(), keep.is_some());
        Ok(Self { layers, kv_heads, head_dim, vocabulary, cache, positions, keep })
    }

    /// Shape of the keys or values of some lanes over some positions.
    pub(crate) fn cache_shape(&self, lanes: usize, positions: usize) -> Vec<usize> {
        vec![lanes, self.kv_heads, positions, self.head_dim]
    }

    /// Bytes that one position of one sequence takes in all layers.
    pub(crate) fn bytes_per_position(&self) -> usize {
        2 * self.layers * self.kv_heads * self.head_dim * self.cache.bytes().unwrap_or(0)
    }
}

fn refuse(what: String) -> TensorRtError {
    TensorRtError::Unsupported(format!("this graph: {what}"))
}

fn expect(tensor: &TensorSpec, element: Element, rank: usize) -> Result<(), TensorRtError> {
    if tensor.element != element || tensor.dims.len() != rank {
        return Err(refuse(format!(
            "{} holds {} of the shape {}, and {element} of {rank} dimensions is what is run",
            tensor.name,
            tensor.element,
            tensor.shape()
        )));
    }
    Ok(())
}

fn fixed(tensor: &TensorSpec, index: usize) -> Result<usize, TensorRtError> {
    tensor.dims.get(index).copied().flatten().filter(|&extent| extent > 0).ok_or_else(|| {
        refuse(format!("dimension {index} of {} is not fixed: {}", tensor.name, tensor.shape()))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn tensor(name: &str, role: Role, element: Element, dims: &[Option<usize>]) -> TensorSpec {
        let on_host = name == KEEP;
        TensorSpec { name: name.to_owned(), role, element, dims: dims.to_vec(), on_host }
    }

    /// The tensors of a small model.
    pub(crate) fn tensors(layers: usize, heads: usize, width: usize, vocabulary: usize) -> Vec<TensorSpec> {
        use Role::{Input, Output};
        let mut all = vec![
            tensor(IDS, Input, Element::I64, &[None, None]),
            tensor(MASK, Input, Element::I64, &[None, None]),
            tensor(POSITIONS, Input, Element::I64, &[None, None]),
            tensor(KEEP, Input, Element::I64, &[]),
            tensor(LOGITS, Output, Element::F32, &[None, None, Some(vocabulary)]),
        ];
        let shape = [None, Some(heads), None, Some(width)];
        for layer in 0..layers {
            for which in [0, 1] {
                all.push(tensor(&past(layer, which), Input, Element::F32, &shape));
                all.push(tensor(&present(layer, which), Output, Element::F32, &shape));
            }
        }
        all
    }

    #[test]
    fn a_graph_with_a_cache_is_read() {
        let mut all = tensors(2, 3, 8, 50);
        let interface = Interface::of(&all).unwrap();
        assert_eq!(
            (interface.layers, interface.kv_heads, interface.head_dim, interface.vocabulary),
            (2, 3, 8, 50)
        );
        assert!(interface.positions && interface.keep);
        assert_eq!(interface.bytes_per_position(), 2 * 2 * 3 * 8 * 4);
        all.retain(|t| t.name != POSITIONS && t.name != KEEP);
        let older = Interface::of(&all).unwrap();
        assert!(!older.positions && !older.keep);
        // Exports leave the extents of outputs open.
        for tensor in all.iter_mut().filter(|t| t.name.starts_with("present")) {
            tensor.dims = vec![None; 4];
        }
        assert!(Interface::of(&all).is_ok());
    }

    #[test]
    fn other_graphs_are_refused_with_what_does_not_fit() {
        let refused = |change: fn(&mut Vec<TensorSpec>), words: &str| {
            let mut all = tensors(2, 3, 8, 50);
            change(&mut all);
            let said = Interface::of(&all).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        };
        refused(|all| all.retain(|t| t.name != "past_key_values.0.key"), "no input past_key_values.0.key");
        refused(|all| all.retain(|t| t.name != "present.1.value"), "no output present.1.value");
        refused(|all| all[0].element = Element::I32, "input_ids holds I32");
        refused(|all| all[4].element = Element::F16, "logits holds F16");
        refused(|all| all[4].dims[2] = None, "dimension 2 of logits is not fixed");
        refused(|all| all[7].dims[1] = Some(4), "past_key_values.0.value has the shape [?, 4, ?, 8]");
        refused(|all| all[5].element = Element::Other("BF16"), "holds BF16");
        refused(
            |all| all.push(tensor("token_type_ids", Role::Input, Element::I64, &[None, None])),
            "token_type_ids",
        );
        refused(|all| all.push(tensor("hidden", Role::Output, Element::F32, &[None])), "6 outputs");
    }
}
