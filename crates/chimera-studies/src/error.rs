//! What can go wrong in an analysis, sorted by what a caller can do about it.

use chimera_report::Invalid;
use chimera_stats::StatsError;

/// An analysis that did not come to findings. The records are untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The run belongs to another study: analyse it with that one.
    #[error("the run belongs to study `{found}`, not to `{expected}`")]
    OtherStudy {
        /// In the manifest.
        found: String,
        /// Of this analysis.
        expected: &'static str,
    },
    /// The run holds nothing that could be analysed: run or resume it first.
    #[error(
        "the run has no completed steady trial ({counts}): resume it, or look into its manifest for the reason"
    )]
    NothingMeasured {
        /// How its trials ended.
        counts: String,
    },
    /// The question makes no sense for these runs: ask another.
    #[error("{reason}")]
    Question {
        /// What is wrong with it.
        reason: String,
    },
    /// A statistic refused its input: a defect of the analysis, with the place.
    #[error("{place}: {source}")]
    Statistics {
        /// Which part of the analysis.
        place: String,
        /// What was wrong.
        #[source]
        source: StatsError,
    },
    /// The findings contradict their own form: a defect of the analysis.
    #[error("the findings are not well-formed: {0}")]
    Findings(#[from] Invalid),
}

impl StudyError {
    /// Names the place where a statistic refused its input.
    pub(crate) fn at(place: impl Into<String>) -> impl FnOnce(StatsError) -> StudyError {
        let place = place.into();
        move |source| StudyError::Statistics { place, source }
    }
}
