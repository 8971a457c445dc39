//! Reads the raw data of published reports out of a clone's history and writes them in one tidy layout: tables with a
//! row per call, run or sample, configurations and published analyses as they were, and a manifest that names the source
//! of every file by commit, path and digest. The working tree is never touched. Prompts and replies are left out of the
//! tables: their lengths and indices stay. What the data mean, and whether a report was right, is not known here.

mod cells;
mod error;
mod git;
mod import;
mod manifest;
mod readers;
mod source;

pub use error::ImportError;
pub use import::{Imported, import};
pub use manifest::{FileRecord, MANIFEST, Manifest, SourceRecord, Trouble};
pub use source::{At, Snapshots};
