//! What is known of a model before it runs: from its files, which are read and checked here before ONNX Runtime sees them.

use chimera_core::ModelInfo;
use chimera_engine::file_digest;

use crate::{
    error::LoadError,
    files::{Config, Located},
};

/// Reads the files of a model.
pub(crate) fn of_files(name: &str, located: &Located, config: &Config) -> Result<ModelInfo, LoadError> {
    let mut info = ModelInfo::named(name);
    info.digest = Some(file_digest(&located.graph).map_err(|error| LoadError::io(&located.graph, error))?);
    let small = |n: usize| u32::try_from(n).ok();
    info.layers = small(config.layers);
    info.width = small(config.width);
    info.heads = small(config.heads);
    info.kv_heads = small(config.kv_heads);
    Ok(info)
}
