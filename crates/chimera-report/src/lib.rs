//! Findings to Markdown, HTML, SVG and CSV.
//!
//! A study states what it found as a [`Draft`]: headline, sections of text, tables and plots, and the gaps. A checked
//! draft is [`Findings`], which this crate renders and writes; the same findings give the same bytes, and `findings.json`
//! alone is enough to render again. What this crate is not: a place for statistics. It rounds for the eye, scales units
//! for the eye and places marks on paper; every figure arrives computed, with its interval.
//!
//! ```
//! use chimera_report::{Axis, Column, Draft, Headline, Plot, Section, Series, Style, Table, Verdict, cells};
//!
//! # fn main() -> Result<(), chimera_report::ReportError> {
//! let latency = Table::new("latency", "Latency by model")
//!     .caption("Mean over blocks; the block is the unit of replication.")
//!     .column(Column::text("model", "Model"))
//!     .column(Column::number("e2e", "End to end", "ms"))
//!     .row(cells!["tiny", 12.5])
//!     .row(cells!["100m", chimera_report::Cell::missing("the block failed")]);
//! let growth = Plot::new("growth", "Latency grows with size", Axis::log("parameters", ""), Axis::log("latency", "ms"))
//!     .series(Series::new("prefill", Style::PointsLine).point(1e6, 3.0).point(1e7, 21.0));
//! let findings = Draft::new("tr000", "An example")
//!     .headline(Headline::new("h1", "Latency grows", Verdict::Inconclusive, "Two points are not a law."))
//!     .section(Section::new("latency", "Latency").table(latency).plot(growth))
//!     .gap("gpt2-100m", "the block failed")
//!     .finish()?;
//! assert!(chimera_report::markdown(&findings).contains("| tiny |"));
//! # Ok(())
//! # }
//! ```

mod aligned;
mod check;
mod csv;
mod error;
mod escape;
mod format;
mod headline;
mod html;
mod inline;
mod markdown;
mod model;
mod plot;
mod scaling;
mod svg;
mod table;
mod verdict;
mod view;
mod write;

pub use aligned::aligned;
pub use csv::csv;
pub use error::{Invalid, ReportError};
pub use format::{Shown, estimate as show_estimate, integer as show_integer, number as show_number};
pub use headline::{headline_json, headline_text};
pub use html::html;
pub use inline::literal;
pub use markdown::markdown;
pub use model::{Block, Draft, Fact, Findings, Gap, Headline, NoteKind, SCHEMA, Section};
pub use plot::{Axis, Direction, Plot, Point, Reference, ScaleKind, Series, Style};
pub use svg::svg;
pub use table::{Align, Cell, Column, Table};
pub use verdict::{ClaimStatus, Verdict};
pub use write::write_all;
