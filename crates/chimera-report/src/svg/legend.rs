//! The legend, above the plot, in as many rows as it needs.

use crate::plot::{Plot, Style};

use super::{Canvas, marks, n, text};

/// Where the entries stand, relative to the top left of the legend.
pub(crate) struct Legend {
    /// Height of all rows.
    pub(crate) height: f64,
    entries: Vec<Entry>,
}

struct Entry {
    series: usize,
    x: f64,
    y: f64,
    label: String,
}

const SWATCH: f64 = 26.0;

/// A single series needs no legend unless it has a name that the axes do not give.
pub(crate) fn layout(plot: &Plot, font: f64, room: f64) -> Legend {
    let row = (font * 1.5).round();
    let (mut x, mut y) = (0.0, 0.0);
    let mut entries = Vec::new();
    for (series, item) in plot.series.iter().enumerate().filter(|(_, item)| !item.name.is_empty()) {
        let label = text::cut(&item.name, font, room - SWATCH - 6.0);
        let width = SWATCH + 6.0 + text::width(&label, font) + font;
        if x > 0.0 && x + width > room {
            x = 0.0;
            y += row;
        }
        entries.push(Entry { series, x, y, label });
        x += width;
    }
    let height = if entries.is_empty() { 0.0 } else { y + row };
    Legend { height, entries }
}

pub(crate) fn draw(out: &mut String, canvas: &Canvas<'_>, legend: &Legend, left: f64, top: f64) {
    let font = canvas.font;
    for entry in &legend.entries {
        let series = &canvas.plot.series[entry.series];
        let (x, middle) = (left + entry.x, top + entry.y + font * 0.75);
        out.push_str(&format!("<g class=\"{}\">", marks::class(entry.series, series.emphasis)));
        match series.style {
            Style::Bars | Style::Band => {
                let kind = if series.style == Style::Bars { "bar" } else { "band" };
                let (x, y, w, h) = (n(x + 4.0), n(middle - font * 0.4), n(SWATCH - 8.0), n(font * 0.8));
                out.push_str(&format!(
                    "<rect class=\"{kind}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"currentColor\"/>"
                ));
                if series.style == Style::Bars
                    && let Some(pattern) = marks::pattern_id(canvas, entry.series)
                {
                    out.push_str(&format!(
                        "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"url(#{pattern})\"/>"
                    ));
                }
            }
            Style::Points | Style::Line | Style::PointsLine => {}
        }
        if matches!(series.style, Style::Line | Style::PointsLine | Style::Band) {
            out.push_str(&format!(
                "<path class=\"line\" d=\"M{} {}h{}\"{}/>",
                n(x),
                n(middle),
                n(SWATCH),
                marks::dash(entry.series)
            ));
        }
        if matches!(series.style, Style::Points | Style::PointsLine) {
            out.push_str(&marks::marker(entry.series, x + SWATCH / 2.0, middle, 4.0));
        }
        out.push_str("</g>\n");
        text::put(out, &entry.label, x + SWATCH + 6.0, middle + font * 0.35, "start", "legend");
    }
}
