//! Published reports again, from their published raw data: the published tables by the published formula (`legacy.*`), the
//! same question by our definitions with intervals, and what the data cannot show. Beside them the ledger: every published
//! claim with its recomputed value and its status. Data are read as tidy files and never carried along; nothing is measured
//! here, and original layouts are read by `chimera-artifacts`.

mod artifacts;
mod error;
mod ledger;
mod records;
mod replay;
mod report;
mod table;
mod values;

pub mod studies;

pub use artifacts::{Artifacts, DataFile};
pub use error::ReplayError;
pub use ledger::{Claim, Judged, Ledger, Relation, Totals, claims_findings};
pub use records::{Call, call};
pub use replay::{Limits, Replay, Replayed, all, by_id};
pub use report::findings;
pub use table::{Row, Table};
pub use values::{Value, Values};

/// Confidence level of every interval.
pub const LEVEL: f64 = 0.95;
/// Error rate of a test, family-wise within one report.
pub const ALPHA: f64 = 0.05;
