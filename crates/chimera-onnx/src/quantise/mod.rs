//! From a float graph to one whose products of activations and weights compute in eight-bit integers: dynamically, with
//! ranges found anew in every run, or statically, with ranges that somebody measured. Weights are symmetric, one scale an
//! output channel. Products of two activations, as in attention, stay as they are.

mod calibrate;
mod dynamic;
mod fixed;
mod products;
mod weights;

pub(crate) use products::{int, is};

pub use calibrate::{Calibrator, Histogram, Range};
pub use dynamic::{DynamicOptions, dynamic_int8};
pub use fixed::{
    Activations, CalibrationPoint, Ranges, StaticOptions, calibration_graph, calibration_points, static_int8,
};

use std::collections::HashSet;

use crate::error::{OnnxError, Result};
use crate::model::Model;
use crate::read::inner_graphs;

/// The oldest operator set whose `DequantizeLinear` has one scale a channel.
const OLDEST_OPSET: i64 = 13;

/// Refuses graphs that cannot be quantised.
fn refuse(model: &Model, what: &str) -> Result<()> {
    let reason = match model.opset() {
        Some(opset) if opset >= OLDEST_OPSET => return Ok(()),
        Some(opset) => format!("{} is of operator set {opset}, and {OLDEST_OPSET} is needed", model.label()),
        None => format!("{} names no operator set", model.label()),
    };
    Err(OnnxError::NotPossible { what: what.to_owned(), reason })
}

/// Removes nodes and constants that nothing needs any more.
fn sweep(model: &mut Model) {
    loop {
        let mut used: HashSet<String> =
            model.graph().output.iter().map(|output| output.name().to_owned()).collect();
        let mut open: Vec<&crate::proto::GraphProto> = vec![model.graph()];
        while let Some(graph) = open.pop() {
            for node in &graph.node {
                used.extend(node.input.iter().cloned());
                open.extend(inner_graphs(node));
            }
            used.extend(graph.output.iter().map(|output| output.name().to_owned()));
        }
        let nodes = &mut model.graph_mut().node;
        let before = nodes.len();
        nodes.retain(|node| node.output.iter().any(|output| used.contains(output)));
        if nodes.len() == before {
            model.initializers.retain(|tensor| used.contains(&tensor.name));
            return;
        }
    }
}
