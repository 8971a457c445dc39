//! The checked ways in: [`Sample`] for one list of values, [`Blocks`] for values that hang together in blocks. Neither
//! computes anything beyond reducing a block to one value.

use std::collections::BTreeMap;

use crate::error::{check_count, check_finite, check_positive};
use crate::{StatsError, quantile, summary};

/// A borrowed list of at least one value, all finite, that knows what its values are replicates of.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    values: &'a [f64],
    unit: &'static str,
}

impl<'a> Sample<'a> {
    /// Checks `values`; `unit` names one of them (`block`, `trial`, `model`) and goes into every [`crate::Estimate`].
    ///
    /// # Errors
    /// [`StatsError::TooFew`] if empty, [`StatsError::NotFinite`] on a NaN or an infinity.
    pub fn new(values: &'a [f64], unit: &'static str) -> Result<Self, StatsError> {
        check_count("a sample", 1, values.len())?;
        check_finite("sample", values)?;
        Ok(Self { values, unit })
    }

    /// A part of checked values that is known not to be empty.
    pub(crate) fn trusted(values: &'a [f64], unit: &'static str) -> Self {
        debug_assert!(!values.is_empty() && values.iter().all(|v| v.is_finite()));
        Self { values, unit }
    }

    /// The values, in the caller's order.
    #[must_use]
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    /// What one value is.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        self.unit
    }

    /// Number of values, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a sample is never empty")]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The values in ascending order, for quantiles.
    #[must_use]
    pub fn sorted(&self) -> quantile::Sorted {
        quantile::Sorted::new(*self)
    }

    /// Natural logarithms of the values.
    ///
    /// # Errors
    /// [`StatsError::NotPositive`] if a value is zero or below.
    pub fn ln(&self) -> Result<Vec<f64>, StatsError> {
        check_positive("logarithm", self.values)?;
        Ok(self.values.iter().map(|v| v.ln()).collect())
    }

    pub(crate) fn require(&self, what: &'static str, needed: usize) -> Result<(), StatsError> {
        check_count(what, needed, self.len())
    }
}

/// Replicates within blocks. The block is the unit of replication: reduce each to one value, then estimate over blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    blocks: Vec<Vec<f64>>,
}

impl Blocks {
    /// One inner list per block, each with at least one finite value.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without blocks or with an empty one, [`StatsError::NotFinite`] on a NaN or an infinity.
    pub fn new(blocks: Vec<Vec<f64>>) -> Result<Self, StatsError> {
        check_count("blocks", 1, blocks.len())?;
        for block in &blocks {
            check_count("a block", 1, block.len())?;
            check_finite("block", block)?;
        }
        Ok(Self { blocks })
    }

    /// Groups values by the key of their block; blocks come out in the order of their keys.
    ///
    /// # Errors
    /// As [`Blocks::new`].
    pub fn group<K: Ord>(values: impl IntoIterator<Item = (K, f64)>) -> Result<Self, StatsError> {
        let mut groups: BTreeMap<K, Vec<f64>> = BTreeMap::new();
        for (key, value) in values {
            groups.entry(key).or_default().push(value);
        }
        Self::new(groups.into_values().collect())
    }

    /// Number of blocks, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a block")]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Number of values in all blocks together.
    #[must_use]
    pub fn replicates(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// The blocks as samples of replicates.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.blocks.iter().map(|block| Sample::trusted(block, "replicate"))
    }

    /// One value per block by the caller's own reduction; the first error ends it.
    ///
    /// # Errors
    /// Those of `reduce`.
    pub fn reduce(
        &self,
        reduce: impl Fn(Sample<'_>) -> Result<f64, StatsError>,
    ) -> Result<Vec<f64>, StatsError> {
        self.iter().map(reduce).collect()
    }

    /// Mean of each block.
    #[must_use]
    pub fn means(&self) -> Vec<f64> {
        self.blocks.iter().map(|block| summary::mean(block)).collect()
    }

    /// Median of each block.
    #[must_use]
    pub fn medians(&self) -> Vec<f64> {
        self.iter().map(|block| block.median()).collect()
    }
}
