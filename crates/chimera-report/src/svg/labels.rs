//! Labels inside the plot: those of reference lines and of points. A label stands where nothing else does, or nowhere;
//! the tooltip of its point has it in any case.

use crate::plot::{Direction, Reference};

use super::{Canvas, Occupied, Rect, marks, n, text};

/// Draws reference lines and labels around the room that is `occupied`.
pub(crate) fn draw(out: &mut String, canvas: &Canvas<'_>, mut occupied: Occupied) {
    for reference in &canvas.plot.references {
        draw_reference(out, canvas, reference, &mut occupied);
    }
    let size = canvas.font * 0.92;
    for (index, series) in canvas.plot.series.iter().enumerate() {
        for point in &series.points {
            let Some(label) = point.label.as_deref().filter(|label| !label.is_empty()) else { continue };
            let (x, y) = (marks::place(canvas, index, point), canvas.py(point.y));
            let (width, height) = (text::width(label, size), size * 1.15);
            let gap = 8.0;
            let places = [
                (x + gap, y - height / 2.0),
                (x - gap - width, y - height / 2.0),
                (x - width / 2.0, y - gap - height),
                (x - width / 2.0, y + gap),
                (x + gap * 0.7, y - gap * 0.7 - height),
                (x - gap * 0.7 - width, y - gap * 0.7 - height),
                (x + gap * 0.7, y + gap * 0.7),
                (x - gap * 0.7 - width, y + gap * 0.7),
            ];
            put_free(out, canvas, label, &places, (width, height), "label", &mut occupied);
        }
    }
}

fn draw_reference(out: &mut String, canvas: &Canvas<'_>, reference: &Reference, occupied: &mut Occupied) {
    let area = &canvas.area;
    let size = canvas.font * 0.92;
    let label = text::cut(&reference.label, size, area.width * 0.8);
    let (width, height) = (text::width(&label, size), size * 1.15);
    let path = match reference.direction {
        Direction::Horizontal => format!("M{} {}H{}", n(area.x), n(canvas.py(reference.at)), n(area.right())),
        Direction::Vertical => format!("M{} {}V{}", n(canvas.px(reference.at)), n(area.y), n(area.bottom())),
    };
    out.push_str(&format!("<path class=\"reference\" d=\"{path}\"/>\n"));
    if label.is_empty() {
        return;
    }
    let places = match reference.direction {
        Direction::Horizontal => {
            let y = canvas.py(reference.at);
            let (left, right) = (area.x + 4.0, area.right() - width - 4.0);
            let middle = area.x + (area.width - width) / 2.0;
            let (above, under) = (y - height - 2.0, y + 2.0);
            vec![
                (right, above),
                (right, under),
                (left, above),
                (left, under),
                (middle, above),
                (middle, under),
            ]
        }
        Direction::Vertical => {
            let x = canvas.px(reference.at);
            let rows = (0..(area.height / height) as usize).map(|row| area.y + 2.0 + row as f64 * height);
            rows.flat_map(|y| [(x + 4.0, y), (x - 4.0 - width, y)]).collect()
        }
    };
    put_free(out, canvas, &label, &places, (width, height), "label reference-label", occupied);
}

fn put_free(
    out: &mut String,
    canvas: &Canvas<'_>,
    label: &str,
    places: &[(f64, f64)],
    (width, height): (f64, f64),
    class: &str,
    occupied: &mut Occupied,
) {
    let touches = |taken: &[Rect], place: &Rect| taken.iter().any(|taken| taken.overlaps(place));
    let possible: Vec<Rect> = places
        .iter()
        .map(|(x, y)| Rect { x: *x, y: *y, width, height })
        .filter(|place| place.within(&canvas.area) && !touches(&occupied.hard, place))
        .collect();
    let clear = possible.iter().find(|place| !touches(&occupied.soft, place));
    if let Some(place) = clear.or(possible.first()).copied() {
        text::put(out, label, place.x, place.bottom() - height * 0.24, "start", class);
        occupied.hard.push(place);
    }
}
