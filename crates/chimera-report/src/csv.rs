//! Tables as CSV (RFC 4180, line feeds): raw values at full precision for a machine. An estimate takes several columns.

use crate::format::raw;
use crate::table::{Cell, Column, Table};

/// A table as CSV.
///
/// The heading of a column is its id, with its unit in brackets: `e2e [ms]`. A column with estimates is followed by
/// `e2e.low`, `e2e.high`, `e2e.se`, `e2e.level` (of the interval), `e2e.n`, `e2e.replicate` (what n counts) and
/// `e2e.method`; one with values in other units by `e2e.unit`; one with missing values by `e2e.missing`, the reason. A
/// missing value is an empty field. Text is kept as it is, also where a spreadsheet would take it for a formula: quotes
/// mark it as data, nothing is added to it.
#[must_use]
pub fn csv(table: &Table) -> String {
    let shapes: Vec<Shape> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, _)| Shape::of(table.rows.iter().filter_map(|row| row.get(index))))
        .collect();
    let mut out = String::new();
    record(&mut out, table.columns.iter().zip(&shapes).flat_map(|(column, shape)| shape.headings(column)));
    for row in &table.rows {
        record(
            &mut out,
            row.iter()
                .zip(table.columns.iter().zip(&shapes))
                .flat_map(|(cell, (column, shape))| shape.fields(cell, column)),
        );
    }
    out
}

/// Which extra columns a column needs.
struct Shape {
    estimates: bool,
    units: bool,
    missing: bool,
}

impl Shape {
    fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut shape = Shape { estimates: false, units: false, missing: false };
        for cell in cells {
            match cell {
                Cell::Estimate(_) => shape.estimates = true,
                Cell::Number { unit: Some(_), .. } => shape.units = true,
                Cell::Missing { .. } => shape.missing = true,
                _ => {}
            }
        }
        shape
    }

    fn headings(&self, column: &Column) -> Vec<String> {
        let with_unit = |part: &str| match column.unit.as_str() {
            "" => format!("{}{part}", column.id),
            unit => format!("{}{part} [{unit}]", column.id),
        };
        let mut headings = vec![with_unit("")];
        if self.estimates {
            headings.extend([".low", ".high", ".se"].map(with_unit));
            headings
                .extend([".level", ".n", ".replicate", ".method"].map(|part| format!("{}{part}", column.id)));
        }
        if self.units {
            headings.push(format!("{}.unit", column.id));
        }
        if self.missing {
            headings.push(format!("{}.missing", column.id));
        }
        headings
    }

    fn fields(&self, cell: &Cell, column: &Column) -> Vec<String> {
        let mut fields = vec![match cell {
            Cell::Text(text) => text.clone(),
            Cell::Int(value) => value.to_string(),
            Cell::Number { value, .. } => raw(*value),
            Cell::Estimate(estimate) => raw(estimate.point),
            Cell::Verdict(verdict) => verdict.label().to_owned(),
            Cell::Claim(status) => status.label().to_owned(),
            Cell::Missing { .. } => String::new(),
        }];
        if self.estimates {
            fields.extend(match cell {
                Cell::Estimate(estimate) => {
                    let limit = |pick: fn(&chimera_stats::Interval) -> f64| {
                        estimate.interval.as_ref().map(pick).map_or_else(String::new, raw)
                    };
                    [
                        limit(|interval| interval.low),
                        limit(|interval| interval.high),
                        estimate.standard_error.map_or_else(String::new, raw),
                        limit(|interval| interval.level),
                        estimate.n.to_string(),
                        estimate.unit.to_string(),
                        estimate.method.to_string(),
                    ]
                }
                _ => Default::default(),
            });
        }
        if self.units {
            fields.push(match cell {
                Cell::Number { unit: Some(unit), .. } => unit.clone(),
                Cell::Number { .. } | Cell::Int(_) | Cell::Estimate(_) => column.unit.clone(),
                _ => String::new(),
            });
        }
        if self.missing {
            fields.push(match cell {
                Cell::Missing { reason } => reason.clone(),
                _ => String::new(),
            });
        }
        fields
    }
}

fn record(out: &mut String, fields: impl Iterator<Item = String>) {
    let start = out.len();
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_field(out, &field);
    }
    // A record that is one empty field would be an empty line, which readers skip.
    if out.len() == start {
        out.push_str("\"\"");
    }
    out.push('\n');
}

fn push_field(out: &mut String, field: &str) {
    let formula = field.starts_with(['=', '+', '-', '@']) && field.parse::<f64>().is_err();
    let quoted = formula || field.contains([',', '"', '\n', '\r']) || field.trim() != field;
    if quoted {
        out.push('"');
        out.push_str(&field.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(field);
    }
}

#[cfg(test)]
mod tests {
    use chimera_stats::{Estimate, Interval};

    use super::*;
    use crate::cells;

    #[test]
    fn text_is_data_and_quoted_where_it_must_be() {
        let table = Table::new("t", "T").column(Column::text("a", "A")).column(Column::text("b", "B"));
        let table = table
            .row(cells!["=1+1", "+x"])
            .row(cells!["-y", "@z"])
            .row(cells!["a,b", "say \"hi\"\nthere"])
            .row(cells![" padded ", ""])
            .row(cells![-1.5, -2_i64]);
        assert_eq!(
            csv(&table),
            "a,b\n\"=1+1\",\"+x\"\n\"-y\",\"@z\"\n\"a,b\",\"say \"\"hi\"\"\nthere\"\n\" padded \",\n-1.5,-2\n"
        );
    }

    #[test]
    fn estimates_take_their_company_along() {
        let estimate = Estimate {
            point: 0.1 + 0.2,
            standard_error: Some(0.05),
            interval: Some(Interval { low: 0.2, high: 0.4, level: 0.95 }),
            method: "mean, t".into(),
            unit: "block".into(),
            n: 5,
        };
        let table = Table::new("t", "T")
            .column(Column::number("e2e", "E2E", "ms"))
            .row(cells![estimate])
            .row(cells![Cell::missing("failed")])
            .row(cells![Cell::number_in(2.0, "s")]);
        assert_eq!(
            csv(&table),
            "e2e [ms],e2e.low [ms],e2e.high [ms],e2e.se [ms],e2e.level,e2e.n,e2e.replicate,e2e.method,e2e.unit,e2e.missing\n\
             0.30000000000000004,0.2,0.4,0.05,0.95,5,block,\"mean, t\",ms,\n\
             ,,,,,,,,,failed\n\
             2.0,,,,,,,,s,\n"
        );
    }

    #[test]
    fn a_single_empty_field_is_still_a_record() {
        let table = Table::new("t", "T").column(Column::text("a", "A")).row(cells![""]);
        assert_eq!(csv(&table), "a\n\"\"\n");
    }
}
