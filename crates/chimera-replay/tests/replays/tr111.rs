//! Tests of tr111: golden values on the published data, planted values on the synthetic ones.

use std::{collections::BTreeMap, fs};

use chimera_replay::{Artifacts, Ledger, Replayed, by_id};

use crate::common::{close, published, replay, synthetic};

const CALLS: &str = "agents/tr111/rust_agent_calls.csv";
const MICRO: &str = "agents/tr111/rust_microbench_v1_runs.csv";

fn renders(id: &str, data: &Artifacts, replayed: &Replayed) {
    chimera_replay::findings(by_id(id).expect("the study"), replayed, &data.files(), &[]).expect("findings");
}

#[test]
fn published_numbers_of_version_2_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr111", &data);
    for (name, expected, relative) in [
        ("legacy.tokens_s.mean.baseline_default.baseline", 114.539_206, 1e-8),
        ("legacy.tokens_s.sd.baseline_default.baseline", 2.9665, 1e-4),
        ("legacy.ttft_ms.mean.baseline_default.baseline", 603.527_067, 1e-8),
        ("legacy.ttft_ms.sd.baseline_default.baseline", 61.1625, 1e-5),
        ("legacy.tokens.baseline_default.baseline", 7557.0, 0.0),
        ("legacy.tokens_s.mean.baseline_default.chimera", 114.682, 5e-6),
        ("legacy.ttft_ms.mean.baseline_default.chimera", 547.3, 2e-4),
        ("legacy.configs.baseline.mean", 114.3845, 5e-7),
        ("legacy.configs.baseline.sd", 0.2847, 5e-4),
        ("legacy.configs.baseline.cv", 0.249, 2e-3),
        ("legacy.tokens_s.mean.gpu60_ctx256_temp0p6.chimera", 115.937, 5e-6),
        ("legacy.configs.completed.chimera.mean", 115.818, 5e-6),
        ("legacy.configs.completed.chimera.cv", 0.80, 1e-2),
        ("legacy.completed.tokens_s.mean.gpu60_ctx512_temp0p6.chimera", 117.044, 5e-6),
        ("legacy.tokens_s.mean.gpu120_ctx1024_temp0p8.chimera", 116.585, 5e-6),
        ("legacy.wins", 16.0, 0.0),
        ("legacy.wins.completed", 18.0, 0.0),
        ("legacy.wins.completed.mean", 1.254, 5e-4),
        ("legacy.stage.analysis.baseline", 116.36, 5e-5),
        ("legacy.stage.report.baseline", 112.41, 5e-5),
        ("legacy.stage_cv.analysis.baseline", 1.03, 1e-2),
        ("legacy.stage_cv.report.baseline", 0.22, 2e-2),
        ("legacy.prompt_eval_ms.report.256.chimera", 229.0, 4e-3),
        ("legacy.prompt_eval_ms.report.512.chimera", 229.0, 4e-3),
        ("legacy.prompt_eval_ms.report.1024.chimera", 229.0, 4e-3),
        ("legacy.prompt_eval_ms.report.default.baseline", 374.0, 3e-3),
        ("legacy.wall_rate.warm.baseline", 103.315, 5e-6),
        ("calls.cold", 35.0, 0.0),
        ("ttft.client.cold.min", 4.44, 2e-3),
        ("ttft.client.cold.max", 5.21, 2e-3),
        ("ttft.client.cold.median", 4.9, 1e-2),
        ("calls.failed.chimera", 2.0, 0.0),
        ("calls.failed.baseline", 0.0, 0.0),
        ("calls.runaway.chimera", 2.0, 0.0),
    ] {
        close(&replayed, name, expected, relative);
    }
    renders("tr111", &data, &replayed);
}

#[test]
fn published_numbers_of_version_1_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr111-v1", &data);
    for (name, expected, relative) in [
        ("legacy.tokens_s.mean.baseline.all", 98.7446, 5e-7),
        ("legacy.tokens_s.mean.chimera.all", 98.8662, 5e-7),
        ("legacy.tokens_s.mean.baseline.grid", 98.7622, 5e-7),
        ("legacy.wins", 13.0, 0.0),
        ("legacy.improvement.mean", 0.137_635, 5e-6),
        ("legacy.improvement.max", 0.606, 1e-3),
        ("calls.failed", 10.0, 0.0),
        ("folders.without_tokens", 5.0, 0.0),
    ] {
        close(&replayed, name, expected, relative);
    }
    renders("tr111-v1", &data, &replayed);
}

#[test]
fn claims_are_as_the_ledger_says() {
    let Some(data) = published() else { return };
    let replayed: BTreeMap<&str, Replayed> =
        ["tr111", "tr111-v1"].into_iter().map(|id| (id, replay(id, &data))).collect();
    let mut ledger = Ledger::default();
    ledger.add("tr111", include_str!("../../../../fixtures/claims/tr111.toml")).expect("the ledger");
    let judged = ledger.judge(&replayed);
    assert!(judged.len() >= 20);
    for one in judged {
        assert_eq!(one.trouble, None, "{}", one.claim.id);
    }
}

#[test]
fn planted_numbers_come_out_and_what_is_missing_stays_out() {
    let data = synthetic();
    let replayed = replay("tr111", &data);
    // Planted: 1 % on the first call, 5 % on the second, in the geometric mean of four directories.
    close(&replayed, "effect.chimera.analysis", 1.01, 1e-6);
    close(&replayed, "effect.chimera.report", 1.05, 1e-4);
    let control = replayed.values.point("effect.control").expect("a control");
    assert!((control - 1.0).abs() < 0.03, "the control ran the same twice: {control}");
    close(&replayed, "prefill.server.report.options", 0.23, 1e-9);
    close(&replayed, "prefill.server.report.default", 0.37, 1e-9);
    close(&replayed, "prefill.ratio.256.512", 1.0, 1e-9);
    assert!(replayed.values.point("p_holm.prefill.256.512").is_some_and(|p| p < 0.05), "equal contexts");
    assert!(replayed.values.point("p_holm.effect.analysis").is_some_and(|p| p < 0.05), "planted");
    assert!(replayed.values.point("p_holm.effect.control").is_none_or(|p| p > 0.2), "not planted");
    for (name, expected) in [
        ("calls.cold", 8.0),
        ("calls.cold.baseline_default", 0.0),
        ("calls.failed.chimera", 1.0),
        ("calls.failed.baseline", 0.0),
        ("calls.incomplete.baseline", 1.0),
        ("calls.runaway.chimera", 1.0),
        ("overhead.ttft.median", 0.01),
    ] {
        close(&replayed, name, expected, 1e-9);
    }
    // A failed call counts as zero in the published mean, and not at all in ours: two of three reports, three analyses.
    close(&replayed, "legacy.tokens_s.mean.baseline_default.chimera", (300.0 + 95.0 * 2.0) / 6.0, 1e-9);
    renders("tr111", &data, &replayed);
}

#[test]
fn planted_numbers_of_version_1_come_out() {
    let data = synthetic();
    let replayed = replay("tr111-v1", &data);
    for (name, expected) in [
        ("legacy.wins", 4.0),
        ("legacy.improvement.mean", 1.0 / 6.0),
        ("legacy.improvement.max", 0.5),
        ("calls.failed", 2.0),
        ("folders.without_tokens", 1.0),
        ("calls.cold.share", 100.0),
        ("effect.repeated", 1.0),
    ] {
        close(&replayed, name, expected, 1e-6);
    }
    assert!(replayed.values.point("p_holm.effect.equal").is_some_and(|p| p < 0.05), "within 1 %");
    renders("tr111-v1", &data, &replayed);
}

#[test]
fn another_layout_and_damage_are_refused_with_their_place() {
    let calls = String::from_utf8(synthetic().bytes(CALLS).expect("the calls")).expect("text");
    let micro = String::from_utf8(synthetic().bytes(MICRO).expect("the calls")).expect("text");
    let second = calls.lines().nth(1).expect("a row").to_owned();
    for (id, path, text, wanted) in [
        ("tr111", CALLS, calls.replacen("ttft_ms", "ttft", 1), "no column `ttft_ms`"),
        ("tr111", CALLS, calls.replacen(",1000,", ",many,", 1), "line 2"),
        ("tr111", CALLS, calls.replacen(",1000,", ",NaN,", 1), "line 2"),
        ("tr111", CALLS, format!("{calls}{second}\n"), "line 62"),
        ("tr111", CALLS, calls.lines().next().expect("a header").to_owned(), "no call"),
        ("tr111-v1", MICRO, micro.replacen("dir,", "folder,", 1), "no column `dir`"),
        ("tr111-v1", MICRO, format!("{micro}{}\n", micro.lines().nth(1).expect("a row")), "comes twice"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("agents/tr111")).expect("a folder");
        fs::write(folder.path().join(path), text).expect("a file");
        let data = Artifacts::open(folder.path()).expect("a folder");
        let error = by_id(id).expect("the study").replay(&data).expect_err(wanted).to_string();
        assert!(error.contains(wanted) && error.contains(path), "{wanted}: {error}");
    }
}
