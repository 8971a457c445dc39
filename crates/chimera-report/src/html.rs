//! Findings as one HTML file that needs nothing else: no network, no fonts, no pictures beside it. Works without its
//! script, which only makes tables sortable; follows dark and light; prints.

use crate::escape::{html as text, push_html};
use crate::format;
use crate::inline::html as prose;
use crate::model::{Block, Draft, Findings, Headline, NoteKind, Section};
use crate::plot::Plot;
use crate::svg::{self, Variant};
use crate::table::{Align, Table};
use crate::verdict::Tone;
use crate::view::{self, CellView, TableView};

const STYLE: &str = include_str!("../assets/report.css");
const SCRIPT: &str = include_str!("../assets/report.js");

/// Even a text that found a way to become markup could load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The report as one self-contained HTML file, ending in a line feed.
#[must_use]
pub fn html(findings: &Findings) -> String {
    let draft = findings.draft();
    let mut out = String::with_capacity(64 * 1024);
    out.push_str(&format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{study}: {title}</title>\n<style>\n{STYLE}{css}</style>\n</head>\n<body>\n",
        study = text(&draft.study),
        title = text(&draft.title),
        css = svg::CSS,
    ));
    out.push_str("<a class=\"skip\" href=\"#content\">Skip to content</a>\n<div class=\"page\">\n");
    contents(&mut out, draft);
    out.push_str("<main id=\"content\">\n<header>\n");
    out.push_str(&format!(
        "<p class=\"study\">{}</p>\n<h1>{}</h1>\n",
        text(&draft.study),
        text(&draft.title)
    ));
    for sentence in &draft.summary {
        out.push_str(&format!("<p class=\"summary\">{}</p>\n", prose(sentence)));
    }
    out.push_str("</header>\n");
    headline(&mut out, draft);
    gaps(&mut out, draft);
    for item in &draft.sections {
        section(&mut out, item);
    }
    provenance(&mut out, draft);
    out.push_str(&format!("</main>\n</div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    out
}

fn contents(out: &mut String, draft: &Draft) {
    out.push_str(
        "<nav class=\"contents\" aria-label=\"Contents\">\n<details open><summary>Contents</summary>\n<ol>\n",
    );
    let mut entry = |id: &str, title: &str| {
        out.push_str(&format!("<li><a href=\"#{id}\">{}</a></li>\n", text(title)));
    };
    if !draft.headline.is_empty() {
        entry("headline", "Headline");
    }
    entry("missing", "What is missing");
    for section in &draft.sections {
        entry(&format!("section-{}", section.id), &section.title);
    }
    entry("provenance", "Provenance");
    out.push_str("</ol>\n</details>\n</nav>\n");
}

fn heading(out: &mut String, id: &str, title: &str) {
    out.push_str(&format!(
        "<h2>{title} <a class=\"anchor\" href=\"#{id}\" aria-label=\"Link to this section\">#</a></h2>\n",
        title = text(title)
    ));
}

fn headline(out: &mut String, draft: &Draft) {
    if draft.headline.is_empty() {
        return;
    }
    out.push_str("<section id=\"headline\">\n");
    heading(out, "headline", "Headline");
    out.push_str("<div class=\"cards\">\n");
    for item in &draft.headline {
        card(out, item);
    }
    out.push_str("</div>\n</section>\n");
}

fn card(out: &mut String, item: &Headline) {
    let tone = item.verdict.tone();
    out.push_str(&format!("<article class=\"card {}\" id=\"headline-{}\">\n", tone.class, item.id));
    out.push_str(&format!("<h3>{}</h3>\n", text(&item.label)));
    if let Some(value) = &item.value {
        let shown = view::alone(value, &item.unit);
        // The bracket is set smaller than the value it belongs to.
        let (number, interval) = match shown.find(" [") {
            Some(at) if matches!(value, crate::table::Cell::Estimate(_)) => shown.split_at(at),
            _ => (shown.as_str(), ""),
        };
        let class =
            if matches!(value, crate::table::Cell::Missing { .. }) { "value missing" } else { "value" };
        out.push_str(&format!("<p class=\"{class}\"><span class=\"number\">{}</span>", text(number)));
        if !interval.is_empty() {
            out.push_str(&format!(" <span class=\"interval\">{}</span>", text(interval.trim())));
        }
        out.push_str("</p>\n");
        if let crate::table::Cell::Estimate(estimate) = value {
            let how = format::provenance(estimate, &item.unit);
            out.push_str(&format!("<p class=\"how\">{}</p>\n", text(&how)));
        }
    }
    out.push_str(&format!("<p>{}</p>\n", badge(tone, item.verdict.label())));
    if !item.sentence.is_empty() {
        out.push_str(&format!("<p class=\"sentence\">{}</p>\n", prose(&item.sentence)));
    }
    out.push_str("</article>\n");
}

fn badge(tone: Tone, label: &str) -> String {
    format!(
        "<span class=\"badge {}\"><span aria-hidden=\"true\">{}</span> {label}</span>",
        tone.class, tone.mark
    )
}

fn gaps(out: &mut String, draft: &Draft) {
    out.push_str("<section id=\"missing\">\n");
    heading(out, "missing", "What is missing");
    if draft.gaps.is_empty() {
        out.push_str("<p>No gap is recorded.</p>\n");
    } else {
        out.push_str("<ul class=\"gaps\">\n");
        for gap in &draft.gaps {
            out.push_str(&format!("<li><strong>{}</strong>: {}</li>\n", text(&gap.what), prose(&gap.reason)));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
}

fn section(out: &mut String, section: &Section) {
    let id = format!("section-{}", section.id);
    out.push_str(&format!("<section id=\"{id}\">\n"));
    heading(out, &id, &section.title);
    for block in &section.blocks {
        match block {
            Block::Paragraph(content) => out.push_str(&format!("<p>{}</p>\n", prose(content))),
            Block::List(items) => {
                out.push_str("<ul>\n");
                for item in items {
                    out.push_str(&format!("<li>{}</li>\n", prose(item)));
                }
                out.push_str("</ul>\n");
            }
            Block::Table(item) => table(out, item),
            Block::Plot(item) => plot(out, item),
            Block::Note { kind, text } => {
                let class = match kind {
                    NoteKind::Warning => "warning",
                    NoteKind::Limit => "limit",
                    NoteKind::Definition => "definition",
                };
                out.push_str(&format!(
                    "<p class=\"note {class}\"><strong>{}.</strong> {}</p>\n",
                    kind.label(),
                    prose(text)
                ));
            }
        }
    }
    out.push_str("</section>\n");
}

fn provenance(out: &mut String, draft: &Draft) {
    out.push_str("<section id=\"provenance\">\n");
    heading(out, "provenance", "Provenance");
    if draft.provenance.is_empty() {
        out.push_str("<p>No provenance is recorded.</p>\n");
    } else {
        out.push_str("<dl>\n");
        for fact in &draft.provenance {
            out.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", text(&fact.label), text(&fact.value)));
        }
        out.push_str("</dl>\n");
    }
    out.push_str("</section>\n");
}

fn plot(out: &mut String, plot: &Plot) {
    out.push_str(&format!("<figure id=\"plot-{}\">\n", plot.id));
    for variant in [Variant::Wide, Variant::Narrow] {
        out.push_str(&svg::render(plot, variant));
        out.push('\n');
    }
    caption(out, "figcaption", &plot.title, &plot.caption);
    out.push_str("</figure>\n");
}

fn caption(out: &mut String, tag: &str, title: &str, words: &str) {
    out.push_str(&format!(
        "<{tag}><strong>{}{}</strong> {}</{tag}>\n",
        text(title),
        view::stop(title),
        prose(words)
    ));
}

fn table(out: &mut String, table: &Table) {
    let view = TableView::new(table);
    let id = format!("table-{}", table.id);
    out.push_str(&format!("<div class=\"table\" id=\"{id}\">\n"));
    out.push_str(&format!(
        "<p class=\"caption\" id=\"{id}-caption\"><strong>{}{}</strong> {}</p>\n",
        text(&table.title),
        view::stop(&table.title),
        prose(&table.caption)
    ));
    out.push_str(&format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{id}-caption\">\n\
         <table aria-labelledby=\"{id}-caption\">\n<thead><tr>"
    ));
    let align = |index: usize| match table.columns.get(index).map(|column| column.align) {
        Some(Align::Right) => " class=\"right\"",
        _ => "",
    };
    for (index, header) in view.headers.iter().enumerate() {
        out.push_str(&format!("<th scope=\"col\"{}><span>{}", align(index), text(header.label)));
        if !header.unit.is_empty() {
            out.push_str(&format!(" <span class=\"unit\">({})</span>", text(&header.unit)));
        }
        out.push_str("</span></th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &view.rows {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            // The first column names the row.
            let (open, close) = if index == 0 { ("th scope=\"row\"", "</th>") } else { ("td", "</td>") };
            out.push('<');
            out.push_str(open);
            let right = matches!(table.columns.get(index).map(|column| column.align), Some(Align::Right));
            // A short name would otherwise break at its hyphen.
            let short = matches!(cell, CellView::Text(content) if content.chars().count() <= 24);
            out.push_str(match (right, short) {
                (true, true) => " class=\"right short\"",
                (true, false) => " class=\"right\"",
                (false, true) => " class=\"short\"",
                (false, false) => "",
            });
            push_cell(out, cell, &id);
            out.push_str(close);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    if !view.notes.is_empty() || !view.intervals.is_empty() {
        out.push_str("<div class=\"notes\">\n");
        for (index, note) in view.notes.iter().enumerate() {
            let number = index + 1;
            out.push_str(&format!("<p id=\"{id}-note-{number}\"><sup>{number}</sup> {}</p>\n", text(note)));
        }
        for sentence in &view.intervals {
            out.push_str(&format!("<p>{}</p>\n", text(sentence)));
        }
        out.push_str("</div>\n");
    }
    out.push_str("</div>\n");
}

/// The attributes, the closing bracket of the tag, and the content.
fn push_cell(out: &mut String, cell: &CellView<'_>, table: &str) {
    match cell {
        CellView::Text(content) => {
            out.push('>');
            push_html(out, content);
        }
        CellView::Number { shown, sort, estimate } => {
            out.push_str(" data-v=\"");
            out.push_str(sort);
            out.push('"');
            if let Some((estimate, unit)) = estimate {
                out.push_str(" title=\"");
                push_html(out, &format::provenance(estimate, unit));
                out.push('"');
            }
            out.push_str("><span class=\"number\">");
            push_html(out, &shown.value);
            let parts = [
                ("unit", Some(&shown.unit).filter(|unit| !unit.is_empty())),
                ("interval", shown.interval.as_ref()),
            ];
            for (class, part) in parts.into_iter().filter_map(|(class, part)| Some((class, part?))) {
                out.push_str(" <span class=\"");
                out.push_str(class);
                out.push_str("\">");
                push_html(out, part);
                out.push_str("</span>");
            }
            out.push_str("</span>");
        }
        CellView::Badge { tone, label } => {
            out.push('>');
            out.push_str(&badge(*tone, label));
        }
        CellView::Missing { note, reason } => {
            out.push_str(&format!(
                " data-missing title=\"{reason}\"><span class=\"missing\">– \
                 <sup><a href=\"#{table}-note-{note}\">{note}</a></sup></span>",
                reason = text(reason)
            ));
        }
    }
}
