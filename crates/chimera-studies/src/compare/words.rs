//! A comparison as Markdown: short enough for a pull request, and aligned, so that it is the text of a terminal too.
//! The full report is in `findings`.

use std::{collections::BTreeSet, fmt::Write as _};

use chimera_report::{aligned, show_estimate, show_number};
use chimera_stats::Estimate;

use super::{Call, Comparison, Factor, Outcome, Row};

/// Rows that a summary shows at most; the rest is counted.
const SHOWN: usize = 60;

/// Cells without a partner that a summary names.
const NAMED: usize = 6;

/// The summary.
#[must_use]
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "### {}\n", verdict(comparison));
    let _ = write!(out, "B = `{}` against A = `{}`", comparison.b, comparison.a);
    let _ = if comparison.rows.is_empty() {
        writeln!(out, ".")
    } else {
        let margin = percent(comparison.margin);
        writeln!(out, "; ratios are B / A; margin {margin}; {}.\n", design(comparison))
    };
    let (constant, varied) = factors(comparison);
    if !constant.is_empty() {
        let _ = writeln!(out, "All rows: {}.\n", constant.join(", "));
    }
    if !comparison.rows.is_empty() {
        table(&mut out, comparison, &varied);
    }
    list(
        &mut out,
        "Differences between the runs",
        comparison.differences.iter().map(|difference| {
            let how =
                if difference.allowed { "declared as the thing under test" } else { "**not declared**" };
            format!("{difference} ({how})")
        }),
    );
    let failures = &comparison.failures;
    if failures.p.is_some()
        || failures.a.failed + failures.b.failed + failures.a.censored + failures.b.censored > 0
    {
        let _ = writeln!(out, "\n{}", failed(comparison));
    }
    // What stands in brackets differs from row to row; the full notes are in the HTML and JSON.
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for note in comparison.rows.iter().flat_map(|row| &row.notes) {
        let kind = note.split(" (").next().unwrap_or(note);
        match counted.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => counted.push((kind, 1)),
        }
    }
    let mut notes: Vec<String> = counted
        .into_iter()
        .map(
            |(note, count)| {
                if count == 1 { format!("{note} (1 row)") } else { format!("{note} ({count} rows)") }
            },
        )
        .collect();
    notes.extend(comparison.unmatched.iter().take(NAMED).map(|what| format!("not compared: {what}")));
    if comparison.unmatched.len() > NAMED {
        notes.push(format!("not compared: {} more cells", comparison.unmatched.len() - NAMED));
    }
    notes.extend(comparison.caveats.iter().cloned());
    list(&mut out, "Notes", notes.into_iter());
    out
}

/// The outcome in one line.
pub(super) fn verdict(comparison: &Comparison) -> String {
    let count = |call| comparison.of(call).count();
    let total = comparison.rows.len();
    match comparison.outcome {
        Outcome::NotComparable => match comparison.obstacles().next() {
            Some(first) => {
                let more = comparison.obstacles().count() - 1;
                let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("Not comparable: the runs differ in {first}{rest}")
            }
            None => "Not comparable: the runs have no cell in common that did the same work".to_owned(),
        },
        Outcome::Regression if count(Call::Slower) == 0 => {
            "Regression: run B fails more often than run A".to_owned()
        }
        Outcome::Regression => {
            format!("Regression: {} of {total} slower, supported by the data", count(Call::Slower))
        }
        Outcome::NoRegression => format!(
            "No regression found: {} faster, {} equivalent, {} undecided of {total}",
            count(Call::Faster),
            count(Call::Equivalent),
            comparison.undecided
        ),
    }
}

/// Blocks and error rate.
pub(super) fn design(comparison: &Comparison) -> String {
    let range = |of: fn(&Row) -> usize| {
        let counts: BTreeSet<usize> = comparison.rows.iter().map(of).collect();
        match (counts.first(), counts.last()) {
            (Some(low), Some(high)) if low == high => low.to_string(),
            (Some(low), Some(high)) => format!("{low} to {high}"),
            _ => "no".to_owned(),
        }
    };
    format!(
        "{} and {} blocks; two families of {} tests, each held to a family-wise error of {} by Holm",
        range(|row| row.blocks_a),
        range(|row| row.blocks_b),
        comparison.rows.iter().filter(|row| row.p.is_some()).count(),
        percent(comparison.alpha)
    )
}

/// Failures of both runs in one sentence.
pub(super) fn failed(comparison: &Comparison) -> String {
    let failures = &comparison.failures;
    let told = |ends: super::Ends| {
        format!("{} completed, {} failed, {} over the time limit", ends.completed, ends.failed, ends.censored)
    };
    let test = match failures.p {
        Some(p) => format!("Fisher's exact p {}", p_value(p)),
        None => "no test".to_owned(),
    };
    format!("Trials of A: {}; of B: {} ({test}).", told(failures.a), told(failures.b))
}

/// Factors with one level over all rows, as text; and the others.
pub(super) fn factors(comparison: &Comparison) -> (Vec<String>, Vec<Factor>) {
    let (mut constant, mut varied) = (Vec::new(), Vec::new());
    for factor in Factor::ALL {
        let levels: BTreeSet<&String> =
            comparison.rows.iter().filter_map(|row| row.cell.get(factor)).collect();
        match (levels.len(), levels.first()) {
            (1, Some(level)) => constant.push(format!("{factor} {level}")),
            (0, _) | (_, None) => {}
            _ => varied.push(*factor),
        }
    }
    (constant, varied)
}

fn table(out: &mut String, comparison: &Comparison, varied: &[Factor]) {
    let mut head = vec!["verdict".to_owned(), "metric".to_owned()];
    head.extend(varied.iter().map(ToString::to_string));
    head.extend(["A", "B", "B / A [95 %]", "p", "p (Holm)", "Hedges g", "detectable"].map(str::to_owned));
    let text = 2 + varied.len();
    let mut lines = vec![head];
    for row in comparison.rows.iter().take(SHOWN) {
        let absent = || "–".to_owned();
        let shown = |estimate: &Option<Estimate>, unit| {
            estimate.as_ref().map_or_else(absent, |e| {
                let bare = Estimate { interval: None, ..e.clone() };
                show_estimate(&bare, unit).to_string()
            })
        };
        let mut line = vec![row.call.to_string(), row.metric.to_owned()];
        line.extend(varied.iter().map(|factor| row.cell.get(factor).cloned().unwrap_or_else(absent)));
        line.extend([
            shown(&row.a, row.unit),
            shown(&row.b, row.unit),
            row.ratio.as_ref().map_or_else(absent, |e| show_estimate(e, "").to_string()),
            row.p.map_or_else(absent, p_value),
            row.adjusted_p.map_or_else(absent, p_value),
            row.effect.as_ref().map_or_else(absent, |e| format!("{:.1}", e.point)),
            row.detectable.map_or_else(absent, percent),
        ]);
        lines.push(line);
    }
    out.push_str(&aligned(&lines, text));
    if comparison.rows.len() > SHOWN {
        let _ = writeln!(out, "\n{} more rows are in the HTML and JSON.", comparison.rows.len() - SHOWN);
    }
}

fn list(out: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_some() {
        let _ = writeln!(out, "\n{title}:\n");
        for item in items {
            let _ = writeln!(out, "- {item}");
        }
    }
}

/// A p to two digits; very small ones by their bound.
pub(crate) fn p_value(p: f64) -> String {
    if p < 1e-4 {
        "<0.0001".to_owned()
    } else if p < 0.01 {
        format!("{p:.4}")
    } else {
        format!("{p:.2}")
    }
}

/// A share in per cent.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 1000.0 {
        return ">1,000 %".to_owned();
    }
    format!("{} %", show_number((percent * 100.0).round() / 100.0, ""))
}
