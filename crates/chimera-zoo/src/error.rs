//! What can go wrong here, sorted by what a caller can do about it. No text of another crate's error is parsed:
//! sources are kept.

use std::path::{Path, PathBuf};

use crate::variant::Variant;

/// An error of the zoo. [`ZooError::code`] is stable and may be written to records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZooError {
    /// The name is in no catalogue: choose one of `known`.
    #[error("no model is called `{name}`; known models: {known}")]
    UnknownModel {
        /// The name that was asked for.
        name: String,
        /// The names that exist, joined by commas.
        known: String,
    },
    /// The text names no variant: choose one of `known`.
    #[error("no variant is called `{name}`; known variants: {known}")]
    UnknownVariant {
        /// The text that was given.
        name: String,
        /// The variants that exist, joined by commas.
        known: String,
    },
    /// The variant cannot exist for this model; a plan records it as skipped, with this reason.
    #[error("{model} as {variant} is skipped: {reason}")]
    Skipped {
        /// The model's name.
        model: String,
        /// The variant that cannot exist.
        variant: Variant,
        /// Why.
        reason: String,
    },
    /// A file is not what its manifest or its format says; `remedy` says what to do.
    #[error("{} is corrupt or half-written: {detail}; {remedy}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
        /// What the user can do.
        remedy: String,
    },
    /// The file is sound and holds something this crate does not read.
    #[error("{} holds what is not supported: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The tensor, key or type, by name.
        what: String,
    },
    /// A specification that describes no model, such as heads that do not divide the width.
    #[error("the specification of {model} is not valid: {detail}")]
    InvalidSpec {
        /// The model's name.
        model: String,
        /// What does not fit.
        detail: String,
    },
    /// A published model is not in the folder and downloads are forbidden.
    #[error(
        "{name} is not in the folder and downloads are forbidden; allow them, or copy a folder that has it"
    )]
    Offline {
        /// The model.
        name: String,
    },
    /// A published model was never fetched, and what was asked for is made of it.
    #[error("{name} was not fetched; fetch it first")]
    NotFetched {
        /// The model.
        name: String,
    },
    /// The user must accept a licence first.
    #[error("the weights of {name} are under `{licence}`, which must be accepted first")]
    LicenceNotAccepted {
        /// The model.
        name: String,
        /// The licence.
        licence: String,
    },
    /// A program that a download needs is not installed.
    #[error("{tool} was not found; install it, or copy a folder that has the model")]
    MissingTool {
        /// The program.
        tool: String,
    },
    /// A download failed, or brought something else.
    #[error("{what} failed: {detail}; {remedy}")]
    Download {
        /// What was run or asked for.
        what: String,
        /// What came of it.
        detail: String,
        /// What the user can do.
        remedy: String,
    },
    /// A part of this program is not as it was built; there is nothing to do but report it.
    #[error("internal error: {detail}")]
    Internal {
        /// What was found.
        detail: String,
    },
    /// An ONNX file: its own error says what and what to do.
    #[error(transparent)]
    Onnx(#[from] chimera_onnx::OnnxError),
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's own error.
        source: std::io::Error,
    },
}

impl ZooError {
    /// A stable code for records and exit codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. } => "zoo.unknown_model",
            Self::UnknownVariant { .. } => "zoo.unknown_variant",
            Self::Skipped { .. } => "zoo.skipped",
            Self::Corrupt { .. } => "zoo.corrupt",
            Self::Unsupported { .. } => "zoo.unsupported",
            Self::InvalidSpec { .. } => "zoo.invalid_spec",
            Self::Offline { .. } => "zoo.offline",
            Self::NotFetched { .. } => "zoo.not_fetched",
            Self::LicenceNotAccepted { .. } => "zoo.licence",
            Self::MissingTool { .. } => "zoo.missing_tool",
            Self::Download { .. } => "zoo.download",
            Self::Internal { .. } => "zoo.internal",
            Self::Onnx(error) => error.code(),
            Self::Io { .. } => "zoo.io",
        }
    }

    /// Whether the variant does not exist by nature, so that a plan skips it and goes on.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        matches!(self, Self::Skipped { .. })
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
