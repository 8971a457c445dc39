//! Parts of a report that several studies share. Each takes records and gives one section (or a few tables), and puts
//! the quantities that hypotheses and claims refer to into [`crate::Estimands`].

pub mod architecture;
pub mod beside;
pub mod building;
pub mod capacity;
pub mod claims;
pub mod cold;
pub mod concurrency;
pub mod context;
pub mod crossing;
pub mod duel;
pub mod firsts;
pub mod fraction;
pub mod gates;
pub mod growth;
pub mod latency;
pub mod matrix;
pub mod pareto;
pub mod regime;
pub mod standing;
pub mod threats;
pub mod uncached;

use chimera_report::Cell;
use chimera_stats::{Estimate, Sample, StatsError, intervals};

use crate::{LEVEL, PerBlock};

/// Mean over blocks with its t interval; `None` for no block.
pub(crate) fn mean(values: &PerBlock) -> Result<Option<Estimate>, StatsError> {
    if values.is_empty() {
        return Ok(None);
    }
    crate::scaling::mean_over_blocks(values).map(Some)
}

/// Geometric mean over blocks with the t interval of the logarithms; `None` for no block or a value that is not
/// positive.
pub(crate) fn geometric(values: &PerBlock) -> Result<Option<Estimate>, StatsError> {
    let values: Vec<f64> = values.values().copied().collect();
    if values.is_empty() || values.iter().any(|value| *value <= 0.0) {
        return Ok(None);
    }
    intervals::geometric_over_blocks(Sample::new(&values, "block")?, LEVEL).map(Some)
}

/// Combines two quantities block by block; blocks that lack one are left out.
pub(crate) fn both(a: &PerBlock, b: &PerBlock, f: impl Fn(f64, f64) -> f64) -> PerBlock {
    a.iter()
        .filter_map(|(block, a)| Some((*block, f(*a, *b.get(block)?))))
        .filter(|(_, v)| v.is_finite())
        .collect()
}

/// A cell for an estimate that may be absent.
pub(crate) fn cell(estimate: Option<Estimate>, reason: &str) -> Cell {
    Cell::or_missing(estimate, reason)
}

/// A number with three significant digits for running text.
pub(crate) fn digits(value: f64) -> String {
    chimera_report::show_number(value, "").to_string()
}

/// An estimate for running text, with its interval where there is one.
pub(crate) fn words(estimate: &Estimate) -> String {
    chimera_report::show_estimate(estimate, "").to_string()
}

/// Items in a row: `a`, `a and b`, `a, b and c`.
pub(crate) fn listed<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}
