//! What can go wrong, sorted by who can mend it: the author of a study, the reader of a file, or the owner of a disk.

use std::path::PathBuf;

/// Why findings could not be read, accepted or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The findings contradict themselves: the study that made them has to change.
    #[error("invalid findings: {0}")]
    Invalid(#[from] Invalid),
    /// The text is not findings of this schema: read another file or mend this one.
    #[error("unreadable findings: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// The findings were written by a newer version: render them with that version.
    #[error("findings have schema {found}, and this version reads up to {known}")]
    NewerSchema {
        /// Schema in the file.
        found: u32,
        /// Newest schema this version reads.
        known: u32,
    },
    /// A file could not be written: free space, change permissions or choose another directory.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file or directory in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A fault in findings, with the place where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// An id that cannot be a file name and an anchor.
    #[error("{kind} id `{id}` is not 1 to 100 characters of a-z, 0-9 and hyphen")]
    BadId {
        /// `table`, `plot`, `section`, `headline`, `study` or `column of table …`.
        kind: String,
        /// The id as given.
        id: String,
    },
    /// Two things of one kind share an id.
    #[error("{kind} id `{id}` occurs twice")]
    DuplicateId {
        /// As for [`Invalid::BadId`].
        kind: String,
        /// The id as given.
        id: String,
    },
    /// A table that could only be empty.
    #[error("table `{table}` has no columns")]
    NoColumns {
        /// Id of the table.
        table: String,
    },
    /// A row does not fit its table.
    #[error("table `{table}`, row {row}: {cells} cells for {columns} columns")]
    RowWidth {
        /// Id of the table.
        table: String,
        /// Row, counted from 1.
        row: usize,
        /// Cells in that row.
        cells: usize,
        /// Columns of the table.
        columns: usize,
    },
    /// A value that is not a number, or infinite. A value that is not known is `Cell::Missing`.
    #[error("{at}: {what} is not a finite number")]
    NotFinite {
        /// Where, e.g. "table `latency`, row 3, column `e2e`".
        at: String,
        /// Which part of the value, e.g. `point` or `interval`.
        what: &'static str,
    },
    /// An interval whose limits are in the wrong order, or whose level is not in (0, 1).
    #[error("{at}: interval [{low}, {high}] at level {level} is not an interval")]
    BadInterval {
        /// Where.
        at: String,
        /// Lower limit, as text, so that the error can be compared.
        low: String,
        /// Upper limit.
        high: String,
        /// Level.
        level: String,
    },
    /// A plot that cannot be drawn honestly.
    #[error("plot `{plot}`: {problem}")]
    BadPlot {
        /// Id of the plot.
        plot: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A schema number that this version never wrote.
    #[error("schema {0} is unknown")]
    UnknownSchema(u32),
}
