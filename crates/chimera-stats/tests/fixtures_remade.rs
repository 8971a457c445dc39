//! The expected values in `fixtures/stats` are those of the reference packages: a sample of the files is made again, by the
//! same script, and compared number by number. Needs a Python with those packages; without one it says that it skipped.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Files of every subject that are made in a second or two.
const SAMPLE: [&str; 10] = [
    "summary",
    "distributions",
    "ratios",
    "bootstraps",
    "multiplicity",
    "paired",
    "contingency",
    "components",
    "censored",
    "segments",
];

/// Where two files differ by more than 1e-9 of a number, or by more than rounding of the largest number of its case.
fn difference(made: &Value, kept: &Value, place: &str, rounding: f64) -> Option<String> {
    match (made, kept) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            let agree = (a - b).abs() <= (1e-9 * a.abs().max(b.abs())).max(rounding);
            (!agree).then(|| format!("{place}: {a:e} made, {b:e} kept"))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(i, (a, b))| difference(a, b, &format!("{place}[{i}]"), rounding))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(key, value)| difference(value, &b[key], &format!("{place}.{key}"), rounding))
        }
        (a, b) => (a != b).then(|| format!("{place}: {a} made, {b} kept")),
    }
}

/// The largest absolute number of a case.
fn largest(value: &Value) -> f64 {
    match value {
        Value::Number(number) => number.as_f64().unwrap_or(0.0).abs(),
        Value::Array(values) => values.iter().map(largest).fold(0.0, f64::max),
        Value::Object(values) => values.values().map(largest).fold(0.0, f64::max),
        _ => 0.0,
    }
}

fn cases(path: &Path) -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The first difference of two files.
fn compare(made: &[Value], kept: &[Value], file: &str) -> Option<String> {
    if made.len() != kept.len() {
        return Some(format!("{file}: {} cases made, {} kept", made.len(), kept.len()));
    }
    made.iter().zip(kept).find_map(|(made, kept)| {
        let place = format!("{file}, {}", kept["name"]);
        difference(made, kept, &place, 1e-16 * largest(kept))
    })
}

#[test]
fn the_reference_packages_give_the_kept_numbers_again() {
    let Some(python) = std::env::var_os("CHIMERA_ORACLE_PYTHON") else {
        println!(
            "SKIP: no Python with the reference packages (CHIMERA_ORACLE_PYTHON names it; `cargo xtask test` makes one)"
        );
        return;
    };
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("fixtures/stats");
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fixtures-{}", std::process::id()));
    std::fs::create_dir_all(&made).unwrap();
    let output = Command::new(python)
        // No byte code beside the scripts.
        .arg("-B")
        .arg(kept.join("make_fixtures.py"))
        .arg("--out")
        .arg(&made)
        .args(SAMPLE)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in SAMPLE {
        let file = format!("{name}.json");
        let found = compare(&cases(&made.join(&file)), &cases(&kept.join(&file)), name);
        assert_eq!(found, None);
    }
    std::fs::remove_dir_all(&made).unwrap();
}

#[test]
fn a_changed_number_is_noticed() {
    let case = |mean: f64| vec![serde_json::json!({"name": "a", "values": [1.0, 3.0], "mean": mean})];
    assert_eq!(compare(&case(2.0), &case(2.0), "file"), None);
    assert_eq!(compare(&case(2.0 + 1e-12), &case(2.0), "file"), None);
    assert!(compare(&case(2.0 + 1e-8), &case(2.0), "file").unwrap().contains("file, \"a\".mean"));
    assert!(compare(&case(2.0), &[], "file").is_some());
    let other_shape = vec![serde_json::json!({"name": "a", "values": [1.0], "mean": 2.0})];
    assert!(compare(&other_shape, &case(2.0), "file").is_some());
}
