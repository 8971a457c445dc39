//! Plots from outside: what would lie is refused, labels keep apart, and strange data are drawn.

#![expect(clippy::unwrap_used, reason = "a test helper that unwraps fails its test")]

mod common;

use std::collections::HashSet;

use chimera_report::{Axis, Draft, Findings, Invalid, Plot, Point, Section, Series, Style, html, svg};
use common::assert_well_formed;

#[test]
fn plots_that_would_lie_are_refused() {
    let draw = |x: Axis, y: Axis, series: Series| {
        let plot = Plot::new("p", "P", x, y).series(series);
        Draft::new("s", "S").section(Section::new("s", "S").plot(plot)).finish()
    };
    let linear = || Axis::linear("v", "");
    let bars = || Series::new("b", Style::Bars).point(0.0, 1.0);
    let points = || Series::new("p", Style::Points);
    let refused = |result: Result<Findings, Invalid>, word: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with("plot `p`: ") && message.contains(word), "{message}");
    };
    refused(draw(Axis::categories("c", ["a"]), Axis::log("v", ""), bars()), "has a zero");
    refused(draw(linear(), linear(), bars()), "need categories");
    refused(draw(linear(), Axis::categories("c", ["a"]), points()), "only the x axis");
    refused(draw(Axis::categories("c", ["a"]), linear(), points().point(1.0, 1.0)), "index of a category");
    refused(draw(linear(), Axis::log("v", ""), points().point(1.0, 0.0)), "logarithmic");
    refused(draw(linear(), linear(), points().point(1.0, f64::NAN)), "finite");
    refused(draw(linear(), linear(), points().interval(1.0, 5.0, 6.0, 7.0)), "outside its interval");
    assert!(draw(linear(), Axis::log("v", ""), points().interval(1.0, 1.0, -1.0, 2.0)).is_ok());
}

/// The text elements of a drawing that lie inside the plot or on an axis, as (x, y, anchor, text).
fn texts(drawing: &str, class: &str) -> Vec<(f64, f64, String)> {
    drawing
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("<text class=\"{class}\" x=\"")))
        .map(|line| {
            let (x, rest) = line.split_once('"').unwrap();
            let y = rest.split('"').nth(1).unwrap();
            let content = rest.split_once('>').unwrap().1.trim_end_matches("</text>");
            (x.parse().unwrap(), y.parse().unwrap(), content.to_owned())
        })
        .collect()
}

#[test]
fn labels_do_not_overlap() {
    let mut series = Series::new("crowd", Style::Points);
    for index in 0..40 {
        let (x, y) = (f64::from(index % 8), f64::from(index / 8) * 0.1 + f64::from(index % 3) * 0.01);
        series.push(Point { x, y, low: None, high: None, label: Some(format!("label {index}")) });
    }
    let plot = Plot::new("p", "P", Axis::linear("x", ""), Axis::linear("y", "")).series(series);
    let drawing = svg(&plot);
    let placed = texts(&drawing, "label");
    assert!(placed.len() >= 10, "{}", placed.len());
    // Six units a letter is more than common sans-serif faces take at this size.
    for (index, (x, y, text)) in placed.iter().enumerate() {
        for (other_x, other_y, other) in &placed[index + 1..] {
            let apart = (x - other_x).abs() >= 6.0 * text.len() as f64 || (y - other_y).abs() >= 12.0;
            assert!(apart, "{text:?} and {other:?}");
        }
    }
    assert!(drawing.contains("<title>crowd: label 39: 7; "), "the tooltip has a label that found no room");
}

#[test]
fn an_interval_that_reaches_zero_is_open_on_a_log_axis() {
    let drawing = |low: f64| {
        let series = Series::new("s", Style::Points).interval(1.0, 5.0, low, 9.0).point(2.0, 0.5);
        svg(&Plot::new("p", "P", Axis::linear("x", ""), Axis::log("y", "")).series(series))
    };
    assert!(drawing(-1.0).contains("l4 6l4 -6"));
    assert!(!drawing(1.0).contains("l4 6l4 -6"));
}

#[test]
fn series_differ_without_colour() {
    let mut plot = Plot::new("p", "P", Axis::linear("x", ""), Axis::linear("y", ""));
    for index in 0..8 {
        plot = plot.series(
            Series::new(format!("s{index}"), Style::Line).point(0.0, f64::from(index)).point(1.0, 1.0),
        );
    }
    let drawing = svg(&plot);
    let dashes: HashSet<&str> = drawing
        .lines()
        .filter(|line| line.starts_with("<path class=\"line\""))
        .map(|line| line.split("stroke-dasharray").nth(1).unwrap_or(""))
        .collect();
    assert_eq!(dashes.len(), 8);
}

#[test]
fn strange_plots_are_drawn() {
    let empty = Plot::new("p", "", Axis::log("", ""), Axis::linear("", ""));
    let no_points =
        empty.clone().series(Series::new("s", Style::Band)).series(Series::new("t", Style::PointsLine));
    let one = Plot::new("p", "P", Axis::log("x", "B"), Axis::log("y", "ns"))
        .series(Series::new("s", Style::Line).point(1e140, 1e-140));
    let wide = Plot::new("p", "P", Axis::linear("x", ""), Axis::linear("y", ""))
        .series(Series::new("s", Style::Points).point(-1e150, -1e150).point(1e150, 1e150).point(0.0, 0.0));
    let many = Plot::new(
        "p",
        "P",
        Axis::categories("c", (0..300).map(|i| format!("category {i}"))),
        Axis::linear("y", ""),
    )
    .series(Series::new("s", Style::Bars).point(299.0, -4.0).point(3.0, 4.0));
    for plot in [empty, no_points, one, wide, many] {
        let findings = Draft::new("s", "S").section(Section::new("s", "S").plot(plot)).finish().unwrap();
        let page = html(&findings);
        assert_well_formed(&page);
        assert!(!page.contains("NaN") && !page.contains("\"inf"), "{page}");
    }
}
