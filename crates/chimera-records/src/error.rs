//! What can be wrong with a design or a plan, each with the place and the remedy. Errors of the run directory are with
//! the run directory.

/// A design that cannot be used. Nothing has been run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DesignError {
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("design key `{key}`: {reason}")]
    Key {
        /// Path of the key, `grid[1].gen` for instance; `.` for the whole file.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The design is of a schema that this program does not read.
    #[error(
        "design schema {found} is not readable, this program reads schema {supported}: use a matching release"
    )]
    Schema {
        /// In the file.
        found: u32,
        /// Read here.
        supported: u32,
    },
    /// A name that the design does not define.
    #[error("{place} names the {kind} `{name}`, which the design does not define; it has: {known}")]
    UnknownName {
        /// Where it is named.
        place: String,
        /// `model`, `scenario`, `grid`, `profile` or `backend`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// A factor without levels: nothing would be run.
    #[error("{place} is empty: give it at least one value or leave the grid out")]
    Empty {
        /// Key.
        place: String,
    },
    /// The same name twice.
    #[error("{place} defines `{name}` twice")]
    Duplicate {
        /// Key.
        place: String,
        /// The name.
        name: String,
    },
    /// A number outside what makes sense.
    #[error("{place} is {value}: {rule}")]
    Range {
        /// Key.
        place: String,
        /// Its value.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
}

/// A plan that cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// More trials than identifiers.
    #[error(
        "the plan has {trials} trials, more than the {limit} that a run can hold: reduce blocks or levels"
    )]
    TooLarge {
        /// Asked.
        trials: u64,
        /// Possible.
        limit: u64,
    },
    /// A shard that does not exist.
    #[error("shard {index}/{of} does not exist: the index runs from 1 to {of}")]
    Shard {
        /// Asked.
        index: u32,
        /// Of how many.
        of: u32,
    },
}
