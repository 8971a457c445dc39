//! Tests of tr115: golden values on the published data, planted values on the synthetic ones.

use chimera_replay::Value;
use chimera_report::Verdict;

use crate::{
    common::{close, published, replay, synthetic},
    tr114::judged,
    tr117::{altered, refuses, renders, verdict},
};

const RUNS: &str = "agents/tr115/rust_runtime_runs.csv";

#[test]
fn tr115_published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr115", &data);
    for (runtime, max, mean, sd, min, rate) in [
        ("tokio-default", 99.888_019, 98.715_368, 1.207_484, 94.795_527, 77.50),
        ("smol-1kb", 99.940_301, 98.613_612, 1.318_226, 94.978_523, 78.37),
        ("tokio-localset", 99.990_299, 97.948_985, 4.030_287, 81.025_499, 78.58),
        ("smol", 99.866_648, 97.721_385, 4.873_983, 72.804_731, 78.84),
        ("async-std", 49.998_849, 49.996_610, 0.001_315, 49.993_875, 84.76),
    ] {
        close(&replayed, &format!("legacy.{runtime}.max"), max, 1e-8);
        close(&replayed, &format!("legacy.{runtime}.mean"), mean, 1e-8);
        close(&replayed, &format!("legacy.{runtime}.sd"), sd, 1e-3);
        close(&replayed, &format!("legacy.{runtime}.min"), min, 1e-8);
        close(&replayed, &format!("legacy.{runtime}.rate"), rate, 1e-4);
    }
    for (name, value, relative) in [
        ("index.anova.p", 0.575, 1e-3),
        ("index.kruskal.p", 0.762, 1e-3),
        ("index.spread.p", 0.519, 1e-3),
        ("index.spread.without_outliers.p", 0.88, 5e-3),
        ("balance.spearman_length_ratio", 0.938, 1e-3),
        ("balance.spearman_length_ratio.with_serial", 0.686, 1e-3),
        ("rate.async-std.all_runs", 76.69, 1e-4),
        ("legacy.async-std.rate.without_slow", 93.6, 1e-3),
        ("rate.async-std.without_slow", 93.6, 2e-3),
        ("legacy.tokio-localset.chimera_homo_gpu80_ctx2048", 96.572, 1e-5),
        ("legacy.tokio-default.baseline_vs_chimera_gpu80_ctx512", 98.295, 1e-5),
        ("index.below_90", 3.0, 0.0),
    ] {
        close(&replayed, name, value, relative);
    }
    assert_eq!(verdict(&replayed, "runtimes"), Verdict::Equivalent);
    assert_eq!(verdict(&replayed, "consistency"), Verdict::Inconclusive);
    assert_eq!(verdict(&replayed, "serial"), Verdict::Inconclusive);
    renders("tr115", &data, &replayed);
}

#[test]
fn tr115_the_ledger_holds() {
    let Some(data) = published() else { return };
    let text = include_str!("../../../../fixtures/claims/tr115.toml");
    let totals = judged(&["tr115", "tr115-v1"], text, &data);
    assert!(totals.claims >= 20 && totals.contradicted >= 5 && totals.not_recomputable >= 4, "{totals:?}");
}

#[test]
fn tr115_planted_values_come_back() {
    let data = synthetic();
    let replayed = replay("tr115", &data);
    // All deliver 80 tok/s, the serial one 40 in its slow configuration.
    close(&replayed, "rate.tokio-default", 80.0, 1e-12);
    close(&replayed, "rate.async-std", 160.0 / 3.0, 1e-12);
    close(&replayed, "legacy.async-std.rate", 60.0, 1e-12);
    close(&replayed, "rate.async-std.without_slow", 80.0, 1e-12);
    close(&replayed, "legacy.async-std.mean", 49.999, 1e-5);
    close(&replayed, "runs.failed.tokio-localset", 1.0, 0.0);
    close(&replayed, "index.below_90", 1.0, 0.0);
    close(&replayed, "index.below_90.explained", 1.0, 0.0);
    // Calls that loaded the model are left out: 610 to 640 ms against 910 to 940.
    close(&replayed, "ttft.client.smol.median", 0.625, 1e-9);
    close(&replayed, "ttft.client.smol-1kb.median", 0.925, 1e-9);
    assert_eq!(verdict(&replayed, "runtimes"), Verdict::Equivalent);
    assert_eq!(verdict(&replayed, "buffer"), Verdict::Supported);
    assert_eq!(verdict(&replayed, "serial"), Verdict::Inconclusive);
    renders("tr115", &data, &replayed);
}

#[test]
fn tr115_bad_input_is_named() {
    refuses("tr115", RUNS, "concurrent_wall_time_s", "wall", "`concurrent_wall_time_s`");
    refuses("tr115", RUNS, "tokio-default,", "glommio,", "`glommio` is no runtime");
    refuses(
        "tr115",
        RUNS,
        "run_2,chimera_homo,2,",
        "run_2,chimera_homo,1,",
        "line 3: run 1 of `tokio-default`",
    );
    refuses("tr115", RUNS, "run_2,chimera_homo,2,", "run_2,chimera_homo,2.5,", "line 3: `run` is 2.5");
    assert!(altered("tr115", RUNS, "a_timestamp", "a_stamp").is_ok(), "time stamps are not needed");
}

#[test]
fn tr115_the_first_version_says_that_it_has_no_data() {
    let data = synthetic();
    let replayed = replay("tr115-v1", &data);
    assert!(replayed.values.iter().all(|(_, value)| matches!(value, Value::Absent { .. })));
    assert_eq!(verdict(&replayed, "data"), Verdict::NotMeasured);
    data.forget();
    renders("tr115-v1", &data, &replayed);
}
