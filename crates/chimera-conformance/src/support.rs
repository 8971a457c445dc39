//! What the expanded suite calls. It is public for the macro alone.

use std::{io::Write, num::NonZeroUsize, sync::Arc};

use chimera_core::{
    InferenceBackend,
    decorate::{FaultPlan, Faulty, Limited, Notice, Recorded, Traced},
};

use crate::{Fixture, SCENARIOS};

/// Why nothing can be run here, if nothing can.
pub fn missing(reason: impl FnOnce() -> Option<String>) -> Option<String> {
    reason()
}

/// Lets the compiler know what a fixture's closure takes.
pub fn make<B: InferenceBackend>(make: impl FnOnce(&Fixture) -> B, fixture: &Fixture) -> B {
    make(fixture)
}

pub fn value(backend: impl InferenceBackend) -> Arc<dyn InferenceBackend> {
    Arc::new(backend)
}

pub fn boxed(backend: impl InferenceBackend) -> Arc<dyn InferenceBackend> {
    let boxed: Box<dyn InferenceBackend> = Box::new(backend);
    Arc::new(boxed)
}

pub fn shared(backend: impl InferenceBackend) -> Arc<dyn InferenceBackend> {
    let shared: Arc<dyn InferenceBackend> = Arc::new(backend);
    Arc::new(shared)
}

pub fn limited(backend: impl InferenceBackend) -> Arc<dyn InferenceBackend> {
    Arc::new(Limited::new(backend, NonZeroUsize::MIN.saturating_add(1)))
}

pub fn recorded(backend: impl InferenceBackend) -> Arc<dyn InferenceBackend> {
    Arc::new(Recorded::new(backend, Arc::new(|_: Notice<'_>| {})))
}

pub fn faulty(backend: impl InferenceBackend) -> Arc<dyn InferenceBackend> {
    Arc::new(Faulty::new(backend, FaultPlan::none()))
}

pub fn traced(backend: impl InferenceBackend) -> Arc<dyn InferenceBackend> {
    Arc::new(Traced::new(backend))
}

/// Says past the test harness's capture what a suite skips, so that a run that skips does not look like one that passes.
/// The reasons are the same for every form of a backend, so one form gives them.
pub fn announce(suite: &str, skips: &[(&'static str, String)]) {
    if skips.is_empty() {
        return;
    }
    let mut text = format!("conformance {suite}: {} of {} scenarios skipped", skips.len(), SCENARIOS.len());
    for (name, reason) in skips.iter().filter(|_| suite.ends_with("::value")) {
        text.push_str(&format!("\n  skipped {name}: needs {reason}"));
    }
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{text}");
}
