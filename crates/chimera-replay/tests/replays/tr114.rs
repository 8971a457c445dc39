//! Tests of tr114: golden values on the published data, planted values on the synthetic ones.

use std::{collections::BTreeMap, fs, path::Path};

use chimera_replay::{Artifacts, Ledger, Replayed, Totals, by_id};
use chimera_report::Verdict;

use crate::{
    common::{close, published, replay, synthetic},
    tr117::{altered, refuses, renders, verdict},
};

const RUNS: &str = "agents/tr114/rust_multiagent_dual_runs.csv";
const FIRST: &str = "agents/tr114/rust_multiagent_tr110_v1_runs.csv";
const SOLO: &str = "agents/tr111/rust_agent_calls.csv";

/// The claims of a file about several versions, judged by each version's replay.
#[track_caller]
pub(crate) fn judged(ids: &[&'static str], text: &str, data: &Artifacts) -> Totals {
    let mut ledger = Ledger::default();
    ledger.add("the ledger", text).expect("a ledger");
    assert!(
        ledger.claims.iter().all(|claim| ids.contains(&claim.report.as_str())),
        "claims of another report"
    );
    let replayed: BTreeMap<&str, Replayed> = ids.iter().map(|id| (*id, replay(id, data))).collect();
    let judged = ledger.judge(&replayed);
    assert_eq!(judged.len(), ledger.claims.len());
    for one in &judged {
        assert_eq!(one.trouble, None, "{}", one.claim.id);
    }
    Totals::of(&judged)
}

#[test]
fn tr114_published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr114", &data);
    for (name, value, relative) in [
        ("legacy.efficiency.mean", 98.281_112, 1e-8),
        ("legacy.efficiency.median", 98.863_171, 1e-8),
        ("legacy.efficiency.sd", 3.854_773, 2e-7),
        ("legacy.efficiency.cv", 3.92, 1e-3),
        ("legacy.efficiency.p05", 96.721, 1e-5),
        ("legacy.efficiency.p25", 98.176, 1e-5),
        ("legacy.efficiency.p75", 99.439, 1e-5),
        ("legacy.efficiency.p95", 99.882, 1e-5),
        ("legacy.efficiency.max", 99.991_922, 1e-8),
        ("legacy.efficiency.min", 61.719_969, 1e-8),
        ("legacy.best_config", 99.395_797, 1e-8),
        ("legacy.contention", 100.0 / 135.0, 1e-12),
        ("legacy.scenario.baseline_vs_chimera.mean", 97.371, 1e-5),
        ("legacy.scenario.chimera_hetero.mean", 98.792, 1e-5),
        ("legacy.scenario.chimera_homo.mean", 98.496, 1e-5),
        ("legacy.python.mean", 93.213_926, 1e-8),
        ("legacy.python.best_config", 99.250_769, 1e-8),
        ("legacy.python.gap", 5.067, 1e-4),
        ("python.gap.homo", 0.230, 2e-3),
        ("legacy.solo_rate", 103.315, 1e-5),
        ("legacy.aggregate_rate", 78.178_757, 1e-8),
        ("legacy.true_speedup", 0.757, 1e-3),
        ("speedup.all_runs", 0.742, 1e-3),
        ("balance.spearman_length_ratio", 0.963, 1e-3),
        ("balance.identity_error", 0.007_056, 1e-3),
        ("overhead.coordination", 0.001_6, 5e-2),
        ("overhead.coordination.max", 0.004_1, 1e-2),
        ("duration", 2.9, 1e-2),
        ("runs.failed", 1.0, 0.0),
    ] {
        close(&replayed, name, value, relative);
    }
    assert!(replayed.values.point("python.gap.homo.p").is_some_and(|p| (p - 0.64).abs() < 0.005));
    assert_eq!(verdict(&replayed, "speedup"), Verdict::Contradicted);
    assert_eq!(verdict(&replayed, "index"), Verdict::Supported);
    assert_eq!(verdict(&replayed, "language"), Verdict::Equivalent);
    renders("tr114", &data, &replayed);
}

#[test]
fn tr114_v1_published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr114-v1", &data);
    for (name, value, relative) in [
        ("legacy.single.mean", 73.850_227, 1e-8),
        ("legacy.dual.mean", 89.262_607, 1e-8),
        ("legacy.dual.sd", 5.455_1, 1e-5),
        ("legacy.dual.max", 95.679_729, 1e-8),
        ("legacy.dual.contention", 6.0, 1e-12),
        ("legacy.dual.baseline_vs_chimera", 88.207, 1e-5),
        ("legacy.dual.chimera_hetero", 88.378, 1e-5),
        ("legacy.dual.chimera_homo", 90.111, 1e-5),
        ("legacy.single.chimera_homo.rate", 96.69, 1e-4),
        ("legacy.dual.chimera_homo.rate", 81.83, 1e-4),
        ("legacy.single.baseline_vs_chimera.rate", 67.08, 1e-4),
        ("legacy.dual.chimera_hetero.rate", 81.03, 1e-4),
    ] {
        close(&replayed, name, value, relative);
    }
    assert_eq!(verdict(&replayed, "second-server"), Verdict::Contradicted);
    renders("tr114-v1", &data, &replayed);
}

#[test]
fn tr114_the_ledger_holds() {
    let Some(data) = published() else { return };
    let text = include_str!("../../../../fixtures/claims/tr114.toml");
    let totals = judged(&["tr114", "tr114-v1"], text, &data);
    assert!(totals.claims >= 30 && totals.contradicted > 10 && totals.not_recomputable >= 3, "{totals:?}");
}

#[test]
fn tr114_planted_values_come_back() {
    let data = synthetic();
    let replayed = replay("tr114", &data);
    // Every run delivers 60 tok/s for 50 s, more or less 30 or 60 tokens; the agents' times differ by 1, 2, 3, 4 s.
    close(&replayed, "legacy.config.test001.mean", 97.498, 1e-9);
    close(&replayed, "rate.concurrent.chimera_hetero", 60.0, 1e-12);
    // The failed run left out, +30, -30 and +60 tokens stay in the other scenario: 60 + 60 / 350.
    close(&replayed, "rate.concurrent.baseline_vs_chimera", 60.0 + 60.0 / 350.0, 1e-12);
    close(&replayed, "decode_rate.server.concurrent", 40.0, 1e-9);
    close(&replayed, "runs.failed", 1.0, 0.0);
    close(&replayed, "calls.failed", 1.0, 0.0);
    close(&replayed, "runs.long", 1.0, 0.0);
    close(&replayed, "overhead.coordination.max", 0.001, 1e-6);
    close(&replayed, "duration", 6.0, 1e-9);
    // The published contention counts the failed run and the long one.
    close(&replayed, "legacy.contention", 12.5, 1e-12);
    let solo = replayed.values.point("rate.solo").expect("a solo rate");
    close(&replayed, "speedup.chimera_hetero", 60.0 / solo, 1e-12);
    close(&replayed, "efficiency.chimera_hetero", 3_000.0 / solo, 1e-12);
    assert_eq!(verdict(&replayed, "index"), Verdict::Supported);
    renders("tr114", &data, &replayed);
}

/// A solo table of one directory whose warm runs deliver this many tokens in 10 s, more or less one.
fn solo(tokens: u32) -> String {
    let mut text = "config,arm,run,stage,tokens_generated,eval_duration_ms,wf_total_seconds\n".to_owned();
    for (run, more) in [(1_u32, 0_u32), (2, 0), (3, 2), (4, 1)] {
        let tokens = if run == 1 { 10 } else { tokens / 2 - 1 + more };
        text.push_str(&format!("d,baseline,{run},analysis,{tokens},4000,10\n"));
        text.push_str(&format!("d,baseline,{run},report,{},4000,10\n", tokens + 1 - u32::from(run == 4)));
        text.push_str(&format!("d,chimera,{run},analysis,9000,4000,10\n"));
    }
    text
}

#[test]
fn tr114_speed_up_follows_the_solo_rate() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/artifacts");
    for (tokens, expected) in [(1_000, Verdict::Contradicted), (400, Verdict::Supported)] {
        let folder = tempfile::tempdir().expect("a folder");
        let study = by_id("tr114").expect("the study");
        for file in study.needs() {
            let target = folder.path().join(file);
            fs::create_dir_all(target.parent().expect("a parent")).expect("a folder");
            let text = fs::read_to_string(source.join(file)).expect("a synthetic file");
            fs::write(target, if *file == SOLO { solo(tokens) } else { text }).expect("a copy");
        }
        let replayed = study.replay(&Artifacts::open(folder.path()).expect("artefacts")).expect("a replay");
        // First runs and the other arm are left out.
        let rate = f64::from(tokens) / 10.0;
        assert!(replayed.values.point("rate.solo").is_some_and(|solo| (solo - rate).abs() < 0.2));
        assert_eq!(verdict(&replayed, "speedup"), expected);
    }
}

#[test]
fn tr114_v1_planted_values_come_back() {
    let data = synthetic();
    let replayed = replay("tr114-v1", &data);
    close(&replayed, "dual_over_single.baseline_vs_chimera", 1.25, 1e-12);
    close(&replayed, "dual_over_single.chimera_homo", 0.8, 1e-12);
    close(&replayed, "legacy.single.chimera_homo.rate", 100.0, 1e-12);
    close(&replayed, "runs.failed.dual", 1.0, 0.0);
    // 8.9 to 8.6 s of 10 s beside an agent that takes all but 1 ms.
    close(&replayed, "legacy.dual.chimera_homo", 93.745, 1e-9);
    assert_eq!(replayed.values.point("speedup"), None);
    assert_eq!(verdict(&replayed, "second-server"), Verdict::Contradicted);
    renders("tr114-v1", &data, &replayed);
}

#[test]
fn tr114_bad_input_is_named() {
    refuses("tr114", RUNS, "efficiency_percent", "efficiency", "`efficiency_percent`");
    refuses("tr114", RUNS, "b2_ttft_ms", "b2_ttft", "`b2_ttft_ms`");
    refuses(
        "tr114",
        RUNS,
        "baseline_vs_chimera,2,",
        "baseline_vs_chimera,1,",
        "line 3: run 1 of `` `test001` comes twice",
    );
    refuses("tr114", RUNS, "baseline_vs_chimera,2,", "baseline_vs_chimera,NaN,", "line 3: `run` is empty");
    refuses("tr114", RUNS, ",False\n", ",perhaps\n", "line 2: `resource_contention_detected` is `perhaps`");
    refuses("tr114-v1", FIRST, "Demo_rust_multiagent_results_tr110,", "other,", "`other` is neither");
    // A number that is not there makes the run a failed one, not a zero.
    let replayed = altered("tr114", RUNS, ",50,98.998,", ",NaN,98.998,").expect("a replay");
    close(&replayed, "runs.failed", 2.0, 0.0);
}
