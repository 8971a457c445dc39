//! One behaviour suite that every inference backend passes.
