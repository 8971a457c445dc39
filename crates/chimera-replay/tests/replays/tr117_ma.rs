//! Tests of tr117-ma: golden values on the published data, planted values on the synthetic ones.

use chimera_report::Verdict;

use crate::{
    common::{close, published, replay, synthetic},
    tr117::{altered, judged, refuses, renders, verdict},
};

const ID: &str = "tr117-ma";
const RUNS: &str = "agents/tr117ma/python_phase1_phase3_runs.csv";
const LAG: &str = "agents/tr117ma/loop_lag.csv";
const CHUNKS: &str = "agents/tr117ma/chunk_metrics.csv";
const RUST: &str = "agents/tr117ma/rust_phase2_runs.csv";

#[test]
fn tr117_ma_published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay(ID, &data);
    // The digits of the digest.
    for (name, value, relative) in [
        ("legacy.efficiency.default.mean", 90.7642, 1e-5),
        ("legacy.efficiency.default.sd", 2.9193, 1e-4),
        ("legacy.efficiency.buf65536.mean", 90.6549, 1e-5),
        ("legacy.efficiency.buf8192.mean", 90.3739, 1e-5),
        ("legacy.efficiency.60tps.mean", 88.5413, 1e-5),
        ("legacy.efficiency.60tps.sd", 4.1290, 1e-4),
        ("legacy.throttle_delta", -2.223, 1e-3),
        ("throttle.p", 0.357_5, 1e-3),
        ("legacy.lag.default.mean", 5.334_713, 1e-6),
        ("legacy.lag.buf8192.mean", 4.862_425, 1e-5),
        ("legacy.lag.buf65536.mean", 4.711_048, 1e-6),
        ("legacy.lag.default.p99", 12.126, 1e-4),
        ("legacy.lag.buf65536.p99", 12.063, 1e-4),
        ("legacy.lag.default.max", 15.221, 1e-9),
        ("legacy.lag.default.n", 661.0, 0.0),
        ("legacy.lag_chunk_correlation", -0.447, 1e-2),
        ("legacy.lag_chunk_correlation.whole_seconds", -0.472, 1e-2),
        ("legacy.lag_chunk_correlation.active_seconds", -0.08, 5e-2),
        ("legacy.chunks.default.n", 5_185.0, 0.0),
        ("legacy.chunks.default.bytes", 105.58, 1e-4),
        ("legacy.chunks.default.gap", 24.165, 1e-4),
        ("legacy.chunks.default.parse", 0.027_28, 1e-3),
        ("chunks.default.parse_share", 0.22, 1e-2),
        ("legacy.gpu.samples", 4_263.0, 0.0),
        ("legacy.gpu.gemma.power.mean", 134.33, 1e-4),
        ("legacy.gpu.qwen.power.mean", 136.85, 1e-4),
        ("legacy.gpu.qwen.power.max", 163.35, 1e-9),
        ("legacy.gpu.gemma.utilisation.mean", 98.65, 1e-4),
        ("legacy.rust_efficiency.qwen.mean", 93.618, 1e-5),
        ("legacy.rust_efficiency.gemma.mean", 99.094, 1e-5),
    ] {
        close(&replayed, name, value, relative);
    }
    assert_eq!(verdict(&replayed, "lag"), Verdict::Equivalent);
    assert_eq!(verdict(&replayed, "throttle"), Verdict::Inconclusive);
    assert_eq!(verdict(&replayed, "buffer"), Verdict::Contradicted);
    assert_eq!(verdict(&replayed, "ceiling"), Verdict::Contradicted);
    renders(ID, &data, &replayed);
}

#[test]
fn tr117_ma_the_ledger_holds() {
    let Some(data) = published() else { return };
    let text = include_str!("../../../../fixtures/claims/tr117_ma.toml");
    let totals = judged(ID, "tr117_ma.toml", text, replay(ID, &data));
    assert!(totals.claims >= 12 && totals.contradicted > 0 && totals.not_recomputable > 0, "{totals:?}");
}

#[test]
fn tr117_ma_planted_values_come_back() {
    let data = synthetic();
    let replayed = replay(ID, &data);
    // Agent a takes 9 s and 0.2 s more from run to run, b takes 10 s: the index is 95, 96, 97, 98 %.
    close(&replayed, "legacy.efficiency.default.mean", 96.5, 1e-9);
    close(&replayed, "legacy.efficiency.default.sd", (5.0_f64 / 3.0).sqrt(), 1e-9);
    assert!(replayed.values.point("balance.identity_error").is_some_and(|off| off < 1e-9));
    close(&replayed, "legacy.throttle_delta", 1.0, 1e-9);
    // The throttled run whose second agent got no token counts as failed, and its index does not enter.
    close(&replayed, "failures.60tps", 1.0, 0.0);
    close(&replayed, "throttle.difference", 0.5, 1e-9);
    assert_eq!(verdict(&replayed, "throttle"), Verdict::Inconclusive);
    // Warm runs: 460 + 470 + 480 and three times 500 tokens in 30 s.
    close(&replayed, "aggregate_rate.default", 97.0, 1e-9);
    close(&replayed, "ttft.default", 0.2, 1e-6);
    close(&replayed, "ttft.default.first_run", 1.0, 1e-9);
    close(&replayed, "buffer.ttft_ratio", 40.0, 1e-6);
    assert_eq!(verdict(&replayed, "buffer"), Verdict::Contradicted);
    close(&replayed, "throttle.natural_rate_max", 449.0 / (9.0 - 1.0), 1e-9);
    // Half of the samples of a run see no chunk and lag by 3 ms more.
    close(&replayed, "lag.default", 6.5, 1e-9);
    close(&replayed, "lag.with_minus_without_chunks", -3.0, 1e-9);
    close(&replayed, "lag.idle_samples", 12.0, 0.0);
    close(&replayed, "lag.default_minus_buf65536", 0.1, 1e-9);
    assert_eq!(verdict(&replayed, "lag"), Verdict::Equivalent);
    close(&replayed, "legacy.chunks.default.n", 24.0, 0.0);
    close(&replayed, "chunks.default.parse_total", 0.48, 1e-9);
    close(&replayed, "chunks.default.rate", 24.0 / (4.0 * 0.27), 1e-6);
    // One call of the second model ended without a token; one sample of its power is not there.
    close(&replayed, "rust.failed_calls.qwen", 1.0, 0.0);
    close(&replayed, "rust.decode_rate.gemma", 40.0, 1e-9);
    close(&replayed, "legacy.gpu.qwen.power.mean", 139.6 + 0.8, 1e-9);
    assert_eq!(replayed.values.point("true_speed_up"), None);
    renders(ID, &data, &replayed);
}

#[test]
fn tr117_ma_lag_that_follows_the_chunks_is_found() {
    // The control without lag: the difference is far beyond the margin and significant.
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/artifacts").join(LAG);
    let text = std::fs::read_to_string(source).expect("a synthetic file");
    let control: String =
        text.lines().filter(|line| line.starts_with("buf65536")).map(|line| format!("{line}\n")).collect();
    let quiet: String = control
        .lines()
        .map(|line| format!("{}{}\n", line.rsplit_once(',').expect("a field").0, ",1"))
        .collect();
    let replayed = altered(ID, LAG, &control, &quiet).expect("a replay");
    close(&replayed, "lag.default_minus_buf65536", 5.5, 1e-9);
    assert_eq!(verdict(&replayed, "lag"), Verdict::Supported);
}

#[test]
fn tr117_ma_bad_input_is_named() {
    refuses(ID, RUNS, "efficiency_percent", "efficiency", "`efficiency_percent`");
    refuses(ID, RUNS, "phase1,default,2,", "phase1,default,1,", "line 3: run 1 of `default` comes twice");
    refuses(ID, RUNS, "phase1,default,2,", "phase1,faulty,2,", "line 3: `faulty` is no condition");
    refuses(ID, LAG, "buf65536,10.24,", "buf65536,10.12,", "line 3");
    refuses(ID, LAG, "6.4\n", "NaN\n", "line 2: `lag_ms` is empty");
    refuses(ID, CHUNKS, "collector,0,", "collector,7,", "line 2: the stream does not begin with chunk 0");
    refuses(
        ID,
        RUST,
        "chimera_homo,2,gemma3",
        "chimera_homo,1,gemma3",
        "line 3: run 1 of `gemma3:latest` comes twice",
    );
}
