//! TR117 published no raw data: its summary per backend is read from the report itself, the table of statistics and the
//! appendix with the extremes.

use serde_json::Value;

use super::{Outputs, table};
use crate::{
    cells::{Table, at, need, number},
    source::{At, Source},
};

const REPORT: &str = "outputs/publish_ready/reports/Technical_Report_117.md";

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut summary = Table::new([
        "backend",
        "n_ok",
        "mean_ms",
        "median_ms",
        "std_ms",
        "min_ms",
        "max_ms",
        "cost_usd_per_1m_tok",
        "tok_per_s_mean",
        "n_degraded",
    ]);
    let Some(entry) = source.file(At::Head, REPORT) else { return Ok(Vec::new()) };
    let Some(text) = source.text(&entry)? else { return Ok(Vec::new()) };
    let lines: Vec<&str> = text.lines().collect();
    let extremes = extremes(&lines);
    let start = lines.iter().position(|line| line.starts_with("| Backend | Successful Runs |"));
    let rows = lines.iter().enumerate().skip(start.map_or(lines.len(), |start| start + 2));
    for (index, line) in rows.take_while(|(_, line)| line.starts_with('|')) {
        let line_number = Some(index as u64 + 1);
        match row(line, &extremes, &lines).and_then(|row| summary.push(row)) {
            Ok(()) => {}
            Err(reason) => source.trouble(&entry, line_number, &reason),
        }
    }
    if summary.rows() == 0 {
        source.trouble(&entry, None, "there is no table of backends");
    }
    Ok(table(source, "backends/tr117/published_summary.csv", &summary).into_iter().collect())
}

fn row(line: &str, extremes: &Value, lines: &[&str]) -> Result<Vec<String>, String> {
    let cells: Vec<String> = line
        .trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().trim_matches('*').trim_start_matches('$').replace(',', ""))
        .collect();
    let [backend, ok, mean, median, sd, cost, rate] = cells.as_slice() else {
        return Err(format!("{} columns instead of seven", cells.len()));
    };
    let value = |cell: &String| match cell.as_str() {
        "N/A" => Ok(String::new()),
        shown => number(shown).ok_or_else(|| format!("`{shown}` is no number")),
    };
    let extreme = |name: &str| match at(extremes, backend) {
        Some(of) => need(of, name),
        None => Ok(String::new()),
    };
    Ok(vec![
        backend.clone(),
        value(ok)?,
        value(mean)?,
        value(median)?,
        value(sd)?,
        extreme("min")?,
        extreme("max")?,
        value(cost)?,
        value(rate)?,
        degraded(backend, lines).to_string(),
    ])
}

/// The appendix's JSON block.
fn extremes(lines: &[&str]) -> Value {
    let block = lines
        .split(|line| line.starts_with("```"))
        .map(|block| block.join("\n"))
        .find(|block| block.trim_start().starts_with('{') && block.contains("\"median\""));
    block.and_then(|block| serde_json::from_str(&block).ok()).unwrap_or_default()
}

/// The count of degraded runs in a list such as `- TensorRT: 273 (100% of TRT runs)`; a backend that is not in it has
/// none.
fn degraded(backend: &str, lines: &[&str]) -> u64 {
    let mut counts = lines.iter().filter_map(|line| {
        let (name, rest) = line.strip_prefix("- ")?.split_once(": ")?;
        let (count, rest) = rest.split_once(' ')?;
        (name.eq_ignore_ascii_case(backend) && rest.starts_with('(')).then(|| count.parse().ok())?
    });
    counts.next_back().unwrap_or(0)
}
