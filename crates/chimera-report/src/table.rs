//! Tables: columns that carry their unit, and cells that say what kind of thing they hold. A table is built freely and
//! checked when its findings are finished, so that an author has one place for errors.

use chimera_stats::Estimate;
use serde::{Deserialize, Serialize};

use crate::verdict::{ClaimStatus, Verdict};

/// A table. Build it with [`Table::new`] and the methods below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Names `tables/<id>.csv` and the anchor; `[a-z0-9-]+`, unique among the tables of the findings.
    pub id: String,
    /// Title, plain text.
    pub title: String,
    /// What a row is, the unit of replication, n and the definition of what is shown; inline markup.
    pub caption: String,
    /// Columns, in order.
    pub columns: Vec<Column>,
    /// Rows; each has exactly one cell per column.
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Names the column in CSV; `[a-z0-9-]+`, unique in its table.
    pub id: String,
    /// Heading, plain text.
    pub label: String,
    /// Unit of the raw values, empty if there is none. `ns`, `µs` (`us`), `ms`, `s` and `B` are scaled for reading; the
    /// CSV holds raw values in this unit.
    pub unit: String,
    /// Alignment.
    pub align: Align,
}

/// Alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Cell {
    /// Plain text, printed as it is.
    Text(String),
    /// A count, wide enough for every counter there is; printed exactly.
    Int(i128),
    /// A value without an interval.
    Number {
        /// The raw value.
        value: f64,
        /// Its unit, where it differs from the column's.
        unit: Option<String>,
    },
    /// A value with its interval, in the column's unit.
    Estimate(Estimate),
    /// A conclusion.
    Verdict(Verdict),
    /// What became of a published claim.
    Claim(ClaimStatus),
    /// No value, and why. Printed as an en dash with the reason below the table, never as 0.
    Missing {
        /// Why there is no value, plain text.
        reason: String,
    },
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Table {
            id: id.into(),
            title: title.into(),
            caption: String::new(),
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Sets the caption (inline markup): unit of replication, n, definition.
    #[must_use]
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    /// Appends a column.
    #[must_use]
    pub fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// Appends a row; [`cells!`](crate::cells) makes one from mixed values.
    #[must_use]
    pub fn row(mut self, cells: impl IntoIterator<Item = Cell>) -> Self {
        self.push_row(cells);
        self
    }

    /// Appends a row in a loop.
    pub fn push_row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl Column {
    /// A left-aligned column of words, without a unit.
    #[must_use]
    pub fn text(id: impl Into<String>, label: impl Into<String>) -> Self {
        Column { id: id.into(), label: label.into(), unit: String::new(), align: Align::Left }
    }

    /// A right-aligned column of values in `unit` (empty for a plain number).
    #[must_use]
    pub fn number(id: impl Into<String>, label: impl Into<String>, unit: impl Into<String>) -> Self {
        Column { id: id.into(), label: label.into(), unit: unit.into(), align: Align::Right }
    }
}

impl Cell {
    /// A cell without a value.
    #[must_use]
    pub fn missing(reason: impl Into<String>) -> Self {
        Cell::Missing { reason: reason.into() }
    }

    /// The value if there is one, else a missing cell with the reason.
    #[must_use]
    pub fn or_missing<T: Into<Cell>>(value: Option<T>, reason: impl Into<String>) -> Self {
        match value {
            Some(value) => value.into(),
            None => Cell::missing(reason),
        }
    }

    /// A value in a unit other than its column's.
    #[must_use]
    pub fn number_in(value: f64, unit: impl Into<String>) -> Self {
        Cell::Number { value, unit: Some(unit.into()) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Cell::Text(text.clone())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Cell::Number { value, unit: None }
    }
}

impl From<Estimate> for Cell {
    fn from(estimate: Estimate) -> Self {
        Cell::Estimate(estimate)
    }
}

impl From<&Estimate> for Cell {
    fn from(estimate: &Estimate) -> Self {
        Cell::Estimate(estimate.clone())
    }
}

impl From<Verdict> for Cell {
    fn from(verdict: Verdict) -> Self {
        Cell::Verdict(verdict)
    }
}

impl From<ClaimStatus> for Cell {
    fn from(status: ClaimStatus) -> Self {
        Cell::Claim(status)
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Cell {
            fn from(value: $integer) -> Self {
                Cell::Int(i128::from(value))
            }
        }
    )*};
}
from_integer!(u8, u16, u32, u64, i8, i16, i32, i64);

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        // `usize` has no `From` into `i128`, though no platform has one that does not fit.
        Cell::Int(value as i128)
    }
}

/// A row of cells from values of mixed types: `cells!["gpt2", 12_usize, estimate, Verdict::Supported]`.
#[macro_export]
macro_rules! cells {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::Cell::from($value)),*]
    };
}
