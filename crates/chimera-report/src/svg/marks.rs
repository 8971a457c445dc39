//! The marks of the series: bands below bars below lines below intervals below markers.

use crate::escape;
use crate::format::number;
use crate::plot::{Point, ScaleKind, Series, Style};
use crate::scaling::Scaling;

use super::{Canvas, Occupied, Rect, n};

/// Colours, markers, dashes and hatches there are; series beyond repeat them with the next marker.
const KINDS: usize = 8;

/// Classes of a series.
pub(crate) fn class(series: usize, emphasis: bool) -> String {
    format!("s s{}{}", series % KINDS, if emphasis { " strong" } else { "" })
}

/// The dash of a series, as an attribute.
pub(crate) fn dash(series: usize) -> &'static str {
    match series % KINDS {
        0 => "",
        1 => " stroke-dasharray=\"7 3\"",
        2 => " stroke-dasharray=\"2 3\"",
        3 => " stroke-dasharray=\"9 3 2 3\"",
        4 => " stroke-dasharray=\"12 4\"",
        5 => " stroke-dasharray=\"4 2\"",
        6 => " stroke-dasharray=\"9 3 2 3 2 3\"",
        _ => " stroke-dasharray=\"1 2\"",
    }
}

/// The marker of a series around a point.
pub(crate) fn marker(series: usize, x: f64, y: f64, r: f64) -> String {
    let at = |dx: f64, dy: f64| format!("{} {}", n(x + dx * r), n(y + dy * r));
    let closed = |corners: &[(f64, f64)]| {
        let path: Vec<String> = corners.iter().map(|(dx, dy)| at(*dx, *dy)).collect();
        format!("<path class=\"mark\" d=\"M{}Z\"/>", path.join("L"))
    };
    // A second round of the same colours gets the next marker, so that the pair stays unique for 64 series.
    match (series + series / KINDS) % KINDS {
        0 => format!("<circle class=\"mark\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>", n(x), n(y), n(r)),
        1 => closed(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        2 => closed(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
        3 => closed(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
        4 => closed(&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)]),
        5 => format!(
            "<path class=\"cross\" d=\"M{}L{}M{}L{}\"/>",
            at(-1.0, -1.0),
            at(1.0, 1.0),
            at(-1.0, 1.0),
            at(1.0, -1.0)
        ),
        6 => format!(
            "<path class=\"cross\" d=\"M{}L{}M{}L{}\"/>",
            at(0.0, -1.2),
            at(0.0, 1.2),
            at(-1.2, 0.0),
            at(1.2, 0.0)
        ),
        _ => closed(&[(0.0, -1.2), (1.15, -0.35), (0.7, 1.0), (-0.7, 1.0), (-1.15, -0.35)]),
    }
}

/// Id of the hatch of a bar series; the first is plain.
pub(crate) fn pattern_id(canvas: &Canvas<'_>, series: usize) -> Option<String> {
    (!series.is_multiple_of(KINDS)).then(|| format!("{}-hatch-{series}", canvas.uid))
}

fn pattern(canvas: &Canvas<'_>, series: usize) -> Option<String> {
    let id = pattern_id(canvas, series)?;
    let path = match series % KINDS {
        1 => "M0 8L8 0M-2 2L2 -2M6 10L10 6",
        2 => "M0 4H8",
        3 => "M0 0L8 8M-2 6L2 10M6 -2L10 2",
        4 => "M4 0V8",
        5 => "M0 0L8 8M0 8L8 0",
        6 => "M0 4H8M4 0V8",
        _ => "M2 4H6",
    };
    Some(format!(
        "<defs><pattern id=\"{id}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">\
         <path class=\"hatch\" d=\"{path}\"/></pattern></defs>\n"
    ))
}

/// Draws all series, and returns the room that they take.
pub(crate) fn draw(out: &mut String, canvas: &Canvas<'_>) -> Occupied {
    let mut occupied = Occupied::default();
    let series = || canvas.plot.series.iter().enumerate();
    for (index, item) in series().filter(|(_, item)| item.style == Style::Band) {
        group(out, index, item, |out| band(out, canvas, index, item, &mut occupied));
    }
    for (index, item) in series().filter(|(_, item)| item.style == Style::Bars) {
        group(out, index, item, |out| bars(out, canvas, index, item, &mut occupied));
    }
    for (index, item) in series() {
        match item.style {
            Style::Line => group(out, index, item, |out| {
                line(out, canvas, index, item, &mut occupied);
                intervals(out, canvas, index, item, &mut occupied);
            }),
            Style::Points | Style::PointsLine => group(out, index, item, |out| {
                if item.style == Style::PointsLine {
                    line(out, canvas, index, item, &mut occupied);
                }
                intervals(out, canvas, index, item, &mut occupied);
                markers(out, canvas, index, item, &mut occupied);
            }),
            Style::Band | Style::Bars => {}
        }
    }
    occupied
}

fn group(out: &mut String, index: usize, series: &Series, content: impl FnOnce(&mut String)) {
    out.push_str(&format!("<g class=\"{}\">\n", class(index, series.emphasis)));
    content(out);
    out.push_str("</g>\n");
}

/// Horizontal place of a point. In a category, series stand side by side, so that their intervals do not hide each other.
pub(crate) fn place(canvas: &Canvas<'_>, index: usize, point: &Point) -> f64 {
    let x = canvas.px(point.x);
    let Some(slot) = canvas.slot() else { return x };
    let beside = |style: Style| !matches!(style, Style::Bars | Style::Line | Style::Band);
    let all = &canvas.plot.series;
    if !beside(all[index].style) {
        return x;
    }
    let count = all.iter().filter(|series| beside(series.style)).count();
    let rank = all[..index].iter().filter(|series| beside(series.style)).count();
    let step = (slot * 0.7 / count as f64).min(16.0);
    x + (rank as f64 - (count as f64 - 1.0) / 2.0) * step
}

fn band(out: &mut String, canvas: &Canvas<'_>, index: usize, series: &Series, occupied: &mut Occupied) {
    let limit = |point: &Point, value: Option<f64>| {
        format!("{} {}", n(canvas.px(point.x)), n(canvas.py(value.unwrap_or(point.y))))
    };
    let upper = series.points.iter().map(|point| limit(point, point.high));
    let lower = series.points.iter().rev().map(|point| limit(point, point.low));
    let outline: Vec<String> = upper.chain(lower).collect();
    if !outline.is_empty() {
        out.push_str(&format!(
            "<path class=\"band\" fill=\"currentColor\" d=\"M{}Z\"><title>{}</title></path>\n",
            outline.join("L"),
            escape::html(&series.name)
        ));
    }
    line(out, canvas, index, series, occupied);
}

fn line(out: &mut String, canvas: &Canvas<'_>, index: usize, series: &Series, occupied: &mut Occupied) {
    let places: Vec<(f64, f64)> =
        series.points.iter().map(|point| (place(canvas, index, point), canvas.py(point.y))).collect();
    if places.len() < 2 {
        return;
    }
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{} {}", n(*x), n(*y))).collect();
    out.push_str(&format!("<path class=\"line\" d=\"M{}\"{}/>\n", path.join("L"), dash(index)));
    for pair in places.windows(2) {
        let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
        // Beads along the segment, closer than any label is high.
        let beads = ((x2 - x1).hypot(y2 - y1) / 6.0).ceil().clamp(1.0, 200.0);
        occupied.soft.extend((0..=beads as usize).map(|bead| {
            let share = bead as f64 / beads;
            Rect { x: x1 + (x2 - x1) * share - 1.0, y: y1 + (y2 - y1) * share - 1.0, width: 2.0, height: 2.0 }
        }));
    }
}

fn bars(out: &mut String, canvas: &Canvas<'_>, index: usize, series: &Series, occupied: &mut Occupied) {
    let Some(slot) = canvas.slot() else { return };
    let all = &canvas.plot.series;
    let count = all.iter().filter(|series| series.style == Style::Bars).count();
    let rank = all[..index].iter().filter(|series| series.style == Style::Bars).count();
    let width = (slot * 0.76 / count as f64).min(48.0);
    if let Some(pattern) = pattern(canvas, index) {
        out.push_str(&pattern);
    }
    let zero = canvas.py(0.0);
    for point in &series.points {
        let left = canvas.px(point.x) + (rank as f64 - count as f64 / 2.0) * width;
        let y = canvas.py(point.y);
        let (top, height) = (y.min(zero), (zero - y).abs());
        let (x, t, w, h) = (n(left + 1.0), n(top), n((width - 2.0).max(1.0)), n(height));
        out.push_str(&format!(
            "<rect class=\"bar\" fill=\"currentColor\" x=\"{x}\" y=\"{t}\" width=\"{w}\" height=\"{h}\">{}</rect>\n",
            tooltip(canvas, series, point)
        ));
        if let Some(pattern) = pattern_id(canvas, index) {
            out.push_str(&format!(
                "<rect x=\"{x}\" y=\"{t}\" width=\"{w}\" height=\"{h}\" fill=\"url(#{pattern})\" pointer-events=\"none\"/>\n"
            ));
        }
        interval(out, canvas, left + width / 2.0, point, "whisker over");
        let top = point.high.map_or(top, |high| top.min(canvas.py(high)));
        occupied.hard.push(Rect { x: left, y: top, width, height: (zero.max(y) - top).max(1.0) });
    }
}

fn intervals(out: &mut String, canvas: &Canvas<'_>, index: usize, series: &Series, occupied: &mut Occupied) {
    for point in &series.points {
        let x = place(canvas, index, point);
        interval(out, canvas, x, point, "whisker");
        let (top, bottom) =
            (canvas.py(point.high.unwrap_or(point.y)), canvas.py(point.low.unwrap_or(point.y)));
        occupied.hard.push(Rect { x: x - 4.0, y: top, width: 8.0, height: bottom - top });
    }
}

/// An interval with caps. On a logarithmic axis one that reaches to zero has no lower cap but an arrow off the paper.
fn interval(out: &mut String, canvas: &Canvas<'_>, x: f64, point: &Point, class: &str) {
    if point.low.is_none() && point.high.is_none() {
        return;
    }
    let (low, high) = (point.low.unwrap_or(point.y), point.high.unwrap_or(point.y));
    let open = canvas.plot.y.scale == ScaleKind::Log && low <= 0.0;
    let (bottom, top) = (canvas.py(low), canvas.py(high));
    let mut path = format!("M{x} {b}V{t}", x = n(x), b = n(bottom), t = n(top));
    if point.high.is_some() {
        path.push_str(&format!("M{} {}h8", n(x - 4.0), n(top)));
    }
    if open {
        path.push_str(&format!("M{} {}l4 6l4 -6", n(x - 4.0), n(bottom - 6.0)));
    } else if point.low.is_some() {
        path.push_str(&format!("M{} {}h8", n(x - 4.0), n(bottom)));
    }
    out.push_str(&format!("<path class=\"{class}\" d=\"{path}\"/>\n"));
}

fn markers(out: &mut String, canvas: &Canvas<'_>, index: usize, series: &Series, occupied: &mut Occupied) {
    let r = if series.emphasis { 5.5 } else { 4.0 };
    for point in &series.points {
        let (x, y) = (place(canvas, index, point), canvas.py(point.y));
        out.push_str(&format!("<g>{}{}</g>\n", tooltip(canvas, series, point), marker(index, x, y, r)));
        occupied.hard.push(Rect { x: x - r, y: y - r, width: 2.0 * r, height: 2.0 * r });
    }
}

fn tooltip(canvas: &Canvas<'_>, series: &Series, point: &Point) -> String {
    let write = |value: f64, unit: &Scaling| crate::format::number_in(value, unit).to_string();
    let x = match &canvas.plot.x.categories {
        Some(categories) => categories.get(point.x as usize).cloned().unwrap_or_default(),
        None => write(point.x, &canvas.x_unit),
    };
    let mut text = String::new();
    for part in [Some(series.name.as_str()), point.label.as_deref()].into_iter().flatten() {
        if !part.is_empty() {
            text.push_str(&format!("{part}: "));
        }
    }
    text.push_str(&format!("{x}; {}", write(point.y, &canvas.y_unit)));
    if let (Some(low), Some(high)) = (point.low, point.high) {
        let limit = |value: f64| number(canvas.y_unit.apply(value), "").to_string();
        text.push_str(&format!(" [{}, {}]", limit(low), limit(high)));
    }
    format!("<title>{}</title>", escape::html(&text))
}
