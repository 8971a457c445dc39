//! A table as it is read: units chosen per column, reasons of missing cells numbered, intervals explained. Markdown, HTML
//! and the terminal all print this view, so that they never disagree.

use chimera_stats::Estimate;

use crate::format::{self, Shown};
use crate::scaling::Scaling;
use crate::table::{Cell, Column, Table};
use crate::verdict::Tone;

/// The view of a table.
#[derive(Debug)]
pub(crate) struct TableView<'a> {
    pub(crate) headers: Vec<Header<'a>>,
    pub(crate) rows: Vec<Vec<CellView<'a>>>,
    /// Reasons of missing cells; number i is `notes[i - 1]`.
    pub(crate) notes: Vec<&'a str>,
    /// What the brackets mean, one sentence per kind of estimate.
    pub(crate) intervals: Vec<String>,
}

/// Heading of a column, with the unit that its cells share.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) label: &'a str,
    pub(crate) unit: String,
}

/// What a cell shows.
#[derive(Debug)]
pub(crate) enum CellView<'a> {
    Text(&'a str),
    Number {
        shown: Shown,
        /// Raw value in the unit of the column, to sort by.
        sort: String,
        /// How it came about, with the unit of its raw values.
        estimate: Option<(&'a Estimate, &'a str)>,
    },
    Badge {
        tone: Tone,
        label: &'static str,
    },
    Missing {
        /// Number of the note.
        note: usize,
        reason: &'a str,
    },
}

impl<'a> TableView<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        let mut notes: Vec<&'a str> = Vec::new();
        let scalings: Vec<Option<Scaling>> = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| column_scaling(column, table.rows.iter().filter_map(|row| row.get(index))))
            .collect();
        let headers = table
            .columns
            .iter()
            .zip(&scalings)
            .map(|(column, scaling)| Header {
                label: &column.label,
                unit: scaling.as_ref().map_or_else(String::new, |scaling| scaling.unit.clone()),
            })
            .collect();
        let rows = table
            .rows
            .iter()
            .map(|row| {
                row.iter()
                    .zip(table.columns.iter().zip(&scalings))
                    .map(|(cell, (column, scaling))| view(cell, column, scaling.as_ref(), &mut notes))
                    .collect()
            })
            .collect();
        TableView { headers, rows, notes, intervals: intervals(table) }
    }
}

/// What ends a title that runs into its caption.
pub(crate) fn stop(title: &str) -> &'static str {
    if title.ends_with(['.', '?', '!', ':']) { "" } else { "." }
}

/// A value on its own, with its unit.
pub(crate) fn alone(cell: &Cell, unit: &str) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Int(value) if unit.is_empty() => format::integer(*value),
        Cell::Int(value) => format!("{} {unit}", format::integer(*value)),
        Cell::Number { value, unit: own } => {
            format::number(*value, own.as_deref().unwrap_or(unit)).to_string()
        }
        Cell::Estimate(estimate) => format::estimate(estimate, unit).to_string(),
        Cell::Verdict(verdict) => verdict.label().to_owned(),
        Cell::Claim(status) => status.label().to_owned(),
        Cell::Missing { reason } => format!("– ({reason})"),
    }
}

fn column_scaling<'a>(column: &Column, cells: impl Iterator<Item = &'a Cell>) -> Option<Scaling> {
    let values: Vec<f64> = cells
        .filter_map(|cell| match cell {
            Cell::Int(value) => Some(*value as f64),
            Cell::Number { value, unit: None } => Some(*value),
            Cell::Estimate(estimate) => Some(format::magnitude(estimate)),
            _ => None,
        })
        .collect();
    Scaling::of_column(&column.unit, &values)
}

fn view<'a>(
    cell: &'a Cell,
    column: &'a Column,
    shared: Option<&Scaling>,
    notes: &mut Vec<&'a str>,
) -> CellView<'a> {
    // The unit stands in the heading if the column shares one, else in the cell.
    let scaled = |magnitude: f64, show: &dyn Fn(&Scaling) -> Shown| match shared {
        Some(scaling) => Shown { unit: String::new(), ..show(scaling) },
        None => show(&Scaling::of(&column.unit, magnitude)),
    };
    let number = |shown, sort| CellView::Number { shown, sort, estimate: None };
    match cell {
        Cell::Text(text) => CellView::Text(text),
        Cell::Int(value) => {
            let shown = scaled(*value as f64, &|scaling| {
                if scaling.unit == column.unit {
                    Shown { value: format::integer(*value), interval: None, unit: scaling.unit.clone() }
                } else {
                    format::number_in(*value as f64, scaling)
                }
            });
            number(shown, value.to_string())
        }
        Cell::Number { value, unit: Some(unit) } => number(format::number(*value, unit), format::raw(*value)),
        Cell::Number { value, unit: None } => {
            number(scaled(*value, &|scaling| format::number_in(*value, scaling)), format::raw(*value))
        }
        Cell::Estimate(estimate) => CellView::Number {
            shown: scaled(format::magnitude(estimate), &|scaling| format::estimate_in(estimate, scaling)),
            sort: format::raw(estimate.point),
            estimate: Some((estimate, &column.unit)),
        },
        Cell::Verdict(verdict) => CellView::Badge { tone: verdict.tone(), label: verdict.label() },
        Cell::Claim(status) => CellView::Badge { tone: status.tone(), label: status.label() },
        Cell::Missing { reason } => {
            let note = match notes.iter().position(|known| known == reason) {
                Some(position) => position + 1,
                None => {
                    notes.push(reason);
                    notes.len()
                }
            };
            CellView::Missing { note, reason }
        }
    }
}

/// One sentence per kind of estimate in the table, so that no bracket goes unexplained.
fn intervals(table: &Table) -> Vec<String> {
    struct Kind<'a> {
        level: Option<String>,
        method: &'a str,
        unit: &'a str,
        least: usize,
        most: usize,
    }
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    let estimates = table.rows.iter().flatten().filter_map(|cell| match cell {
        Cell::Estimate(estimate) => Some(estimate),
        _ => None,
    });
    for Estimate { interval, method, unit, n, .. } in estimates {
        let level = interval.as_ref().map(format::level);
        let known = kinds
            .iter_mut()
            .find(|kind| kind.level == level && kind.method == method.as_ref() && kind.unit == unit.as_ref());
        match known {
            Some(kind) => {
                kind.least = kind.least.min(*n);
                kind.most = kind.most.max(*n);
            }
            None => kinds.push(Kind { level, method, unit, least: *n, most: *n }),
        }
    }
    let sentence = |Kind { level, method, unit, least, most }: Kind<'_>| {
        let n = if least == most { format!("n = {least}") } else { format!("n = {least} to {most}") };
        match level {
            Some(level) => format!("Brackets: {level} interval, {method}; replicated: {unit}, {n}."),
            None => format!("Without brackets: {method}; replicated: {unit}, {n}; no interval."),
        }
    };
    kinds.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells;

    #[test]
    fn a_column_shares_its_unit_and_missing_cells_share_their_note() {
        let table = Table::new("t", "T")
            .column(Column::text("model", "Model"))
            .column(Column::number("time", "Time", "ns"))
            .row(cells!["a", 2.5e6])
            .row(cells!["b", Cell::missing("failed")])
            .row(cells!["c", Cell::missing("failed")])
            .row(cells!["d", 500_000_u64]);
        let view = TableView::new(&table);
        assert_eq!(view.headers[1].unit, "ms");
        assert_eq!(view.notes, ["failed"]);
        assert!(matches!(&view.rows[0][1], CellView::Number { shown, sort, .. }
            if shown.to_string() == "2.5" && sort == "2500000.0"));
        assert!(matches!(view.rows[2][1], CellView::Missing { note: 1, .. }));
        assert!(matches!(&view.rows[3][1], CellView::Number { shown, .. } if shown.to_string() == "0.5"));
    }

    #[test]
    fn values_too_far_apart_carry_their_own_unit() {
        let table = Table::new("t", "T")
            .column(Column::number("time", "Time", "ns"))
            .row(cells![500.0])
            .row(cells![3e9]);
        let view = TableView::new(&table);
        assert_eq!(view.headers[0].unit, "");
        assert!(matches!(&view.rows[0][0], CellView::Number { shown, .. } if shown.to_string() == "500 ns"));
        assert!(matches!(&view.rows[1][0], CellView::Number { shown, .. } if shown.to_string() == "3 s"));
    }
}
