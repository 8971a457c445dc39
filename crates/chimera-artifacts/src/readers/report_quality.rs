//! TR109's scores of the reports its agents wrote, computed again from the reports by the rules of the published script;
//! the texts themselves are left out. The rules are kept with their faults: one keyword is upper case and is looked for in
//! a lower-case text, so that no report can have all of them.

use super::{Output, from_json, part, python::each_arm, table};
use crate::{
    ImportError,
    cells::{Table, need, shortest, text},
    source::{At, Source},
};

const KEYWORDS: [&str; 15] = [
    "performance",
    "throughput",
    "latency",
    "optimization",
    "benchmark",
    "metrics",
    "analysis",
    "configuration",
    "GPU",
    "memory",
    "utilization",
    "efficiency",
    "scalability",
    "architecture",
    "algorithm",
];
const INDICATORS: [&str; 18] = [
    "table",
    "chart",
    "graph",
    "metric",
    "statistic",
    "average",
    "median",
    "percentile",
    "correlation",
    "trend",
    "pattern",
    "insight",
    "finding",
    "comparison",
    "baseline",
    "improvement",
    "delta",
    "variance",
];

pub(super) fn read(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut scores =
        Table::new(["config", "arm", "words", "sections", "td", "cit", "da", "ss", "overall", "overall_doc"]);
    let folder = "benchmarks/python/chimera_sweep";
    let files = source.files(At::Head, folder, |path| path.ends_with("/data/metrics.json"));
    from_json(source, &mut scores, &files, |value, entry| {
        let config = part(entry.below(folder), 0)?.trim_start_matches("run_").to_owned();
        each_arm(value, |run, name, arm| {
            need(run, "run_number")?;
            let mut row = vec![config.clone(), name.to_owned()];
            row.extend(score(text(arm, "report")?));
            Ok(row)
        })
    })?;
    Ok(table(source, "agents/tr109/python_report_quality.csv", &scores))
}

/// Words, sections, technical depth, citations, data analysis, structure, the score with the script's weights and with
/// those that the report prints.
fn score(report: &str) -> [String; 8] {
    let lower = report.to_lowercase();
    let share = |words: &[&str]| {
        let found = words.iter().filter(|word| lower.contains(**word)).count();
        found as f64 / words.len() as f64
    };
    let (depth, analysis, structure) = (share(&KEYWORDS), share(&INDICATORS), structure(report));
    let citations = citations(report);
    let cited = (citations as f64 / 10.0).min(1.0);
    let weighed = |weights: [f64; 4]| {
        depth * weights[0] + analysis * weights[1] + structure * weights[2] + cited * weights[3]
    };
    let sections = lines(report).filter(|line| heading(line).is_some()).count();
    [
        report.split_whitespace().count().to_string(),
        sections.to_string(),
        shortest(depth),
        citations.to_string(),
        shortest(analysis),
        shortest(structure),
        shortest(weighed([0.3, 0.25, 0.25, 0.2])),
        shortest(weighed([0.35, 0.25, 0.2, 0.2])),
    ]
}

/// Lines with their ends: an end counts as the space after a mark.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
}

fn spaced(rest: &str) -> bool {
    rest.starts_with(char::is_whitespace)
}

/// The level of a heading.
fn heading(line: &str) -> Option<usize> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    (level > 0 && spaced(rest)).then_some(level)
}

/// The share of seven elements of structure that a report has.
fn structure(report: &str) -> f64 {
    let level = |wanted: usize| lines(report).any(|line| heading(line) == Some(wanted));
    let paired = |mark: &str| {
        lines(report).any(|line| line.strip_prefix(mark).is_some_and(|rest| rest.contains(mark)))
    };
    let numbered = |line: &str| {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < line.len() && rest.strip_prefix('.').is_some_and(spaced)
    };
    let elements = [
        level(1),
        level(2),
        level(3),
        paired("**"),
        paired("|"),
        lines(report).any(numbered),
        lines(report).any(|line| line.strip_prefix('-').is_some_and(spaced)),
    ];
    elements.iter().filter(|found| **found).count() as f64 / elements.len() as f64
}

/// Bracketed passages within a line, and mentions of a report or a numbered section outside them, from left to right.
fn citations(report: &str) -> usize {
    let closed = |rest: &str, close: char| {
        let end = rest.find([close, '\n'])?;
        rest.get(end..)?.starts_with(close).then_some(end + close.len_utf8())
    };
    let mut rest = report;
    let mut count = 0;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '[' => closed(rest, ']'),
            '(' => closed(rest, ')'),
            'T' => rest.starts_with("Technical Report").then_some("Technical Report".len()),
            'S' => rest.strip_prefix("Section ").and_then(|number| {
                let digits = number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                (digits > 0).then_some("Section ".len() + digits)
            }),
            _ => None,
        };
        count += usize::from(length.is_some());
        rest = rest.get(length.unwrap_or(first.len_utf8())..).unwrap_or_default();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_end_in_their_line_and_hide_what_is_in_them() {
        assert_eq!(citations("a [1] (see Section 2) Section 3 Section x Technical Report 108"), 4);
        assert_eq!(citations("open (and\nclosed) [ü]"), 1);
        assert_eq!(citations(""), 0);
    }

    #[test]
    fn each_element_of_structure_counts_once() {
        assert_eq!(structure("# a\n## b\n### c\n**d**\n|e|\n1. f\n- g\n- h\n"), 1.0);
        assert_eq!(structure("#a\n**b\n|\n1.f\n-g\n"), 0.0);
        assert_eq!(score("# a\n#### b\n").map(|cell| cell.len() > 20), [false; 8]);
        assert_eq!(score("# GPU memory\n## b\n")[..4], ["5", "2", "0.06666666666666667", "0"]);
    }
}
