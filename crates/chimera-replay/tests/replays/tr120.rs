//! Tests of tr120: golden values on the published data, planted values on the synthetic ones.

use chimera_report::Verdict;

use crate::{
    common::{close, published, replay, synthetic},
    tr117::{altered, judged, refuses, renders, verdict},
};

const ID: &str = "tr120";
const SAMPLES: &str = "backends/tr120/samples.csv";
const RUNS: &str = "backends/tr120/runs.csv";

#[test]
fn tr120_published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay(ID, &data);
    // Mean, median, p99, maximum; eager, then compiled: the digits of the digest.
    let table: [(&str, [f64; 4], [f64; 4]); 9] = [
        (
            "173112.prefill",
            [1.737_779, 1.735_878, 3.051_008, 4.086_571],
            [0.521_606, 0.194_071, 5.208_150, 9.386_158],
        ),
        (
            "173112.kv_decode",
            [95.098_498, 93.993_297, 119.813_135, 122.550_724],
            [104.902_366, 103.093_889, 133.465_294, 167.874_184],
        ),
        (
            "173112.e2e_kv",
            [98.641_379, 96.225_581, 136.176_653, 153.851_861],
            [108.576_679, 105.635_953, 149.091_376, 165.270_778],
        ),
        (
            "182658.prefill",
            [2.328_133, 2.227_974, 3.818_413, 6.236_735],
            [0.204_360, 0.188_119, 0.382_740, 0.447_530],
        ),
        (
            "182658.kv_decode",
            [99.394_670, 97.544_473, 132.745_343, 154.113_696],
            [106.693_919, 105.404_011, 132.435_474, 151.442_307],
        ),
        (
            "181045.prefill",
            [2.030_120, 1.993_514, 3.328_047, 5.357_381],
            [0.651_861, 0.780_076, 1.212_786, 1.594_305],
        ),
        (
            "191009.prefill",
            [2.032_245, 1.961_148, 3.432_974, 4.012_340],
            [0.270_529, 0.240_605, 0.632_435, 0.813_242],
        ),
        (
            "113136.prefill",
            [2.493_285, 1.981_000, 5.234_540, 5.3416],
            [3.903_201, 3.780_900, 8.031_784, 8.4218],
        ),
        (
            "113136.e2e_kv",
            [109.669_664, 99.078_150, 221.109_943, 245.4739],
            [134.934_484, 110.921_900, 260.129_325, 289.7746],
        ),
    ];
    for (run, eager, compiled) in table {
        for (arm, values) in [("eager", eager), ("compiled", compiled)] {
            for (what, value) in ["mean", "p50", "p99", "max"].into_iter().zip(values) {
                // The digest has six decimals.
                let name = format!("legacy.{run}.{arm}.{what}");
                let found = replayed.values.point(&name).expect("a value");
                assert!((found - value).abs() <= 6e-7, "{name}: {found}, expected {value}");
            }
        }
    }
    for (name, value) in [
        ("legacy.191009.prefill.eager.event.p50", 1.691_408),
        ("legacy.191009.prefill.compiled.event.p99", 0.439_033_6),
        ("legacy.samples", 16_740.0),
        ("legacy.173112.prefill.graphs", 7.0),
        ("shape.173112.slow", 30.0),
        ("shape.173112.slow_beyond", 30.0),
        ("shape.173112.beyond_length", 51.0),
        ("shape.173112.p99_compiled_lengths", 0.388_608_56),
        ("decode.runs_fully_compiled", 0.0),
    ] {
        close(&replayed, name, value, 1e-7);
    }
    assert_eq!(verdict(&replayed, "shape"), Verdict::Supported);
    assert_eq!(verdict(&replayed, "control"), Verdict::Contradicted);
    assert_eq!(verdict(&replayed, "decode"), Verdict::NotMeasured);
    assert_eq!(verdict(&replayed, "prefill"), Verdict::Supported);
    renders(ID, &data, &replayed);
}

#[test]
fn tr120_the_ledger_holds() {
    let Some(data) = published() else { return };
    let text = include_str!("../../../../fixtures/claims/tr120.toml");
    let totals = judged(ID, "tr120.toml", text, replay(ID, &data));
    assert!(totals.claims >= 12 && totals.contradicted > 0, "{totals:?}");
}

#[test]
fn tr120_planted_values_come_back() {
    let data = synthetic();
    let replayed = replay(ID, &data);
    // Twelve prompts a process: eager 2.00 to 2.11 ms, compiled a tenth of it; the four of 51 tokens have no graph in one run.
    close(&replayed, "legacy.191009.prefill.eager.mean", 2.055, 1e-9);
    close(&replayed, "legacy.191009.prefill.compiled.mean", 0.205_5, 1e-9);
    close(&replayed, "event.191009.prefill.eager.gap", 0.05, 1e-9);
    close(&replayed, "shape.173112.lengths", 8.0, 0.0);
    close(&replayed, "shape.173112.beyond_length", 51.0, 0.0);
    close(&replayed, "shape.173112.slow_beyond", 4.0, 0.0);
    close(&replayed, "shape.173112.beyond_compiled_p50", 2.615, 1e-9);
    // Four of twelve samples, all of them slow: one division in C(12, 4).
    close(&replayed, "shape.173112.p", 1.0 / 495.0, 1e-9);
    close(&replayed, "shape.191009.beyond", 0.0, 0.0);
    close(&replayed, "shape.182658.lengths", 5.0, 0.0);
    close(&replayed, "shape.182658.beyond", 0.0, 0.0);
    close(&replayed, "ratio.191009.prefill", 0.1, 1e-9);
    // 6.4 ms over 64 tokens.
    close(&replayed, "decode.overhead", 100.0, 1e-9);
    close(&replayed, "ratio.173112.kv_decode", 1.1, 1e-9);
    close(&replayed, "decode.runs_without_graphs", 1.0, 0.0);
    close(&replayed, "decode.runs_at_limit", 1.0, 0.0);
    close(&replayed, "failures.182658.kv_decode", 1.0, 0.0);
    close(&replayed, "fallback.mode_runs", 1.0, 0.0);
    assert_eq!(replayed.values.point("ratio.113136.prefill"), None, "a fallback is not the compiler");
    assert_eq!(verdict(&replayed, "shape"), Verdict::Supported);
    assert_eq!(verdict(&replayed, "control"), Verdict::Contradicted);
    assert_eq!(verdict(&replayed, "decode"), Verdict::NotMeasured);
    renders(ID, &data, &replayed);
}

#[test]
fn tr120_with_a_graph_for_every_length_there_is_no_finding() {
    let replayed = altered(ID, RUNS, "1 9 11 17 19 25 27\n", "1 9 11 17 19 25 27 51\n").expect("a replay");
    close(&replayed, "shape.173112.beyond", 0.0, 0.0);
    assert_eq!(verdict(&replayed, "shape"), Verdict::NotMeasured);
    assert_eq!(verdict(&replayed, "control"), Verdict::NotMeasured);
    let replayed =
        altered(ID, RUNS, "2.0,,,,1.0,True,False,padded8", "2.0,,,,,True,False,padded8").expect("a replay");
    close(&replayed, "decode.runs_fully_compiled", 1.0, 0.0);
    assert_eq!(verdict(&replayed, "decode"), Verdict::Inconclusive);
}

#[test]
fn tr120_bad_input_is_named() {
    refuses(ID, SAMPLES, "latency_ms", "latency", "`latency_ms`");
    refuses(
        ID,
        SAMPLES,
        "single_micro,1,",
        "single_micro,0,",
        "line 3: sample 0 of single_micro comes twice",
    );
    refuses(ID, SAMPLES, "single_micro,0,2,", "single_micro,0,fast,", "line 2: `latency_ms` is `fast`");
    refuses(
        ID,
        SAMPLES,
        "20250101_173112,prefill",
        "20250101_000000,prefill",
        "line 2: prefill of run 20250101_000000",
    );
    refuses(ID, RUNS, "1 9 11", "1 nine 11", "`nine` is not a sequence length");
    refuses(ID, RUNS, "20250101_173112,prefill", "20250101_173112,kv_decode", "comes twice");
}
