//! A comparison as a report: the same table with every column, the ratios as a plot, what the runs differ in, and how
//! the calls were made. Numbers come from the comparison alone.

use std::collections::BTreeSet;

use chimera_report::{
    Axis, Cell, Column, Draft, Findings, Headline, NoteKind, Plot, Point, Section, Series, Style, Table,
    Verdict, literal,
};

use super::{Call, Comparison, Factor, Outcome, Row, words};
use crate::StudyError;

/// Most cells that one plot can hold legibly.
const PLOTTED: usize = 24;

/// The report of a comparison.
///
/// # Errors
/// [`StudyError::Findings`]: a defect.
pub fn findings(comparison: &Comparison) -> Result<Findings, StudyError> {
    let mut draft = Draft::new("compare", "Two runs compared")
        .summary(literal(&format!("{}.", words::verdict(comparison))))
        .summary(format!("The unit of replication is the block: {}.", words::design(comparison)))
        .provenance("A", &comparison.a)
        .provenance("B", &comparison.b)
        .provenance("Margin of equivalence", words::percent(comparison.margin));
    let (verdict, sentence) = match comparison.outcome {
        Outcome::Regression => (Verdict::Contradicted, "The data support a regression."),
        Outcome::NotComparable => (Verdict::NotMeasured, "The runs do not answer the question."),
        Outcome::NoRegression if comparison.undecided > 0 => {
            (Verdict::Inconclusive, "None was found, and not every row could be decided.")
        }
        Outcome::NoRegression => (Verdict::Supported, "Every row is faster or equivalent within the margin."),
    };
    draft = draft.headline(Headline::new("regression", "No regression?", verdict, sentence));
    let (constant, varied) = words::factors(comparison);
    let mut section = Section::new("rows", "Metrics and cells");
    if !constant.is_empty() {
        section = section.paragraph(literal(&format!("All rows: {}.", constant.join(", "))));
    }
    section = section.table(table(comparison, &varied));
    if comparison.rows.iter().any(|row| !row.notes.is_empty()) {
        section = section.table(notes(comparison, &varied));
    }
    for (number, metric) in metrics(comparison).into_iter().enumerate() {
        section = plots(section, comparison, metric, number, &varied);
    }
    draft = draft.section(section).section(runs(comparison)).section(method(comparison));
    for cell in &comparison.unmatched {
        draft = draft.gap("a cell without a partner", literal(cell));
    }
    Ok(draft.finish()?)
}

fn metrics(comparison: &Comparison) -> Vec<&'static str> {
    let mut found = Vec::new();
    for row in &comparison.rows {
        if !found.contains(&row.metric) {
            found.push(row.metric);
        }
    }
    found.sort_unstable();
    found
}

fn table(comparison: &Comparison, varied: &[Factor]) -> Table {
    let tests: BTreeSet<&str> = comparison.rows.iter().filter_map(|row| row.test.as_deref()).collect();
    let tests: Vec<&str> = tests.into_iter().collect();
    let mut table = Table::new("rows", "B against A")
        .caption(format!(
            "One row per metric and cell. A and B: geometric means over blocks with 95 % t intervals. p: {}. Detectable: \
             smallest change found with 80 % power at the level that Holm asks of the first of the family. Equivalence p: the \
             larger of two one-sided tests, adjusted.",
            if tests.is_empty() { "no test was possible".to_owned() } else { tests.join(", ") }
        ))
        .column(Column::text("verdict", "Verdict"))
        .column(Column::text("metric", "Metric"));
    for factor in varied {
        table = table.column(Column::text(factor.name(), factor.name()));
    }
    table = table
        .column(Column::number("a", "A", ""))
        .column(Column::number("b", "B", ""))
        .column(Column::number("ratio", "B / A", ""))
        .column(Column::number("p-holm", "p (Holm)", ""))
        .column(Column::number("detectable", "Detectable", "%"))
        .column(Column::number("g", "Hedges g", ""))
        .column(Column::number("p", "p", ""))
        .column(Column::number("p-equivalence", "Equivalence p (Holm)", ""))
        .column(Column::number("blocks-a", "Blocks A", ""))
        .column(Column::number("blocks-b", "Blocks B", ""));
    for row in &comparison.rows {
        const FEW: &str = "too few blocks, or no noise";
        let with_unit = |estimate: &Option<chimera_stats::Estimate>| match estimate {
            // Rows differ in their unit, so each cell carries its own.
            Some(estimate) => Cell::from(chimera_report::show_estimate(estimate, row.unit).to_string()),
            None => Cell::missing("no block has every cell"),
        };
        let mut cells: Vec<Cell> = vec![row.call.word().into(), row.metric.into()];
        for factor in varied {
            cells.push(Cell::or_missing(row.cell.get(factor), "not a factor of this comparison"));
        }
        cells.extend([
            with_unit(&row.a),
            with_unit(&row.b),
            Cell::or_missing(row.ratio.as_ref(), FEW),
            Cell::or_missing(row.adjusted_p, FEW),
            Cell::or_missing(row.detectable.map(|share| share * 100.0), FEW),
            Cell::or_missing(row.effect.as_ref(), FEW),
            Cell::or_missing(row.p, FEW),
            Cell::or_missing(row.equivalence_p, FEW),
            row.blocks_a.into(),
            row.blocks_b.into(),
        ]);
        table.push_row(cells);
    }
    table
}

/// What a reader must know of single rows.
fn notes(comparison: &Comparison, varied: &[Factor]) -> Table {
    let mut table = Table::new("notes", "Notes on rows")
        .caption("One row per note.")
        .column(Column::text("metric", "Metric"))
        .column(Column::text("cell", "Cell"))
        .column(Column::text("note", "Note"));
    for row in &comparison.rows {
        for note in &row.notes {
            table.push_row([row.metric.into(), Cell::from(name(row, varied)), Cell::from(note)]);
        }
    }
    table
}

/// A row by the levels that vary.
fn name(row: &Row, varied: &[Factor]) -> String {
    let levels: Vec<&str> = varied.iter().filter_map(|f| row.cell.get(f)).map(String::as_str).collect();
    if levels.is_empty() { "all".to_owned() } else { levels.join(" ") }
}

fn plots(
    section: Section,
    comparison: &Comparison,
    metric: &str,
    number: usize,
    varied: &[Factor],
) -> Section {
    let rows: Vec<&Row> = comparison
        .rows
        .iter()
        .filter(|row| row.metric == metric && row.ratio.as_ref().is_some_and(|r| r.interval.is_some()))
        .take(PLOTTED)
        .collect();
    if rows.is_empty() {
        return section;
    }
    let mut points: Vec<Point> = Vec::new();
    for (x, row) in (0_u32..).zip(&rows) {
        if let Some(ratio) = &row.ratio {
            points.push(Point {
                x: f64::from(x),
                y: ratio.point,
                low: ratio.interval.map(|i| i.low),
                high: ratio.interval.map(|i| i.high),
                label: Some(row.call.word().to_owned()),
            });
        }
    }
    let mut series = Series::new("B / A", Style::Points);
    series.points = points;
    section.plot(
        Plot::new(
            format!("ratio-{}", number + 1),
            format!("B / A: {metric}"),
            Axis::categories("cell", rows.iter().map(|row| name(row, varied))),
            Axis::log("B / A", ""),
        )
        .caption(
            "Ratios of geometric means; bars are 95 % intervals over blocks, not adjusted for their number.",
        )
        .series(series)
        .horizontal(1.0, "equal")
        .horizontal(1.0 + comparison.margin, "margin")
        .horizontal(1.0 / (1.0 + comparison.margin), "margin"),
    )
}

fn runs(comparison: &Comparison) -> Section {
    let mut section = Section::new("runs", "The two runs").paragraph(literal(&words::failed(comparison)));
    if comparison.differences.is_empty() {
        section = section.paragraph(
            "No difference was found in weights, prompts, sampling, backend versions, build, host, system or governor.",
        );
    } else {
        let mut table = Table::new("differences", "What the runs differ in")
            .caption(
                "A difference that was not declared as the thing under test makes the runs not comparable.",
            )
            .column(Column::text("aspect", "Aspect"))
            .column(Column::text("subject", "Of"))
            .column(Column::text("a", "A"))
            .column(Column::text("b", "B"))
            .column(Column::text("declared", "Declared"));
        for d in &comparison.differences {
            let declared = if d.allowed { "yes" } else { "no" };
            let row: [&str; 5] = [d.aspect.name(), &d.subject, &d.a, &d.b, declared];
            table.push_row(row.map(Cell::from));
        }
        section = section.table(table);
    }
    let noisy = [comparison.failures.a.noisy, comparison.failures.b.noisy];
    if noisy.iter().any(|n| *n > 0) {
        section = section.note(
            NoteKind::Warning,
            format!(
                "Trials flagged for pressure or steal of the host: {} of A, {} of B. They stay in.",
                noisy[0], noisy[1]
            ),
        );
    }
    if !comparison.caveats.is_empty() {
        section = section.list(comparison.caveats.iter().map(|caveat| literal(caveat)));
    }
    section
}

fn method(comparison: &Comparison) -> Section {
    let undecided = comparison.of(Call::Inconclusive).count();
    Section::new("method", "How the calls are made")
        .list([
            "*slower*, *faster*: t test on logarithms of block values (Welch where the sides share no blocks, paired where \
             they do), Holm-adjusted p at most 0.05, and not equivalent.",
            "*equivalent*: both one-sided tests at the margin reject, Holm-adjusted over all rows. A large p of the first \
             test is never read as equality.",
            "*inconclusive*: neither. The column *detectable* says how large a change would have had to be.",
            "*not comparable*: the sides did unequal work, or one of them lacks the cell.",
            "A value per block: the mean over repetitions of a cell within its process, then the geometric mean over the \
             cells taken together. Blocks are processes; requests are not replicates.",
        ])
        .note(
            NoteKind::Limit,
            format!(
                "{undecided} of {} rows are inconclusive. Intervals over the blocks of one run do not hold what differs \
                 between days, boots or machines.",
                comparison.rows.len()
            ),
        )
}
