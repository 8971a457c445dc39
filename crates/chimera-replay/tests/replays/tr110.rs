//! Tests of tr110: golden values on the published data, planted values on the synthetic ones, damaged data.

use std::collections::BTreeMap;

use chimera_replay::{Ledger, by_id};
use chimera_report::Verdict;

use crate::{
    common::{close, published, replay, synthetic},
    tr109::complaint,
};

const RUNS: &str = "agents/tr110/python_multiagent_runs.csv";

#[test]
fn published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr110", &data);
    for (name, expected, digits) in [
        ("legacy.config.108.speedup", 1.985_015, 5e-7),
        ("legacy.config.108.efficiency", 99.250_769, 5e-7),
        ("legacy.efficiency.mean", 93.213_926, 5e-7),
        ("legacy.efficiency.sd", 8.617, 5e-4),
        ("legacy.efficiency.median", 98.184, 5e-4),
        ("legacy.efficiency.max", 99.753_852, 5e-7),
        ("legacy.efficiency.baseline_vs_chimera.mean", 85.178, 5e-4),
        ("legacy.efficiency.chimera_hetero.mean", 89.702, 5e-4),
        ("legacy.efficiency.chimera_homo.mean", 98.266, 5e-4),
        ("legacy.configs.above_95", 19.0, 0.0),
        ("legacy.contention.baseline_vs_chimera", 10.0, 0.0),
        ("legacy.contention.chimera_hetero", 7.0, 0.0),
        ("legacy.contention.chimera_homo", 0.0, 0.0),
        ("contention.slow_ttft_not_flagged", 43.0, 0.0),
        ("order.wall.early", 110.5, 0.05),
        ("order.wall.late", 56.5, 0.05),
        ("order.index.early", 85.60, 5e-3),
        ("order.index.late", 98.29, 5e-3),
        ("legacy.config.3.efficiency", 85.364, 5e-4),
        ("legacy.config.202.efficiency", 97.928, 5e-4),
        ("legacy.rate.aggregate.baseline_vs_chimera", 45.1, 0.05),
        ("legacy.rate.aggregate.chimera_hetero", 44.3, 0.05),
        ("legacy.rate.aggregate.chimera_homo", 75.0, 0.05),
        ("legacy.rate.solo", 85.7, 0.05),
        ("legacy.true_speedup.chimera_homo", 0.875, 5e-4),
        ("runs.incomplete", 2.0, 0.0),
    ] {
        close(&replayed, name, expected, digits / f64::abs(expected).max(1e-12));
    }
    let verdicts: Vec<Verdict> = replayed.headline.iter().map(|headline| headline.verdict).collect();
    use Verdict::{Contradicted, Inconclusive, Supported};
    assert_eq!(verdicts, [Contradicted, Inconclusive, Supported, Contradicted]);
    let study = by_id("tr110").expect("the study");
    chimera_replay::findings(study, &replayed, &data.files(), &[]).expect("findings");
    let mut ledger = Ledger::default();
    ledger.add("tr110", include_str!("../../../../fixtures/claims/tr110.toml")).expect("the ledger");
    let judged = ledger.judge(&BTreeMap::from([("tr110", replayed)]));
    assert!(judged.len() >= 12);
    for one in judged {
        assert_eq!(one.trouble, None, "{}", one.claim.id);
    }
}

#[test]
fn planted_numbers_come_out_and_silent_calls_are_left_out() {
    let data = synthetic();
    let replayed = replay("tr110", &data);
    for (name, expected) in [
        // Eight runs of 5,000 tokens in twice 201 s; alone 14,042 tokens in 175 s.
        ("rate.aggregate.chimera_homo", 40_000.0 / 402.0),
        ("speedup.chimera_homo", (40_000.0 / 402.0) / (14_042.0 / 175.0)),
        ("efficiency.chimera_homo", 50.0 * (40_000.0 / 402.0) / (14_042.0 / 175.0)),
        // One run has a call without a rate, another an agent without tokens.
        ("runs.incomplete", 2.0),
        ("order.early_runs", 8.0),
        ("order.early_equal_options", 0.0),
        ("order.wall.early_minus_late", 50.0),
        ("repeat.first", 1.0),
        ("repeat.second", 202.0),
        ("contention.slow_ttft", 8.0),
        ("contention.slow_ttft_not_flagged", 2.0),
    ] {
        close(&replayed, name, expected, 1e-9);
    }
    // A speed-up above one is found as well, where there is one.
    assert_eq!(replayed.headline.first().map(|headline| headline.verdict), Some(Verdict::Supported));
    chimera_replay::findings(by_id("tr110").expect("the study"), &replayed, &data.files(), &[])
        .expect("findings");
}

#[test]
fn damaged_data_are_refused_with_file_and_line() {
    let said = |change: &dyn Fn(&str) -> String| complaint("tr110", RUNS, change);
    let error = said(&|text| text.replace("concurrent_wall_time_s", "wall"));
    assert!(
        error.contains("python_multiagent_runs.csv") && error.contains("`concurrent_wall_time_s`"),
        "{error}"
    );
    let error = said(&|text| text.replacen(",100.1,46.0,100.1,", ",100.1,46.0,NaN,", 1));
    assert!(error.contains("line 2") && error.contains("concurrent_wall_time_s"), "{error}");
    let error = said(&|text| format!("{text}{}\n", text.lines().nth(1).expect("a row")));
    assert!(error.contains("line 26") && error.contains("twice"), "{error}");
    let error = said(&|text| text.replacen(",46.0,100.1,", ",46.0,150.1,", 1));
    assert!(error.contains("line 2") && error.contains("its times give"), "{error}");
}
