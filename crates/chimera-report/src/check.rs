//! The one gate between a draft and findings. Everything that a renderer relies on is established here.

use std::collections::HashSet;

use chimera_stats::Estimate;

use crate::error::Invalid;
use crate::model::{Block, Draft, SCHEMA};
use crate::plot::{Axis, Direction, Plot, ScaleKind, Style};
use crate::table::{Cell, Table};

/// Beyond this an axis cannot be divided into steps without overflow.
const LARGEST_DRAWN: f64 = 1e150;

pub(crate) fn draft(draft: &Draft) -> Result<(), Invalid> {
    if draft.schema != SCHEMA {
        return Err(Invalid::UnknownSchema(draft.schema));
    }
    Ids::new("study").add(&draft.study)?;
    let mut headlines = Ids::new("headline");
    for headline in &draft.headline {
        headlines.add(&headline.id)?;
        if let Some(value) = &headline.value {
            cell(value, || format!("headline `{}`", headline.id))?;
        }
    }
    let (mut sections, mut tables, mut plots) = (Ids::new("section"), Ids::new("table"), Ids::new("plot"));
    for section in &draft.sections {
        sections.add(&section.id)?;
        for block in &section.blocks {
            match block {
                Block::Table(item) => {
                    tables.add(&item.id)?;
                    table(item)?;
                }
                Block::Plot(item) => {
                    plots.add(&item.id)?;
                    plot(item)?;
                }
                Block::Paragraph(_) | Block::List(_) | Block::Note { .. } => {}
            }
        }
    }
    Ok(())
}

struct Ids<'a> {
    kind: String,
    seen: HashSet<&'a str>,
}

impl<'a> Ids<'a> {
    fn new(kind: impl Into<String>) -> Self {
        Ids { kind: kind.into(), seen: HashSet::new() }
    }

    fn add(&mut self, id: &'a str) -> Result<(), Invalid> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if id.is_empty() || id.len() > 100 || !id.bytes().all(good) {
            return Err(Invalid::BadId { kind: self.kind.clone(), id: id.to_owned() });
        }
        if !self.seen.insert(id) {
            return Err(Invalid::DuplicateId { kind: self.kind.clone(), id: id.to_owned() });
        }
        Ok(())
    }
}

fn table(table: &Table) -> Result<(), Invalid> {
    if table.columns.is_empty() {
        return Err(Invalid::NoColumns { table: table.id.clone() });
    }
    let mut columns = Ids::new(format!("column of table `{}`:", table.id));
    for column in &table.columns {
        columns.add(&column.id)?;
    }
    for (index, row) in table.rows.iter().enumerate() {
        if row.len() != table.columns.len() {
            return Err(Invalid::RowWidth {
                table: table.id.clone(),
                row: index + 1,
                cells: row.len(),
                columns: table.columns.len(),
            });
        }
        for (value, column) in row.iter().zip(&table.columns) {
            cell(value, || format!("table `{}`, row {}, column `{}`", table.id, index + 1, column.id))?;
        }
    }
    Ok(())
}

fn cell(cell: &Cell, at: impl Fn() -> String) -> Result<(), Invalid> {
    match cell {
        Cell::Number { value, .. } if !value.is_finite() => {
            Err(Invalid::NotFinite { at: at(), what: "the value" })
        }
        Cell::Estimate(value) => estimate(value, at),
        _ => Ok(()),
    }
}

fn estimate(estimate: &Estimate, at: impl Fn() -> String) -> Result<(), Invalid> {
    if !estimate.point.is_finite() {
        return Err(Invalid::NotFinite { at: at(), what: "the point" });
    }
    if estimate.standard_error.is_some_and(|error| !error.is_finite()) {
        return Err(Invalid::NotFinite { at: at(), what: "the standard error" });
    }
    let Some(interval) = estimate.interval else { return Ok(()) };
    if ![interval.low, interval.high, interval.level].iter().all(|value| value.is_finite()) {
        return Err(Invalid::NotFinite { at: at(), what: "the interval" });
    }
    if interval.low > interval.high || interval.level <= 0.0 || interval.level >= 1.0 {
        return Err(Invalid::BadInterval {
            at: at(),
            low: interval.low.to_string(),
            high: interval.high.to_string(),
            level: interval.level.to_string(),
        });
    }
    Ok(())
}

fn plot(plot: &Plot) -> Result<(), Invalid> {
    let refuse = |problem: String| Err(Invalid::BadPlot { plot: plot.id.clone(), problem });
    if plot.y.categories.is_some() {
        return refuse("only the x axis may have categories".into());
    }
    if plot.x.categories.as_ref().is_some_and(Vec::is_empty) {
        return refuse("the x axis has an empty list of categories".into());
    }
    for series in &plot.series {
        let name = &series.name;
        if series.style == Style::Bars && (plot.x.categories.is_none() || plot.y.scale == ScaleKind::Log) {
            return refuse(format!("bars of `{name}` need categories on x and a linear y, which has a zero"));
        }
        for (index, point) in series.points.iter().enumerate() {
            let at = |what: &str| format!("series `{name}`, point {}: {what}", index + 1);
            if let Some(problem) = misplaced(&plot.x, point.x) {
                return refuse(at(&format!("x {problem}")));
            }
            if let Some(problem) = misplaced(&plot.y, point.y) {
                return refuse(at(&format!("y {problem}")));
            }
            // On a log axis an interval may reach to zero or below: it is drawn open, down to the edge.
            if [point.low, point.high].into_iter().flatten().any(|limit| !drawable(limit)) {
                return refuse(at("an end of the interval is not a finite number that can be drawn"));
            }
            if point.low.is_some_and(|low| low > point.y) || point.high.is_some_and(|high| high < point.y) {
                return refuse(at("y lies outside its interval"));
            }
        }
    }
    for reference in &plot.references {
        let axis = match reference.direction {
            Direction::Horizontal => &plot.y,
            Direction::Vertical => &plot.x,
        };
        if let Some(problem) = misplaced(axis, reference.at) {
            return refuse(format!("reference line `{}` {problem}", reference.label));
        }
    }
    Ok(())
}

fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() <= LARGEST_DRAWN
}

/// Why a value has no place on an axis, if it has none.
fn misplaced(axis: &Axis, value: f64) -> Option<&'static str> {
    if !drawable(value) {
        return Some("is not a finite number that can be drawn");
    }
    if let Some(categories) = &axis.categories {
        let inside = value >= 0.0 && value < categories.len() as f64 && value.fract() == 0.0;
        return (!inside).then_some("is not the index of a category");
    }
    (axis.scale == ScaleKind::Log && value < LARGEST_DRAWN.recip())
        .then_some("is not positive, and its axis is logarithmic")
}
