//! What the replay of a report is, and which there are.

use chimera_report::{Headline, Section};

use crate::{Artifacts, ReplayError, Values, studies};

/// A published report that is computed again.
pub trait Replay: Sync {
    /// Its name: `tr114`; an older version `tr114-v1`.
    fn id(&self) -> &'static str;
    /// The question it asked, in one line.
    fn title(&self) -> &'static str;
    /// Files that it needs, below the folder of artefacts; without them it cannot run.
    fn needs(&self) -> &'static [&'static str];
    /// Computes it.
    ///
    /// # Errors
    /// Data that are not there or not what they say, statistics that refused them.
    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError>;
}

/// What the data can show, and what they cannot. Inline markup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Conclusions that the data carry.
    pub can: Vec<String>,
    /// Conclusions that they do not carry, each with the reason.
    pub cannot: Vec<String>,
}

/// A report computed again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replayed {
    /// Every quantity by name.
    pub values: Values,
    /// What a hurried reader should take away; verdicts come from tests.
    pub headline: Vec<Headline>,
    /// Its tables and plots: the published formula, then ours.
    pub sections: Vec<Section>,
    /// What the data can and cannot show.
    pub limits: Limits,
}

/// All replays, in the order of the series.
#[must_use]
pub fn all() -> Vec<&'static dyn Replay> {
    studies::all()
}

/// The replay of this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static dyn Replay> {
    all().into_iter().find(|replay| replay.id() == id)
}
