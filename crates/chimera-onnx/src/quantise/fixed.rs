//! Static quantisation in the QDQ form: `QuantizeLinear` and `DequantizeLinear` around the inputs of products, with ranges
//! that were measured before. ONNX Runtime turns the form into integer kernels; TensorRT reads it where everything is
//! symmetric, which is the default.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::calibrate::Range;
use super::products::products;
use super::{refuse, sweep, weights};
use crate::build::{Attribute, Extent, node, value};
use crate::error::{OnnxError, Result};
use crate::model::Model;
use crate::proto::NodeProto;
use crate::tensor::{DataType, Tensor};

/// Ranges of activations, by the name of the value.
pub type Ranges = BTreeMap<String, Range>;

/// How activations are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activations {
    /// Signed, zero in the middle: what TensorRT asks for.
    #[default]
    I8,
    /// Unsigned, zero wherever the range has it: one bit finer for ranges on one side.
    U8,
}

/// What is quantised, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StaticOptions {
    /// How activations are stored.
    pub activations: Activations,
    /// Whether weights keep to seven bits; see [`super::DynamicOptions::seven_bits`].
    pub seven_bits: bool,
    /// Constants that stay as they are, by name.
    pub keep: Vec<String>,
}

/// A value whose range [`static_int8`] needs, and the output of [`calibration_graph`] that gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibrationPoint {
    /// The value: a key of [`Ranges`].
    pub value: String,
    /// The output, its elements in one row.
    pub output: String,
}

/// The values whose ranges [`static_int8`] needs: the activations that are multiplied by constants.
#[must_use]
pub fn calibration_points(model: &Model) -> Vec<CalibrationPoint> {
    let mut seen = HashSet::new();
    products(model)
        .into_iter()
        .map(|product| product.activation)
        .filter(|value| seen.insert(value.clone()))
        .map(|value| CalibrationPoint { output: format!("{value}_to_calibrate"), value })
        .collect()
}

/// The graph with the outputs of [`calibration_points`] beside its own, so that whoever runs graphs can collect histograms of
/// them.
///
/// # Errors
/// [`OnnxError::NotPossible`] if there is none.
pub fn calibration_graph(model: &Model) -> Result<Model> {
    let points = calibration_points(model);
    if points.is_empty() {
        return Err(nothing(model));
    }
    let mut out = model.clone();
    out.path = None;
    let row = "row_to_calibrate";
    out.initializers.push(Tensor::i64s(row, &[1], &[-1]));
    let graph = out.graph_mut();
    for CalibrationPoint { value: from, output } in &points {
        // Outputs must say how many extents they have, and of a value in between nobody said it.
        graph.node.push(node("Reshape", &[from, row], &[output], &[]));
        let elements = format!("{output}_elements");
        graph.output.push(value(output, DataType::F32, &[Extent::Name(&elements)]));
    }
    Ok(out)
}

fn nothing(model: &Model) -> OnnxError {
    OnnxError::NotPossible {
        what: "static quantisation".to_owned(),
        reason: format!("{} multiplies no activation by a constant matrix of F32", model.label()),
    }
}

/// A graph in the QDQ form, activations in the given ranges. Embeddings stay F32; a head that is tied to one has bytes of its
/// own.
///
/// # Errors
/// [`OnnxError::NotPossible`] if nothing can be quantised, or a range is missing or none; those of reading its weights.
pub fn static_int8(model: &Model, ranges: &Ranges, options: &StaticOptions) -> Result<Model> {
    refuse(model, "static quantisation")?;
    let keep: HashSet<&str> = options.keep.iter().map(String::as_str).collect();
    let found: Vec<_> =
        products(model).into_iter().filter(|product| !keep.contains(product.weight.as_str())).collect();
    if found.is_empty() {
        return Err(nothing(model));
    }
    let largest = if options.seven_bits { 63 } else { 127 };
    let mut out = model.clone();
    let mut stored: HashMap<&str, usize> = HashMap::new();
    let mut quantised: HashSet<&str> = HashSet::new();
    let mut added: HashMap<usize, Vec<NodeProto>> = HashMap::new();
    for product in &found {
        let (a, w, axis) = (product.activation.as_str(), product.weight.as_str(), product.axis());
        let mut nodes = Vec::new();
        let [scale, zero, bytes] = ["scale", "zero", "quantised"].map(|part| format!("{a}_{part}"));
        // One for each product: where two share one, ONNX Runtime leaves some products in floats.
        let Some(y) = model.nodes()[product.node].output.first() else { continue };
        let back = format!("{a}_restored_for_{y}");
        if quantised.insert(a) {
            let range = ranges.get(a).ok_or_else(|| OnnxError::NotPossible {
                what: "static quantisation".to_owned(),
                reason: format!("the range of `{a}` was not measured"),
            })?;
            let (step, point) = parameters(a, range, options.activations)?;
            out.initializers.push(Tensor::floats(scale.clone(), &[], DataType::F32, &[step]));
            out.initializers.push(point_of(zero.clone(), point, options.activations));
            nodes.push(node("QuantizeLinear", &[a, &scale, &zero], &[&bytes], &[]));
        }
        nodes.push(node("DequantizeLinear", &[&bytes, &scale, &zero], &[&back], &[]));
        let wide = format!("{w}_restored");
        let zeros = format!("{w}_zero");
        match stored.get(w) {
            Some(before) if *before != axis => continue,
            Some(_) => {}
            None => {
                let Some(tensor) = model.initializer(w) else { continue };
                let (data, scales) = weights::quantise(tensor, axis, largest)?;
                // Explicit zeros: parsers differ in what a missing zero point of signed bytes means.
                out.initializers.push(Tensor::new(
                    zeros.clone(),
                    &scales.dims,
                    DataType::I8,
                    vec![0; scales.dims[0] as usize],
                ));
                out.initializers.push(data);
                let (bytes, scale) = (weights::quantised(w), scales.name.clone());
                out.initializers.push(scales);
                let axis_of = [("axis", Attribute::Int(axis as i64))];
                nodes.push(node("DequantizeLinear", &[&bytes, &scale, &zeros], &[&wide], &axis_of));
                stored.insert(w, axis);
            }
        }
        let mut changed = model.nodes()[product.node].clone();
        changed.input[0] = back;
        if changed.input[1] == w {
            changed.input[1] = wide;
        } else {
            // The product used the constant turned.
            let turned = format!("{w}_turned_for_{y}");
            nodes.push(node("Transpose", &[&wide], &[&turned], &[("perm", Attribute::Ints(vec![1, 0]))]));
            changed.input[1] = turned;
        }
        nodes.push(changed);
        added.insert(product.node, nodes);
    }
    let graph = out.graph_mut();
    graph.node = std::mem::take(&mut graph.node)
        .into_iter()
        .enumerate()
        .flat_map(|(index, node)| added.remove(&index).unwrap_or_else(|| vec![node]))
        .collect();
    sweep(&mut out);
    out.path = None;
    Ok(out)
}

/// Scale and zero point of a range, which is widened to hold zero.
fn parameters(name: &str, range: &Range, activations: Activations) -> Result<(f32, i32)> {
    if !(range.min.is_finite() && range.max.is_finite() && range.min <= range.max) {
        return Err(OnnxError::NotPossible {
            what: "static quantisation".to_owned(),
            reason: format!("the range of `{name}` is {} to {}", range.min, range.max),
        });
    }
    let (min, max) = (range.min.min(0.0), range.max.max(0.0));
    // Below this a division by the scale overflows.
    let scale = |width: f32| if width > f32::MIN_POSITIVE { width } else { 1.0 };
    Ok(match activations {
        Activations::I8 => (scale(max.max(-min) / 127.0), 0),
        Activations::U8 => {
            let step = scale(max / 255.0 - min / 255.0);
            (step, (-min / step).round_ties_even().clamp(0.0, 255.0) as i32)
        }
    })
}

fn point_of(name: String, point: i32, activations: Activations) -> Tensor {
    match activations {
        Activations::I8 => Tensor::new(name, &[], DataType::I8, vec![point as i8 as u8]),
        Activations::U8 => Tensor::new(name, &[], DataType::U8, vec![point as u8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_scales_and_zero_points() {
        let of = |min, max, kind| parameters("x", &Range { min, max }, kind).unwrap();
        assert_eq!(of(-1.0, 2.54, Activations::I8), (2.54 / 127.0, 0));
        let (scale, zero) = of(-1.0, 4.1, Activations::U8);
        assert!((scale - 0.02).abs() < 1e-7);
        assert_eq!(zero, 50);
        // Zero is a number of every range.
        assert_eq!(of(5.0, 25.5, Activations::U8), (0.1, 0));
        assert_eq!(of(0.0, 0.0, Activations::I8), (1.0, 0));
        assert!(parameters("x", &Range { min: 1.0, max: f32::NAN }, Activations::I8).is_err());
    }
}
