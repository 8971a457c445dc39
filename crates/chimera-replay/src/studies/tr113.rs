//! TR113.

use crate::Replay;

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[];
