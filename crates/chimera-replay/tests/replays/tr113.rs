//! Tests of tr113: golden values on the published data, planted values on the synthetic ones.

use std::{collections::BTreeMap, fs};

use chimera_replay::{Artifacts, Ledger, by_id};

use crate::common::{close, published, replay, synthetic};

const RUNS: &str = "agents/tr113/rust_multiagent_single_ollama_runs.csv";

#[test]
fn published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr113", &data);
    for (name, expected, relative) in [
        ("legacy.efficiency.max.all", 82.205_390, 1e-8),
        ("legacy.efficiency.mean.baseline_vs_chimera", 71.2000, 1e-6),
        ("legacy.efficiency.mean.chimera_hetero", 73.0331, 1e-6),
        ("legacy.efficiency.mean.chimera_homo", 74.1166, 1e-6),
        ("legacy.efficiency.mean.all", 72.006_996, 1e-8),
        ("legacy.efficiency.sd.all", 5.6105, 1e-5),
        ("legacy.contention.count.all", 13.0, 0.0),
        ("legacy.contention.share.all", 68.4, 1e-3),
        ("legacy.contention.count.baseline_vs_chimera", 10.0, 0.0),
        ("legacy.contention.count.chimera_hetero", 1.0, 0.0),
        ("legacy.contention.count.chimera_homo", 2.0, 0.0),
        ("legacy.contention.disagrees", 0.0, 0.0),
        ("legacy.aggregate.mean", 67.2, 5e-4),
        ("runs.serial", 19.0, 0.0),
    ] {
        close(&replayed, name, expected, relative);
    }
    if data.has("agents/tr114/rust_multiagent_tr110_v1_runs.csv") {
        for (name, expected) in [
            ("legacy.later.aggregate.single.chimera_homo", 96.69),
            ("legacy.later.aggregate.dual.chimera_homo", 81.83),
            ("legacy.later.aggregate.single.baseline_vs_chimera", 67.08),
            ("legacy.later.aggregate.dual.baseline_vs_chimera", 82.52),
            ("legacy.later.aggregate.single.chimera_hetero", 70.26),
            ("legacy.later.aggregate.dual.chimera_hetero", 81.03),
        ] {
            close(&replayed, name, expected, 1e-4);
        }
    }
    if data.has("agents/tr110/python_multiagent_runs.csv") {
        close(&replayed, "legacy.python.mean", 93.213_926, 1e-8);
        close(&replayed, "legacy.python.configs_above_95", 19.0, 0.0);
    }
    chimera_replay::findings(by_id("tr113").expect("the study"), &replayed, &data.files(), &[])
        .expect("findings");
    let mut ledger = Ledger::default();
    ledger.add("tr113", include_str!("../../../../fixtures/claims/tr113.toml")).expect("the ledger");
    let judged = ledger.judge(&BTreeMap::from([("tr113", replayed)]));
    assert!(judged.len() >= 15);
    for one in judged {
        assert_eq!(one.trouble, None, "{}", one.claim.id);
    }
}

#[test]
fn planted_numbers_come_out_and_a_failed_run_stays_out() {
    let data = synthetic();
    let replayed = replay("tr113", &data);
    for (name, expected, relative) in [
        ("runs.failed", 1.0, 0.0),
        // One of ten runs has no stamp of the first token; of the others the last agent always waited.
        ("runs.serial", 9.0, 0.0),
        ("runs.serial.share", 100.0, 0.0),
        ("between.different", 3.5, 1e-6),
        ("between.same", 0.0, 0.0),
        ("index.temperature.pairs", 3.0, 0.0),
        ("index.temperature.wins", 2.0, 0.0),
        // Alone and warm: 3605 tokens, each run 0.3 s and then a hundredth per token.
        ("solo.throughput", 3605.0 / (1.8 + 36.05), 1e-6),
    ] {
        if expected == 0.0 {
            assert!(replayed.values.point(name).is_some_and(|value| value.abs() < 1e-6), "{name}");
        } else {
            close(&replayed, name, expected, relative);
        }
    }
    assert!(replayed.values.point("balance_index.identity").is_some_and(|error| error < 1e-5));
    // A first agent that loads lifts the index and lowers the throughput.
    assert!(replayed.values.point("index.first_loads").is_some_and(|difference| difference > 0.0));
    assert!(replayed.values.point("throughput.first_loads").is_some_and(|difference| difference < 0.0));
    assert!(replayed.values.point("speedup").is_some_and(|speedup| speedup < 1.0));
    assert!(
        replayed.values.point("speedup.same_options").is_some_and(|speedup| (speedup - 1.0).abs() < 0.05)
    );
    chimera_replay::findings(by_id("tr113").expect("the study"), &replayed, &data.files(), &[])
        .expect("findings");
}

#[test]
fn another_layout_and_damage_are_refused_with_their_place() {
    let runs = String::from_utf8(synthetic().bytes(RUNS).expect("the runs")).expect("text");
    let second = runs.lines().nth(1).expect("a row").to_owned();
    for (text, wanted) in [
        (runs.replacen("efficiency_percent", "efficiency", 1), "no column `efficiency_percent`"),
        (runs.replacen(",600,", ",NaN,", 1), "line 2"),
        (runs.replacen(",True\n", ",maybe\n", 1), "neither true nor false"),
        (format!("{runs}{second}\n"), "line 13"),
        (runs.lines().next().expect("a header").to_owned(), "no run"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("agents/tr113")).expect("a folder");
        fs::write(folder.path().join(RUNS), text).expect("a file");
        let data = Artifacts::open(folder.path()).expect("a folder");
        let error = by_id("tr113").expect("the study").replay(&data).expect_err(wanted).to_string();
        assert!(error.contains(wanted) && error.contains(RUNS), "{wanted}: {error}");
    }
}
