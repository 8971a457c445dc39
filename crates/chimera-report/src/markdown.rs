//! Findings as GitHub flavoured Markdown: `report.md`. Plots are pictures beside it, under `plots/`.

use crate::escape::{markdown as text, markdown_start};
use crate::inline::markdown as prose;
use crate::model::{Block, Draft, Findings, Section};
use crate::plot::Plot;
use crate::table::{Align, Table};
use crate::view::{self, CellView, TableView};

/// The report as Markdown, ending in a line feed.
#[must_use]
pub fn markdown(findings: &Findings) -> String {
    let draft = findings.draft();
    let mut out = format!("# {}\n\n", text(&draft.title));
    for sentence in &draft.summary {
        paragraph(&mut out, &prose(sentence));
    }
    headline(&mut out, draft);
    gaps(&mut out, draft);
    for item in &draft.sections {
        section(&mut out, item);
    }
    out.push_str("## Provenance\n\n");
    if draft.provenance.is_empty() {
        out.push_str("No provenance is recorded.\n\n");
    } else {
        out.push_str("| What | Value |\n| :-- | :-- |\n");
        for fact in &draft.provenance {
            out.push_str(&format!("| {} | {} |\n", text(&fact.label), text(&fact.value)));
        }
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    out
}

fn headline(out: &mut String, draft: &Draft) {
    if draft.headline.is_empty() {
        return;
    }
    out.push_str("## Headline\n\n| Finding | Value | Verdict |\n| :-- | --: | :-- |\n");
    for item in &draft.headline {
        let value = item.value.as_ref().map_or_else(String::new, |value| view::alone(value, &item.unit));
        let tone = item.verdict.tone();
        out.push_str(&format!(
            "| {} | {} | {} {} |\n",
            text(&item.label),
            text(&value),
            tone.mark,
            item.verdict.label()
        ));
    }
    out.push('\n');
    for item in draft.headline.iter().filter(|item| !item.sentence.is_empty()) {
        out.push_str(&format!("- **{}**: {}\n", text(&item.label), prose(&item.sentence)));
    }
    out.push('\n');
}

fn gaps(out: &mut String, draft: &Draft) {
    out.push_str("## What is missing\n\n");
    if draft.gaps.is_empty() {
        out.push_str("No gap is recorded.\n\n");
        return;
    }
    for gap in &draft.gaps {
        out.push_str(&format!("- **{}**: {}\n", text(&gap.what), prose(&gap.reason)));
    }
    out.push('\n');
}

fn section(out: &mut String, section: &Section) {
    out.push_str(&format!("## {}\n\n", text(&section.title)));
    for block in &section.blocks {
        match block {
            Block::Paragraph(content) => paragraph(out, &prose(content)),
            Block::List(items) => {
                for item in items {
                    out.push_str(&format!("- {}\n", prose(item)));
                }
                out.push('\n');
            }
            Block::Table(item) => table(out, item),
            Block::Plot(item) => plot(out, item),
            Block::Note { kind, text } => paragraph(out, &format!("> **{}.** {}", kind.label(), prose(text))),
        }
    }
}

fn paragraph(out: &mut String, content: &str) {
    out.push_str(content);
    out.push_str("\n\n");
}

fn plot(out: &mut String, plot: &Plot) {
    out.push_str(&format!("![{}](plots/{}.svg)\n\n", text(&plot.title), plot.id));
    let caption = prose(&plot.caption);
    paragraph(out, format!("**{}{}** {caption}", text(&plot.title), view::stop(&plot.title)).trim_end());
}

fn table(out: &mut String, table: &Table) {
    let view = TableView::new(table);
    let caption = prose(&table.caption);
    paragraph(out, format!("**{}{}** {caption}", text(&table.title), view::stop(&table.title)).trim_end());
    out.push('|');
    for header in &view.headers {
        let unit = if header.unit.is_empty() { String::new() } else { format!(" ({})", text(&header.unit)) };
        out.push_str(&format!(" {}{unit} |", text(header.label)));
    }
    out.push_str("\n|");
    for column in &table.columns {
        out.push_str(match column.align {
            Align::Left => " :-- |",
            Align::Right => " --: |",
        });
    }
    out.push('\n');
    for row in &view.rows {
        out.push('|');
        for cell in row {
            out.push_str(&format!(" {} |", shown(cell)));
        }
        out.push('\n');
    }
    out.push('\n');
    for (index, note) in view.notes.iter().enumerate() {
        paragraph(out, &format!("<sup>{}</sup> {}", index + 1, markdown_start(&text(note))));
    }
    for sentence in &view.intervals {
        paragraph(out, &text(sentence));
    }
    paragraph(out, &format!("Raw values: [tables/{id}.csv](tables/{id}.csv)", id = table.id));
}

fn shown(cell: &CellView<'_>) -> String {
    match cell {
        CellView::Text(content) => text(content),
        CellView::Number { shown, .. } => text(&shown.to_string()),
        CellView::Badge { tone, label } => format!("{} {label}", tone.mark),
        CellView::Missing { note, .. } => format!("– <sup>{note}</sup>"),
    }
}
