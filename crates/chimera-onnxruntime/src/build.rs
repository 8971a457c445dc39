//! From a graph's file to a session of ONNX Runtime, with the options that shape it.

use std::path::Path;

use ort::{
    ep,
    session::{
        Session,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
};

use crate::{
    error::LoadError,
    library::Loaded,
    options::{Optimisation, Options, Provider, Spinning},
    placement,
};

/// Names of a graph's free dimensions, as Optimum has them.
const BATCH: &str = "batch_size";
const SEQUENCE: &str = "sequence_length";

/// What differs between sessions of one model.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Variation<'a> {
    /// Lanes and positions of every call, where they are fixed.
    pub(crate) shape: Option<(usize, usize)>,
    /// Where the optimised graph is written.
    pub(crate) optimised: Option<&'a Path>,
}

/// Makes a session, and makes sure that its provider computes it.
pub(crate) fn session(
    library: &Loaded,
    graph: &Path,
    options: &Options,
    variation: Variation<'_>,
) -> Result<Session, LoadError> {
    let failed = |error: ort::Error| match options.provider {
        Provider::Cpu => LoadError::session(graph, &error),
        // A provider that cannot be registered fails here; the reason is the library's own.
        provider => match LoadError::session(graph, &error) {
            LoadError::Failed(_) => {
                LoadError::Unavailable(format!("{provider} cannot be used: {}", error.message()))
            }
            other => other,
        },
    };
    let mut builder = builder(library, options, variation).map_err(failed)?;
    let session = builder.commit_from_file(graph).map_err(failed)?;
    if options.provider != Provider::Cpu {
        placement::of(&session)
            .and_then(|placed| placed.check(options.provider))
            .map_err(LoadError::Unavailable)?;
    }
    Ok(session)
}

pub(crate) fn builder(
    library: &Loaded,
    options: &Options,
    variation: Variation<'_>,
) -> ort::Result<SessionBuilder> {
    let level = match options.optimisation {
        Optimisation::None => GraphOptimizationLevel::Disable,
        Optimisation::Basic => GraphOptimizationLevel::Level1,
        Optimisation::Extended => GraphOptimizationLevel::Level2,
        Optimisation::All => GraphOptimizationLevel::All,
    };
    let mut builder = Session::builder(&library.environment)?
        .with_optimization_level(level)?
        .with_intra_threads(options.threads())?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_intra_op_spinning(options.spinning != Spinning::Off)?
        .with_memory_pattern(options.memory_pattern)?;
    if options.spinning == Spinning::WithinCalls {
        builder = builder.with_config_entry("session.force_spinning_stop", "1")?;
    }
    if let Some((lanes, count)) = variation.shape {
        let size = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        builder = builder
            .with_dimension_override(BATCH, size(lanes))?
            .with_dimension_override(SEQUENCE, size(count))?;
    }
    if let Some(path) = variation.optimised {
        builder = builder.with_optimized_model_path(path)?;
    }
    if let Some(path) = &options.profile {
        builder = builder.with_profiling(path)?;
    }
    // Without `error_on_failure` a provider that fails is left out in silence, and the CPU computes.
    let builder = match options.provider {
        Provider::Cpu => builder.with_execution_providers([ep::CPU::default()
            .with_arena_allocator(options.arena)
            .build()
            .error_on_failure()])?,
        Provider::Cuda(device) => builder
            .with_config_entry(placement::RECORD, "1")?
            .with_execution_providers([ep::CUDA::default()
                .with_device_id(device)
                // 32-bit products stay of 32 bits.
                .with_tf32(false)
                .build()
                .error_on_failure()])?,
        Provider::TensorRt(device) => {
            builder.with_config_entry(placement::RECORD, "1")?.with_execution_providers([
                ep::TensorRT::default().with_device_id(device).build().error_on_failure(),
                // What TensorRT leaves over; it is reported.
                ep::CUDA::default().with_device_id(device).with_tf32(false).build().error_on_failure(),
            ])?
        }
    };
    Ok(builder)
}
