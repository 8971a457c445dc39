//! Every statistic against numpy, scipy and statsmodels: the expected values lie in `fixtures/stats`, with the script
//! that computed them. Statistics agree to 1e-9 relative, p-values to 1e-8.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod design;
mod effects;
mod groups;
mod hypotheses;
mod lines;
mod one_sample;
mod published;
mod ranks_and_rivals;
mod regression;
mod series;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn cases(file: &str) -> Vec<Value> {
    let path = root().join("fixtures/stats").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 5, "{file} has too few cases to mean anything");
    cases
}

/// Whether a field is there and holds something.
fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|v| !v.is_null())
}

fn num(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn nums(value: &Value) -> Vec<f64> {
    value.as_array().unwrap_or_else(|| panic!("{value} is not a list")).iter().map(num).collect()
}

/// Relative agreement to 1e-9; `scale` is the magnitude that cancelled on the way to the value, 0 for none.
#[track_caller]
fn close(name: &Value, what: &str, got: f64, expected: f64, scale: f64) {
    let tolerance = 1e-9 * expected.abs().max(scale * 1e-4);
    assert!((got - expected).abs() <= tolerance, "{name}, {what}: {got:e} instead of {expected:e}");
}

#[track_caller]
fn close_interval(
    name: &Value,
    what: &str,
    got: Option<chimera_stats::Interval>,
    expected: &[f64],
    scale: f64,
) {
    let got = got.unwrap_or_else(|| panic!("{name}, {what}: no interval"));
    close(name, what, got.low, expected[0], scale);
    close(name, what, got.high, expected[1], scale);
}

#[track_caller]
fn close_p(name: &Value, what: &str, got: f64, expected: f64) {
    assert!((0.0..=1.0).contains(&got), "{name}, {what}: {got} is no probability");
    assert!((got - expected).abs() <= 1e-8, "{name}, {what}: {got:e} instead of {expected:e}");
    // Small p-values are also right in their digits.
    if expected > 1e-250 {
        assert!((got / expected - 1.0).abs() <= 1e-8, "{name}, {what}: {got:e} instead of {expected:e}");
    }
}
