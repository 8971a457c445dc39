//! What it took to make a model's files. It lies beside the record and is no part of it: two machines write the same record,
//! and not in the same time. A folder without it was made by a version that did not look, and then nothing is known.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::ZooError;
use crate::store::{ModelFiles, write_file};
use crate::variant::Variant;

/// The name of the file.
const MAKING: &str = "making.json";

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Work {
    /// Weights of a seed were drawn and written.
    Generation,
    /// A publisher's file was downloaded.
    Fetch,
    /// Weights were read from another file and written in another container, or with fewer bits of a float.
    Conversion,
    /// Weights became integers; for static ranges, calibration included.
    Quantisation,
}

impl Work {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Fetch => "fetch",
            Self::Conversion => "conversion",
            Self::Quantisation => "quantisation",
        }
    }

    /// What writing existing weights as this variant is.
    pub(crate) fn writing(variant: Variant) -> Self {
        match variant {
            Variant::Q8Gguf | Variant::Q4Gguf | Variant::Int8DynamicOnnx => Self::Quantisation,
            _ => Self::Conversion,
        }
    }
}

/// One step of making a file, from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub work: Work,
    /// Wall time in seconds, on the machine that did it.
    pub seconds: f64,
}

/// How the files of a folder were made.
#[derive(Debug, Clone, PartialEq)]
pub struct Making {
    /// Steps in their order. A conversion begins with a file that was fetched, which is a folder of its own.
    pub steps: Vec<Step>,
    /// When the last ended.
    pub ended: SystemTime,
}

impl ModelFiles {
    /// What it took to make these files; `None` where nobody looked.
    #[must_use]
    pub fn making(&self) -> Option<Making> {
        let path = self.dir.join(MAKING);
        let steps = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let ended = fs::metadata(&path).and_then(|data| data.modified()).ok()?;
        Some(Making { steps, ended })
    }
}

/// A step that is being done.
pub(crate) struct Running {
    before: Vec<Step>,
    work: Work,
    start: Instant,
}

impl Running {
    /// Begins a step from nothing, or from what was fetched.
    pub(crate) fn new(work: Work) -> Self {
        Self { before: Vec::new(), work, start: Instant::now() }
    }

    /// Begins a step from files; what those took stands before it.
    pub(crate) fn from(files: &ModelFiles, work: Work) -> Self {
        let before = files.making().map(|made| made.steps).unwrap_or_default();
        Self { before, ..Self::new(work) }
    }

    /// Ends it, and writes what it took into the folder of the files.
    pub(crate) fn end(mut self, dir: &Path) -> Result<(), ZooError> {
        self.before.push(Step { work: self.work, seconds: self.start.elapsed().as_secs_f64() });
        let text = serde_json::to_vec(&self.before).map_err(|error| ZooError::Io {
            action: "encode the times of",
            path: dir.to_path_buf(),
            source: error.into(),
        })?;
        write_file(dir, MAKING, &text).map(drop)
    }
}
