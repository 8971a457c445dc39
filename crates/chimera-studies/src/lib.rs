//! One small file per technical report: design, estimands, sections.
