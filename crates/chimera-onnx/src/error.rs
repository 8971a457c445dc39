//! What can go wrong with an ONNX file, sorted by what a caller can do about it. Sources are kept; no text of another
//! crate's error is parsed.

use std::path::{Path, PathBuf};

/// An error of this crate. [`OnnxError::code`] is stable and may be written to records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file is damaged or says what cannot be: obtain it again.
    #[error("{file} is not a sound ONNX file: {detail}; obtain it or export it again")]
    Corrupt {
        /// The file, or what stands for it.
        file: String,
        /// What does not fit, and where.
        detail: String,
    },
    /// The graph names a value that nothing gives, or computes one from itself.
    #[error("the graph of {file} is not sound: {detail}; export it again")]
    Graph {
        /// The file.
        file: String,
        /// The node and the value.
        detail: String,
    },
    /// Operators that no engine known here has.
    #[error("{file} uses operators that are not known: {}; export it with standard operators, or allow them", operators.join(", "))]
    UnknownOperator {
        /// The file.
        file: String,
        /// Each with its domain, such as `com.example:Foo`.
        operators: Vec<String>,
    },
    /// The file is sound and holds something that is not read here.
    #[error("{file} holds what is not supported: {what}")]
    Unsupported {
        /// The file.
        file: String,
        /// The tensor, attribute or type, by name.
        what: String,
    },
    /// Weights are said to be in a file that is not in the model's folder. They are never read.
    #[error(
        "{file} keeps tensor {tensor} in `{location}`, outside the model's folder, which is refused; move the data beside \
         the model and correct its location"
    )]
    OutsideFolder {
        /// The model's file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What the file says.
        location: String,
    },
    /// Weights are said to be in a file that does not exist.
    #[error(
        "{file} keeps tensor {tensor} in `{location}`, which is missing; copy that file beside the model"
    )]
    MissingData {
        /// The model's file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What the file says.
        location: String,
    },
    /// More than one protobuf message can hold.
    #[error(
        "the model takes {bytes} bytes and one ONNX file holds less than {}; use a smaller type or another format",
        TOO_MANY_BYTES
    )]
    TooLarge {
        /// What it would take.
        bytes: u64,
    },
    /// What was asked for cannot be done to this graph.
    #[error("{what} is not possible: {reason}")]
    NotPossible {
        /// What was asked for.
        what: String,
        /// Why not.
        reason: String,
    },
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

/// Protobuf's limit: lengths are signed 32-bit numbers in its implementations.
pub const TOO_MANY_BYTES: u64 = 1 << 31;

/// The result of this crate.
pub type Result<T, E = OnnxError> = std::result::Result<T, E>;

impl OnnxError {
    /// A stable code for records and exit codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => "onnx.corrupt",
            Self::Graph { .. } => "onnx.graph",
            Self::UnknownOperator { .. } => "onnx.unknown_operator",
            Self::Unsupported { .. } => "onnx.unsupported",
            Self::OutsideFolder { .. } => "onnx.outside_folder",
            Self::MissingData { .. } => "onnx.missing_data",
            Self::TooLarge { .. } => "onnx.too_large",
            Self::NotPossible { .. } => "onnx.not_possible",
            Self::Io { .. } => "onnx.io",
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
