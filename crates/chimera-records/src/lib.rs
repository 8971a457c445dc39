//! What is on disk: design, plan, run directory, manifest, trials.
