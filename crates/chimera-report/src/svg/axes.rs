//! Axes: grid, ticks and their labels. Category labels lean when they would touch, and thin out when even that fails.

use crate::escape;
use crate::plot::Plot;

use super::scale::{Scale, Tick};
use super::{Canvas, Rect, n, text};

/// What stands below the plot area.
pub(crate) struct Below {
    /// Its height, without the title of the axis.
    pub(crate) height: f64,
    kind: Kind,
}

enum Kind {
    Ticks(Vec<Tick>),
    /// Categories, every `stride`-th labelled.
    Categories {
        lean: bool,
        stride: usize,
        room: f64,
    },
}

/// Degrees that leaning labels turn.
const LEAN: f64 = 40.0;

/// Title of an axis with its unit: `latency (ms)`.
pub(crate) fn title(label: &str, unit: &str) -> String {
    match (label, unit) {
        (label, "") => label.to_owned(),
        ("", unit) => unit.to_owned(),
        (label, unit) => format!("{label} ({unit})"),
    }
}

pub(crate) fn layout_x(plot: &Plot, scale: &Scale, area: &Rect, font: f64) -> Below {
    let Some(categories) = &plot.x.categories else {
        let ticks = scale.ticks(area.width / (font * 5.0), |tick| {
            let half = tick.label.as_deref().map_or(0.0, |label| text::width(label, font)) / 2.0;
            (tick.at, half / area.width, (half + font * 0.6) / area.width)
        });
        return Below { height: font * 2.1, kind: Kind::Ticks(ticks) };
    };
    let slot = area.width / categories.len() as f64;
    let widest = categories.iter().map(|label| text::width(label, font)).fold(0.0_f64, f64::max);
    if widest + font * 0.5 <= slot {
        return Below { height: font * 2.1, kind: Kind::Categories { lean: false, stride: 1, room: slot } };
    }
    let (sin, cos) = LEAN.to_radians().sin_cos();
    // A leaning label may not run off the left edge of the paper.
    let room = ((area.x + slot / 2.0) / cos).min(font * 12.0).max(font * 4.0);
    let length = widest.min(room);
    let stride = ((font * 1.25 / sin) / slot).ceil().max(1.0) as usize;
    Below { height: length * sin + font * 1.9, kind: Kind::Categories { lean: true, stride, room } }
}

pub(crate) fn draw(out: &mut String, canvas: &Canvas<'_>, y_ticks: &[Tick], below: &Below) {
    let Canvas { area, font, .. } = canvas;
    let (left, right, top, bottom) = (area.x, area.right(), area.y, area.bottom());
    for tick in y_ticks {
        let y = bottom - tick.at * area.height;
        let class = if tick.label.is_some() { "grid" } else { "grid minor" };
        line(out, class, left, y, right, y);
        if let Some(label) = &tick.label {
            text::put(out, label, left - 6.0, y + font * 0.35, "end", "tick");
        }
    }
    match &below.kind {
        Kind::Ticks(ticks) => {
            for tick in ticks {
                let x = left + tick.at * area.width;
                let class = if tick.label.is_some() { "grid" } else { "grid minor" };
                line(out, class, x, top, x, bottom);
                line(out, "axis", x, bottom, x, bottom + if tick.label.is_some() { 5.0 } else { 3.0 });
                if let Some(label) = &tick.label {
                    text::put(out, label, x, bottom + 6.0 + font, "middle", "tick");
                }
            }
        }
        Kind::Categories { lean, stride, room } => {
            let categories = canvas.plot.x.categories.as_deref().unwrap_or_default();
            let slot = area.width / categories.len().max(1) as f64;
            for (index, label) in categories.iter().enumerate() {
                let x = left + (index as f64 + 0.5) * slot;
                line(out, "axis", x, bottom, x, bottom + 4.0);
                if index % stride != 0 {
                    continue;
                }
                if *lean {
                    let (x, y) = (n(x + font * 0.3), n(bottom + font * 1.1));
                    out.push_str(&format!(
                        "<text class=\"tick\" text-anchor=\"end\" x=\"{x}\" y=\"{y}\" transform=\"rotate(-{LEAN} {x} {y})\">"
                    ));
                    escape::push_html(out, &text::cut(label, *font, *room));
                    out.push_str("</text>\n");
                } else {
                    text::put(out, label, x, bottom + 6.0 + font, "middle", "tick");
                }
            }
        }
    }
    line(out, "axis", left, bottom, right, bottom);
    line(out, "axis", left, top, left, bottom);
}

fn line(out: &mut String, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
    out.push_str(&format!(
        "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n",
        n(x1),
        n(y1),
        n(x2),
        n(y2)
    ));
}
