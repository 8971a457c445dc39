//! Studies: one small file per technical report, holding its design, its estimands and its sections. Measuring is the
//! harness's business, statistics are in `chimera-stats`, formatting is in `chimera-report`; what several reports say
//! in the same way is in [`sections`]. Analysis is a pure function: the same records give the same findings.

pub mod aa;
mod backends;
pub mod compare;
mod contest;
mod data;
mod error;
mod estimands;
pub mod gate;
pub mod planner;
mod scaling;
mod study;
mod tr117;
mod tr118;
mod tr121;

pub mod sections;

pub use contest::{Contest, Contestant, Field, Precision, contests, precision, reference_backend};
pub use data::{Arm, CellKey, Index, ModelFacts, PerBlock, RunData};
pub use error::StudyError;
pub use estimands::{Answer, Estimands, Judgement};
pub use scaling::{PhaseMetric, ScalePoint, Scaling, Selection};
pub use study::{Study, all, by_id};
pub use tr117::Tr117;
pub use tr118::Tr118;
pub use tr121::Tr121;

/// Confidence level of every interval in a report.
pub const LEVEL: f64 = 0.95;
/// Family-wise error rate of the hypotheses of one report.
pub const ALPHA: f64 = 0.05;
