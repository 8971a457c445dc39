//! A tidy table: a CSV file with a header. A byte order mark is taken off; a missing column, a number that is none and a row
//! of another length are errors with their line. An empty field and `NaN` both mean "not there", and never zero.

use std::{collections::BTreeMap, path::PathBuf};

use crate::ReplayError;

/// A CSV file in memory.
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
    columns: BTreeMap<String, usize>,
    rows: Vec<csv::StringRecord>,
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Row<'t> {
    table: &'t Table,
    record: &'t csv::StringRecord,
}

impl Table {
    /// Reads a table; `wanted` are the columns that must be there.
    ///
    /// # Errors
    /// [`ReplayError::Malformed`], [`ReplayError::Column`].
    pub fn parse(path: impl Into<PathBuf>, bytes: &[u8], wanted: &[&str]) -> Result<Table, ReplayError> {
        let path = path.into();
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let malformed = |error: csv::Error| ReplayError::Malformed {
            path: path.clone(),
            line: error.position().map_or(1, csv::Position::line),
            reason: error.to_string(),
        };
        let mut reader = csv::Reader::from_reader(bytes);
        let header = reader.headers().map_err(malformed)?.clone();
        let mut columns = BTreeMap::new();
        for (index, name) in header.iter().enumerate() {
            if columns.insert(name.to_owned(), index).is_some() {
                let reason = format!("the column `{name}` comes twice");
                return Err(ReplayError::Malformed { path, line: 1, reason });
            }
        }
        let rows = reader.records().collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let table = Table { path, columns, rows };
        for column in wanted {
            table.index(column)?;
        }
        Ok(table)
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether there is such a column.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// Rows in the order of the file.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|record| Row { table: self, record })
    }

    /// A column as numbers, one per row.
    ///
    /// # Errors
    /// [`ReplayError::Malformed`] for a field that is empty or no number.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>, ReplayError> {
        self.rows().map(|row| row.number(column)).collect()
    }

    /// An error about this table's content.
    #[must_use]
    pub fn wrong(&self, reason: impl Into<String>) -> ReplayError {
        ReplayError::Content { path: self.path.clone(), reason: reason.into() }
    }

    fn index(&self, column: &str) -> Result<usize, ReplayError> {
        self.columns.get(column).copied().ok_or_else(|| ReplayError::Column {
            path: self.path.clone(),
            column: column.to_owned(),
            found: self.columns.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}

impl<'t> Row<'t> {
    /// A field as it stands, without white space around it.
    ///
    /// # Errors
    /// [`ReplayError::Column`].
    pub fn text(&self, column: &str) -> Result<&'t str, ReplayError> {
        let index = self.table.index(column)?;
        Ok(self.record.get(index).unwrap_or_default().trim())
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`ReplayError::Malformed`] for a field that is empty, `NaN` or no finite number.
    pub fn number(&self, column: &str) -> Result<f64, ReplayError> {
        self.maybe(column)?.ok_or_else(|| self.malformed(format!("`{column}` is empty")))
    }

    /// A number, or nothing where the field is empty or `NaN`.
    ///
    /// # Errors
    /// [`ReplayError::Malformed`] for anything else that is no finite number.
    pub fn maybe(&self, column: &str) -> Result<Option<f64>, ReplayError> {
        let text = self.text(column)?;
        if matches!(text, "" | "NaN" | "nan" | "None" | "null") {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Some(value)),
            _ => Err(self.malformed(format!("`{column}` is `{text}`, not a number"))),
        }
    }

    /// `True`, `true`, `1` or their opposites.
    ///
    /// # Errors
    /// [`ReplayError::Malformed`] for anything else.
    pub fn flag(&self, column: &str) -> Result<bool, ReplayError> {
        match self.text(column)? {
            "True" | "true" | "1" => Ok(true),
            "False" | "false" | "0" => Ok(false),
            other => Err(self.malformed(format!("`{column}` is `{other}`, neither true nor false"))),
        }
    }

    /// An error about this row.
    #[must_use]
    pub fn malformed(&self, reason: String) -> ReplayError {
        let line = self.record.position().map_or(0, csv::Position::line);
        ReplayError::Malformed { path: self.table.path.clone(), line, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_name_and_absence_is_not_zero() {
        let table =
            Table::parse("x.csv", b"\xEF\xBB\xBFa,b\n1.5,True\n,False\nNaN,1\n", &["a", "b"]).unwrap();
        let a: Vec<Option<f64>> = table.rows().map(|row| row.maybe("a").unwrap()).collect();
        assert_eq!(a, [Some(1.5), None, None]);
        assert_eq!(table.rows().map(|row| row.flag("b").unwrap()).collect::<Vec<_>>(), [true, false, true]);
        let error = table.numbers("a").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("`a` is empty"), "{error}");
    }

    #[test]
    fn another_layout_is_refused_with_what_is_there() {
        let error = Table::parse("x.csv", b"a,b\n1,2\n", &["c"]).unwrap_err().to_string();
        assert!(error.contains("no column `c`") && error.contains("a, b"), "{error}");
        assert!(Table::parse("x.csv", b"a,a\n1,2\n", &[]).is_err(), "a column twice");
        let error = Table::parse("x.csv", b"a,b\n1,2\n3\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
        let table = Table::parse("x.csv", b"a\ntwo\ninf\n", &[]).unwrap();
        assert!(table.rows().all(|row| row.maybe("a").is_err()));
    }
}
