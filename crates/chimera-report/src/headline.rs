//! The headline alone: as text for a terminal and as JSON for a program.

use serde::Serialize;

use crate::error::ReportError;
use crate::escape::terminal;
use crate::inline;
use crate::model::{Findings, Gap, Headline};
use crate::view;

/// Width of the prose in a terminal.
const WIDTH: usize = 88;

/// The headline as a plain text table, with the sentences and the gaps below it. Ends in a line feed, and holds no control
/// characters but line feeds.
#[must_use]
pub fn headline_text(findings: &Findings) -> String {
    let draft = findings.draft();
    let mut out = format!("{}: {}\n", terminal(&draft.study), terminal(&draft.title));
    let rows: Vec<[String; 3]> = draft.headline.iter().map(row).collect();
    let heading = ["Finding", "Value", "Verdict"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter().chain([&heading]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let (first, second) = (width(0), width(1));
    if rows.is_empty() {
        out.push_str("\nNo headline is stated.\n");
    } else {
        out.push('\n');
        for row in [&heading].into_iter().chain(&rows) {
            let [label, value, verdict] = row;
            out.push_str(&format!("{label:first$}  {value:second$}  {verdict}\n"));
        }
    }
    for headline in draft.headline.iter().filter(|headline| !headline.sentence.is_empty()) {
        let sentence = terminal(&inline::plain(&headline.sentence));
        out.push_str(&format!(
            "\n{}\n",
            wrapped(&format!("{}: {sentence}", terminal(&headline.label)), "  ")
        ));
    }
    if !draft.gaps.is_empty() {
        out.push_str("\nMissing:\n");
        for Gap { what, reason } in &draft.gaps {
            let reason = terminal(&inline::plain(reason));
            out.push_str(&format!("{}\n", wrapped(&format!("- {}: {reason}", terminal(what)), "  ")));
        }
    }
    out
}

/// The headline and the gaps as one JSON object, indented, ending in a line feed. Values have the form they have in
/// `findings.json`.
///
/// # Errors
/// [`ReportError::Unreadable`] if the serialiser refuses, which checked findings give it no reason to.
pub fn headline_json(findings: &Findings) -> Result<String, ReportError> {
    #[derive(Serialize)]
    struct Summary<'a> {
        schema: u32,
        study: &'a str,
        title: &'a str,
        headline: &'a [Headline],
        gaps: &'a [Gap],
    }
    let draft = findings.draft();
    let summary = Summary {
        schema: draft.schema,
        study: &draft.study,
        title: &draft.title,
        headline: &draft.headline,
        gaps: &draft.gaps,
    };
    let mut json = serde_json::to_string_pretty(&summary).map_err(ReportError::Unreadable)?;
    json.push('\n');
    Ok(json)
}

fn row(headline: &Headline) -> [String; 3] {
    let value = headline.value.as_ref().map_or_else(String::new, |value| view::alone(value, &headline.unit));
    [terminal(&headline.label), terminal(&value), headline.verdict.label().to_owned()]
}

fn wrapped(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}
