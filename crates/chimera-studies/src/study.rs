//! What a study is, and which ones there are.

use chimera_report::Findings;

use crate::{RunData, StudyError, Tr117, Tr118, Tr121};

/// One technical report.
pub trait Study: Sync {
    /// Its name, `tr121` for instance.
    fn id(&self) -> &'static str;
    /// Its design as TOML.
    fn design(&self) -> &'static str;
    /// Makes the findings of a run.
    ///
    /// # Errors
    /// See [`StudyError`].
    fn analyse(&self, run: &RunData) -> Result<Findings, StudyError>;
}

/// All studies, by id.
#[must_use]
pub fn all() -> &'static [&'static dyn Study] {
    &[&Tr117, &Tr118, &Tr121]
}

/// The study of this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static dyn Study> {
    all().iter().copied().find(|study| study.id() == id)
}
