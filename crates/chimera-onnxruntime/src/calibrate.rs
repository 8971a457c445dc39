//! Values inside a graph, for whoever chooses the ranges of a quantised one. The graph names them as outputs beside those
//! that every graph has; what is made of the values is the caller's, or a calibrator's of `chimera-onnx`.

use std::collections::BTreeMap;

use chimera_engine::files::{GraphConfig, GraphFiles};
use chimera_onnx::{
    Model,
    quantise::{CalibrationPoint, Calibrator, Histogram, Ranges, calibration_graph, calibration_points},
};
use ort::value::TensorElementType;

use crate::{
    build::{self, Variation},
    error::{LoadError, of_run},
    info::unsound,
    interface::{Interface, LOGITS},
    library::Loaded,
    options::Options,
    run::{Bound, Heads},
};

/// Runs each sequence through the graph and shows every extra output's values, in 32-bit floats.
pub(crate) fn activations(
    library: &Loaded,
    located: &GraphFiles,
    options: &Options,
    sequences: &[Vec<u32>],
    see: &mut dyn FnMut(&str, &[f32]),
) -> Result<(), LoadError> {
    let graph = &located.graph;
    let config = GraphConfig::read(&located.folder)?;
    Model::read(graph).map_err(|error| unsound(graph, error))?;
    let session = build::session(library, graph, options, Variation::default())?;
    let unfit = |what: String| LoadError::unsupported(format!("{}: {what}", graph.display()));
    let interface = Interface::of(&session).map_err(unfit)?;
    let known = |name: &str| {
        name == LOGITS || interface.layers.iter().any(|layer| layer.present.iter().any(|n| n == name))
    };
    let extra: Vec<_> = session.outputs().iter().filter(|output| !known(output.name())).collect();
    if let Some(other) =
        extra.iter().find(|output| output.dtype().tensor_type() != Some(TensorElementType::Float32))
    {
        return Err(unfit(format!("its output `{}` is no tensor of 32-bit floats", other.name())));
    }
    let names: Vec<String> = extra.iter().map(|output| output.name().to_owned()).collect();
    if names.is_empty() {
        return Err(unfit("it has no outputs beside its logits and its cache".into()));
    }
    let heads = Heads {
        count: interface.kv_heads.unwrap_or(config.kv_heads),
        width: interface.head_dim.unwrap_or(config.head_dim),
    };
    let failed = |error: ort::Error| LoadError::Failed(of_run(&error).to_string());
    let mut bound = Bound::new(session, options.provider).map_err(failed)?;
    for tokens in sequences {
        if tokens.is_empty() || tokens.len() > config.context {
            return Err(LoadError::unsupported(format!(
                "a sequence of {} tokens: {} has a context of {}",
                tokens.len(),
                graph.display(),
                config.context
            )));
        }
        if let Some(id) =
            interface.vocabulary.and_then(|vocabulary| tokens.iter().find(|&&id| id as usize >= vocabulary))
        {
            return Err(LoadError::unsupported(format!("token id {id}: the vocabulary ends before it")));
        }
        bound.observe(&interface, heads, tokens, &names, see).map_err(failed)?;
    }
    Ok(())
}

/// The ranges that a calibrator chooses for the activations of a graph over some sequences.
pub(crate) fn ranges(
    library: &Loaded,
    located: &GraphFiles,
    options: &Options,
    sequences: &[Vec<u32>],
    calibrator: Calibrator,
) -> Result<Ranges, LoadError> {
    let unfit = |error| unsound(&located.graph, error);
    let model = Model::read(&located.graph).map_err(unfit)?;
    let folder = tempfile::tempdir().map_err(|error| LoadError::io(&std::env::temp_dir(), error))?;
    let graph = folder.path().join("calibration.onnx");
    calibration_graph(&model).and_then(|model| model.write(&graph)).map_err(unfit)?;
    let mut seen: BTreeMap<String, Histogram> = BTreeMap::new();
    let extended = GraphFiles { graph, folder: located.folder.clone() };
    activations(library, &extended, options, sequences, &mut |name, values| {
        seen.entry(name.to_owned()).or_default().add(values);
    })?;
    let range = |point: CalibrationPoint| {
        let CalibrationPoint { value, output } = point;
        let range = seen.get(&output).and_then(|histogram| histogram.range(calibrator));
        let missing = || LoadError::unsupported(format!("calibration: `{value}` showed no finite value"));
        let range = range.ok_or_else(missing)?;
        Ok((value, range))
    };
    calibration_points(&model).into_iter().map(range).collect()
}
