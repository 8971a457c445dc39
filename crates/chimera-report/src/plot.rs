//! Plots as data: axes with units, series with intervals, reference lines. Not a drawing; `svg` draws it.

use chimera_stats::Estimate;
use serde::{Deserialize, Serialize};

/// A plot. Build it with [`Plot::new`] and the methods below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plot {
    /// Names `plots/<id>.svg` and the anchor; `[a-z0-9-]+`, unique among the plots of the findings.
    pub id: String,
    /// Title, plain text.
    pub title: String,
    /// What is drawn, the unit of replication and what the bars span; inline markup.
    pub caption: String,
    /// Horizontal axis; the only one that may have categories.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// Series, in the order of the legend.
    pub series: Vec<Series>,
    /// Reference lines.
    pub references: Vec<Reference>,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What is on it, plain text.
    pub label: String,
    /// Unit of the raw values, empty if there is none; times and bytes are scaled for reading.
    pub unit: String,
    /// Linear or logarithmic.
    pub scale: ScaleKind,
    /// Names of the categories, if the axis has categories; a point's x is then an index into them, from 0.
    pub categories: Option<Vec<String>>,
}

/// How values map to distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleKind {
    /// Equal differences, equal distances.
    Linear,
    /// Equal ratios, equal distances; values must be positive.
    Log,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Markers.
    Points,
    /// A line in the order of the points.
    Line,
    /// Both.
    PointsLine,
    /// Bars from zero; needs categories on x and a linear y.
    Bars,
    /// The area between `low` and `high`, with a line at `y`.
    Band,
}

/// A named run of points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Name in the legend, plain text.
    pub name: String,
    /// How it is drawn.
    pub style: Style,
    /// Drawn heavier than the others.
    pub emphasis: bool,
    /// The points, in raw units of the axes.
    pub points: Vec<Point>,
}

/// One point, in raw units of the axes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Horizontal value, or index of the category.
    pub x: f64,
    /// Vertical value.
    pub y: f64,
    /// Lower end of the interval of `y`.
    pub low: Option<f64>,
    /// Upper end of the interval of `y`.
    pub high: Option<f64>,
    /// Text beside the point, drawn where there is room and always in the tooltip.
    pub label: Option<String>,
}

/// A straight line across the plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Which way it runs.
    pub direction: Direction,
    /// Where it crosses the other axis, in raw units.
    pub at: f64,
    /// What it means, plain text.
    pub label: String,
}

/// Direction of a reference line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// At one value of y.
    Horizontal,
    /// At one value of x.
    Vertical,
}

impl Plot {
    /// A plot without series.
    #[must_use]
    pub fn new(id: impl Into<String>, title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Plot {
            id: id.into(),
            title: title.into(),
            caption: String::new(),
            x,
            y,
            series: Vec::new(),
            references: Vec::new(),
        }
    }

    /// Sets the caption (inline markup).
    #[must_use]
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }

    /// Appends a series.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Appends a horizontal reference line at `y`.
    #[must_use]
    pub fn horizontal(mut self, y: f64, label: impl Into<String>) -> Self {
        self.references.push(Reference { direction: Direction::Horizontal, at: y, label: label.into() });
        self
    }

    /// Appends a vertical reference line at `x`.
    #[must_use]
    pub fn vertical(mut self, x: f64, label: impl Into<String>) -> Self {
        self.references.push(Reference { direction: Direction::Vertical, at: x, label: label.into() });
        self
    }
}

impl Axis {
    /// A linear axis in `unit` (empty for a plain number).
    #[must_use]
    pub fn linear(label: impl Into<String>, unit: impl Into<String>) -> Self {
        Axis { label: label.into(), unit: unit.into(), scale: ScaleKind::Linear, categories: None }
    }

    /// A logarithmic axis in `unit` (empty for a plain number).
    #[must_use]
    pub fn log(label: impl Into<String>, unit: impl Into<String>) -> Self {
        Axis { label: label.into(), unit: unit.into(), scale: ScaleKind::Log, categories: None }
    }

    /// An axis of named categories.
    #[must_use]
    pub fn categories<S: Into<String>>(
        label: impl Into<String>,
        categories: impl IntoIterator<Item = S>,
    ) -> Self {
        Axis {
            label: label.into(),
            unit: String::new(),
            scale: ScaleKind::Linear,
            categories: Some(categories.into_iter().map(Into::into).collect()),
        }
    }
}

impl Series {
    /// A series without points.
    #[must_use]
    pub fn new(name: impl Into<String>, style: Style) -> Self {
        Series { name: name.into(), style, emphasis: false, points: Vec::new() }
    }

    /// Draws it heavier than the others.
    #[must_use]
    pub fn emphasised(mut self) -> Self {
        self.emphasis = true;
        self
    }

    /// Appends a point without an interval.
    #[must_use]
    pub fn point(mut self, x: f64, y: f64) -> Self {
        self.push(Point { x, y, low: None, high: None, label: None });
        self
    }

    /// Appends a point with an interval of y.
    #[must_use]
    pub fn interval(mut self, x: f64, y: f64, low: f64, high: f64) -> Self {
        self.push(Point { x, y, low: Some(low), high: Some(high), label: None });
        self
    }

    /// Appends an estimate, with its interval if it has one.
    #[must_use]
    pub fn estimate(mut self, x: f64, y: &Estimate) -> Self {
        self.push(Point::estimate(x, y));
        self
    }

    /// Labels the point appended last; without a point it does nothing.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(last) = self.points.last_mut() {
            last.label = Some(label.into());
        }
        self
    }

    /// Appends a point in a loop.
    pub fn push(&mut self, point: Point) {
        self.points.push(point);
    }
}

impl Point {
    /// A point from an estimate of y, with its interval if it has one.
    #[must_use]
    pub fn estimate(x: f64, y: &Estimate) -> Self {
        Point {
            x,
            y: y.point,
            low: y.interval.map(|interval| interval.low),
            high: y.interval.map(|interval| interval.high),
            label: None,
        }
    }
}
