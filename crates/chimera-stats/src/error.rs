//! What can go wrong, sorted by what a caller can do about it. A result that the data merely do not support (an
//! interval of one block) is not an error: it is a `None` in the result.

/// Why a statistic could not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// Collect more data.
    #[error("{what} needs at least {needed} values, got {got}")]
    TooFew {
        /// The statistic asked for.
        what: &'static str,
        /// The smallest number of values it accepts.
        needed: usize,
        /// The number of values given.
        got: usize,
    },
    /// Clean the data: a NaN or an infinity came in, or a caller's own statistic returned one.
    #[error("{what}: value {index} is not finite")]
    NotFinite {
        /// The input concerned.
        what: &'static str,
        /// Position of the first offending value.
        index: usize,
    },
    /// Clean the data: a logarithm, a weight or a ratio needs positive values.
    #[error("{what}: value {index} is {value}, not positive")]
    NotPositive {
        /// The input concerned.
        what: &'static str,
        /// Position of the first offending value.
        index: usize,
        /// The value found there.
        value: f64,
    },
    /// Vary the factor: the data carry no information about what was asked.
    #[error("{what}: {reason}")]
    Degenerate {
        /// The statistic asked for.
        what: &'static str,
        /// What the data lack.
        reason: &'static str,
    },
    /// Rescale the data: the result leaves the range of `f64`.
    #[error("{what} leaves the range of a 64-bit float")]
    Overflow {
        /// The statistic asked for.
        what: &'static str,
    },
    /// Fix the call: inputs that belong together differ in length.
    #[error("{what}: lengths {left} and {right} differ")]
    Mismatched {
        /// The inputs concerned.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// Fix the call: a parameter is outside its domain.
    #[error("{name} is {value}, expected {expected}")]
    InvalidParameter {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What is accepted.
        expected: &'static str,
    },
}

/// A confidence level lies strictly between 0 and 1.
pub(crate) fn check_level(level: f64) -> Result<(), StatsError> {
    check_unit("level", level)
}

/// A probability that must lie strictly between 0 and 1.
pub(crate) fn check_unit(name: &'static str, value: f64) -> Result<(), StatsError> {
    if value > 0.0 && value < 1.0 {
        Ok(())
    } else {
        Err(StatsError::InvalidParameter { name, value, expected: "a value strictly between 0 and 1" })
    }
}

/// Every value finite.
pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { what, index }),
        None => Ok(()),
    }
}

/// Every value finite and above zero.
pub(crate) fn check_positive(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    check_finite(what, values)?;
    match values.iter().position(|v| *v <= 0.0) {
        Some(index) => Err(StatsError::NotPositive { what, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Two inputs of one length.
pub(crate) fn check_lengths(what: &'static str, left: usize, right: usize) -> Result<(), StatsError> {
    if left == right { Ok(()) } else { Err(StatsError::Mismatched { what, left, right }) }
}

/// At least `needed` values.
pub(crate) fn check_count(what: &'static str, needed: usize, got: usize) -> Result<(), StatsError> {
    if got >= needed { Ok(()) } else { Err(StatsError::TooFew { what, needed, got }) }
}

/// A result that must have stayed in range.
pub(crate) fn in_range(what: &'static str, value: f64) -> Result<f64, StatsError> {
    if value.is_finite() { Ok(value) } else { Err(StatsError::Overflow { what }) }
}
