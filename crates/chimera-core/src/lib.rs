//! The contract between measuring code and inference backends.
