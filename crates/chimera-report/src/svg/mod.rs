//! Plots as SVG: a small writer without fonts, scripts or references. Layout happens here; the parts are in the modules
//! below. Series differ by marker, dash and hatch as well as by colour, and the colours follow the reader's dark or light.

mod axes;
mod labels;
mod legend;
mod marks;
mod scale;
mod text;

use crate::escape;
use crate::inline;
use crate::plot::{Axis, Plot, Point, ScaleKind, Style};
use crate::scaling::Scaling;
use scale::Scale;

/// Styles of plots, for a file of its own and for the page alike.
pub(crate) const CSS: &str = include_str!("../../assets/plot.css");

/// Where a drawing will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// A file of its own, with styles and a visible title.
    Standalone,
    /// In a page with room.
    Wide,
    /// In a page on a telephone: as large type on less paper.
    Narrow,
}

/// The plot as a file of its own: `plots/<id>.svg`. It scales to its place, and follows dark and light.
#[must_use]
pub fn svg(plot: &Plot) -> String {
    let mut out = render(plot, Variant::Standalone);
    out.push('\n');
    out
}

/// How much wider bold letters are.
const BOLD: f64 = 1.1;

/// A rectangle on the paper, in user units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rect {
    fn right(&self) -> f64 {
        self.x + self.width
    }

    fn bottom(&self) -> f64 {
        self.y + self.height
    }

    fn overlaps(&self, other: &Rect) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    fn within(&self, other: &Rect) -> bool {
        self.x >= other.x
            && self.right() <= other.right()
            && self.y >= other.y
            && self.bottom() <= other.bottom()
    }
}

/// What a label has to keep clear of.
#[derive(Debug, Default)]
pub(crate) struct Occupied {
    /// Markers, bars, intervals and labels: never.
    hard: Vec<Rect>,
    /// Lines: if there is a place without.
    soft: Vec<Rect>,
}

/// Everything the parts need to know.
pub(crate) struct Canvas<'a> {
    plot: &'a Plot,
    /// Prefix of ids inside the drawing; unique in a page.
    uid: String,
    /// Size of the type.
    font: f64,
    /// The area inside the axes.
    area: Rect,
    x: Scale,
    y: Scale,
    x_unit: Scaling,
    y_unit: Scaling,
}

impl Canvas<'_> {
    fn px(&self, x: f64) -> f64 {
        self.area.x + self.x.at(self.x_unit.apply(x)) * self.area.width
    }

    fn py(&self, y: f64) -> f64 {
        self.area.bottom() - self.y.at(self.y_unit.apply(y)) * self.area.height
    }

    /// Width of a category.
    fn slot(&self) -> Option<f64> {
        self.plot.x.categories.as_ref().map(|categories| self.area.width / categories.len() as f64)
    }
}

pub(crate) fn render(plot: &Plot, variant: Variant) -> String {
    let (width, inner_height, font, suffix) = match variant {
        Variant::Standalone => (640.0, 330.0, 14.0, "file"),
        Variant::Wide => (760.0, 330.0, 13.0, "wide"),
        Variant::Narrow => (372.0, 240.0, 12.0, "narrow"),
    };
    let line = (font * 1.35_f64).round();
    let pad = 8.0;
    let x_unit = unit_of(&plot.x, plot, |point| vec![point.x]);
    let y_unit = unit_of(&plot.y, plot, values_of);
    let (x, y) = (domain(plot, true, &x_unit), domain(plot, false, &y_unit));

    let mut top = pad;
    let title = match variant {
        Variant::Standalone => text::wrap(&plot.title, font * 1.1 * BOLD, width - 2.0 * pad),
        Variant::Wide | Variant::Narrow => Vec::new(),
    };
    let title_top = top;
    top += title.len() as f64 * line * 1.15;
    let legend = legend::layout(plot, font, width - 2.0 * pad);
    let legend_top = top;
    top += legend.height + if legend.height > 0.0 { 8.0 } else { 0.0 };
    let y_title = text::wrap(&axes::title(&plot.y.label, &y_unit.unit), font, width - 2.0 * pad);
    let y_title_top = top;
    top += y_title.len() as f64 * line + 6.0;

    let y_ticks = y.ticks(inner_height / (font * 2.6), |tick| (tick.at, 0.0, font * 1.2 / inner_height));
    let widest = y_ticks
        .iter()
        .filter_map(|tick| tick.label.as_deref())
        .map(|label| text::width(label, font))
        .fold(0.0_f64, f64::max);
    let left = (pad + widest + 8.0).min(width * 0.4);
    let area = Rect { x: left, y: top, width: width - left - pad - font, height: inner_height };
    let below = axes::layout_x(plot, &x, &area, font);
    let x_title = text::wrap(&axes::title(&plot.x.label, &x_unit.unit), font, width - 2.0 * pad);
    let height = area.bottom() + below.height + x_title.len() as f64 * line + pad;

    let canvas = Canvas { plot, uid: format!("plot-{}-{suffix}", plot.id), font, area, x, y, x_unit, y_unit };
    let mut out = String::with_capacity(8192);
    open(&mut out, &canvas, variant, width, height);
    lines(&mut out, &title, pad, title_top, line * 1.15, font * 1.1, "title");
    legend::draw(&mut out, &canvas, &legend, pad, legend_top);
    lines(&mut out, &y_title, pad, y_title_top, line, font, "axis-title");
    axes::draw(&mut out, &canvas, &y_ticks, &below);
    let x_title_top = area.bottom() + below.height;
    for (index, row) in x_title.iter().enumerate() {
        let middle = area.x + area.width / 2.0;
        let half = text::width(row, font) / 2.0;
        let at = middle.min(width - pad - half).max(pad + half);
        let y = x_title_top + index as f64 * line + font;
        text::put(&mut out, row, at, y, "middle", "axis-title");
    }
    let occupied = marks::draw(&mut out, &canvas);
    labels::draw(&mut out, &canvas, occupied);
    out.push_str("</svg>");
    out
}

fn open(out: &mut String, canvas: &Canvas<'_>, variant: Variant, width: f64, height: f64) {
    let Canvas { plot, uid, font, .. } = canvas;
    let standalone = variant == Variant::Standalone;
    let namespace = if standalone { " xmlns=\"http://www.w3.org/2000/svg\"" } else { "" };
    let size =
        if standalone { format!(" width=\"{}\" height=\"{}\"", n(width), n(height)) } else { String::new() };
    out.push_str(&format!(
        "<svg{namespace} class=\"plot {class}\" viewBox=\"0 0 {w} {h}\"{size} role=\"img\" \
         aria-labelledby=\"{uid}-title {uid}-desc\" font-size=\"{font}\">\n",
        class = match variant {
            Variant::Standalone => "file",
            Variant::Wide => "wide",
            Variant::Narrow => "narrow",
        },
        w = n(width),
        h = n(height),
    ));
    out.push_str(&format!("<title id=\"{uid}-title\">{}</title>\n", escape::html(&plot.title)));
    out.push_str(&format!("<desc id=\"{uid}-desc\">{}</desc>\n", escape::html(&description(canvas))));
    if standalone {
        out.push_str(&format!("<style>\n{CSS}svg.file{{max-width:100%;height:auto}}\n</style>\n"));
    }
    out.push_str(&format!(
        "<rect class=\"surface\" x=\"0\" y=\"0\" width=\"{}\" height=\"{}\"/>\n",
        n(width),
        n(height)
    ));
}

/// The plot in words, for who does not see it.
fn description(canvas: &Canvas<'_>) -> String {
    let plot = canvas.plot;
    let scale = |axis: &Axis| match (&axis.categories, axis.scale) {
        (Some(categories), _) => format!("categories {}", categories.join(", ")),
        (None, ScaleKind::Linear) => "linear".to_owned(),
        (None, ScaleKind::Log) => "logarithmic".to_owned(),
    };
    let mut out = format!(
        "{} x: {}, {}. y: {}, {}.",
        inline::plain(&plot.caption),
        axes::title(&plot.x.label, &canvas.x_unit.unit),
        scale(&plot.x),
        axes::title(&plot.y.label, &canvas.y_unit.unit),
        scale(&plot.y)
    );
    for series in &plot.series {
        let count = series.points.len();
        out.push_str(&format!(" {}: {count} point{}.", series.name, if count == 1 { "" } else { "s" }));
    }
    for reference in &plot.references {
        out.push_str(&format!(" Reference: {}.", reference.label));
    }
    out.trim().to_owned()
}

fn lines(out: &mut String, rows: &[String], x: f64, top: f64, line: f64, size: f64, class: &str) {
    for (index, row) in rows.iter().enumerate() {
        text::put(out, row, x, top + index as f64 * line + size, "start", class);
    }
}

fn values_of(point: &Point) -> Vec<f64> {
    [Some(point.y), point.low, point.high].into_iter().flatten().collect()
}

/// The unit for the eye: on a linear axis that of the largest value, on a logarithmic one that of the middle.
fn unit_of(axis: &Axis, plot: &Plot, values: impl Fn(&Point) -> Vec<f64>) -> Scaling {
    let all = plot.series.iter().flat_map(|series| &series.points).flat_map(values).map(f64::abs);
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for value in all.filter(|value| *value > 0.0) {
        least = least.min(value);
        most = most.max(value);
    }
    if most == 0.0 {
        return Scaling::none(&axis.unit);
    }
    match axis.scale {
        ScaleKind::Linear => Scaling::of(&axis.unit, most),
        ScaleKind::Log => Scaling::of(&axis.unit, least.sqrt() * most.sqrt()),
    }
}

/// The scale of an axis, around all that is drawn on it.
fn domain(plot: &Plot, horizontal: bool, unit: &Scaling) -> Scale {
    let axis = if horizontal { &plot.x } else { &plot.y };
    if let Some(categories) = &axis.categories {
        return Scale::categories(categories.len());
    }
    let points = plot.series.iter().flat_map(|series| &series.points);
    let mut values: Vec<f64> =
        points.flat_map(|point| if horizontal { vec![point.x] } else { values_of(point) }).collect();
    values.extend(
        plot.references
            .iter()
            .filter(|line| (line.direction == crate::plot::Direction::Vertical) == horizontal)
            .map(|line| line.at),
    );
    if !horizontal && plot.series.iter().any(|series| series.style == Style::Bars) {
        values.push(0.0);
    }
    if axis.scale == ScaleKind::Log {
        // Ends of intervals at or below zero are drawn open, down to the edge.
        values.retain(|value| *value > 0.0);
    }
    let values: Vec<f64> = values.into_iter().map(|value| unit.apply(value)).collect();
    match axis.scale {
        ScaleKind::Linear => Scale::linear(&values, !horizontal),
        ScaleKind::Log => Scale::log(&values),
    }
}

/// A coordinate: a tenth of a unit is finer than any screen, and the same bytes on every machine.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}
