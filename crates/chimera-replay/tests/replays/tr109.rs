//! Tests of tr109: golden values on the published data, planted values on the synthetic ones, damaged data.

use std::{collections::BTreeMap, fs, path::Path};

use chimera_replay::{Artifacts, Ledger, by_id};
use chimera_report::Verdict;

use crate::common::{close, published, replay, synthetic};

const SWEEP: &str = "agents/tr109/python_agent_sweep.csv";

#[test]
fn published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr109", &data);
    for (name, expected) in [
        ("legacy.tokens_s.baseline.mean", 99.041_785),
        ("legacy.tokens_s.baseline.sd", 0.226_968),
        ("legacy.tokens_s.chimera.mean", 99.135_552),
        ("legacy.tokens_s.chimera.sd", 0.517_240),
        ("legacy.ttft_ms.baseline.mean", 1_427.636_4),
        ("legacy.ttft_ms.baseline.sd", 132.148_05),
        ("legacy.best.tokens_s", 101.079_829),
        ("legacy.best.ttft_ms", 448.950_15),
        ("legacy.best.improvement", 2.199_830),
        ("legacy.best.ttft_reduction", 68.443_858),
        ("legacy.wins", 7.0),
        ("tokens_s.all_pairs", 0.093_767),
        ("tokens_s.cold_pairs", -0.028_701),
        ("files.ingested.max", 0.0),
        ("runs.another_day", 2.0),
        // By tokens over seconds the published winner is the slowest of all.
        ("best.rank", 18.0),
    ] {
        close(&replayed, name, expected, 1e-5);
    }
    for (name, expected, digits) in [
        ("legacy.quality.baseline.mean", 0.6563, 5e-5),
        ("legacy.quality.chimera.mean", 0.6159, 5e-5),
        ("quality.all_pairs", -0.0404, 5e-5),
        ("quality.all_pairs.p", 0.0063, 5e-5),
        ("tokens_s.all_pairs.p", 0.50, 5e-3),
        ("tokens_s.cold_pairs.p", 0.66, 5e-3),
        ("wins.p", 0.48, 5e-3),
    ] {
        close(&replayed, name, expected, digits / f64::abs(expected));
    }
    assert_eq!(replayed.values.point("legacy.quality.from_code_weights").map(|d| d < 1e-12), Some(true));
    let verdicts: Vec<Verdict> = replayed.headline.iter().map(|headline| headline.verdict).collect();
    use Verdict::{Contradicted, Equivalent, NotMeasured, Supported};
    assert_eq!(verdicts, [Equivalent, Contradicted, NotMeasured, Supported]);
    let study = by_id("tr109").expect("the study");
    chimera_replay::findings(study, &replayed, &data.files(), &[]).expect("findings");
    let mut ledger = Ledger::default();
    ledger.add("tr109", include_str!("../../../../fixtures/claims/tr109.toml")).expect("the ledger");
    let judged = ledger.judge(&BTreeMap::from([("tr109", replayed)]));
    assert!(judged.len() >= 12);
    for one in judged {
        assert_eq!(one.trouble, None, "{}", one.claim.id);
    }
}

#[test]
fn planted_numbers_come_out_and_failed_and_warm_runs_stand_apart() {
    let data = synthetic();
    let replayed = replay("tr109", &data);
    for (name, expected) in [
        // 14,042 tokens in seven times 20 s of decode and 25 s of wall.
        ("decode_rate.server.baseline", 14_042.0 / 140.0),
        ("throughput.baseline", 14_042.0 / 175.0),
        // Differences of 2.1, 1.9, 2.1, 1.9, 2.1 where both runs were cold.
        ("decode_rate.cold_pairs", 2.02),
        ("ttft.server.cold_pairs", 200.0),
        // Of a mean of 1.4 s the two calls took 0.15 s and 2.65 s.
        ("ttft.server.faster_call.baseline", 150.0),
        ("ttft.server.slower_call.baseline", 2650.0),
        ("quality.cold_pairs", -0.025),
        ("runs.failed", 1.0),
        ("runs.warm", 1.0),
        ("runs.another_day", 2.0),
        ("order.tuned_first", 7.0),
        ("pairs.cold", 5.0),
        // The warm run has the best mean of rates and the worst rate.
        ("legacy.best.tokens_s", 104.0),
        ("best.decode_rate.server", 100.0),
        ("best.rank", 6.0),
        ("best.faster_call", 112.0),
    ] {
        close(&replayed, name, expected, 1e-9);
    }
    assert_eq!(replayed.headline.first().map(|headline| headline.verdict), Some(Verdict::Supported));
    chimera_replay::findings(by_id("tr109").expect("the study"), &replayed, &data.files(), &[])
        .expect("findings");
}

/// The synthetic artefacts with one file changed.
pub(crate) fn damaged(file: &str, change: impl Fn(&str) -> String) -> (tempfile::TempDir, Artifacts) {
    let folder = tempfile::tempdir().expect("a folder");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/artifacts");
    for path in [SWEEP, "agents/tr109/python_report_quality.csv", "agents/tr110/python_multiagent_runs.csv"] {
        let text = fs::read_to_string(fixtures.join(path)).expect("a fixture");
        let to = folder.path().join(path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::write(to, if path == file { change(&text) } else { text }).expect("a file");
    }
    let data = Artifacts::open(folder.path()).expect("artefacts");
    (folder, data)
}

/// What a study says of damaged data.
pub(crate) fn complaint(id: &str, file: &str, change: impl Fn(&str) -> String) -> String {
    let (_folder, data) = damaged(file, change);
    by_id(id).expect("a study").replay(&data).expect_err("damaged data").to_string()
}

#[test]
fn damaged_data_are_refused_with_file_and_line() {
    let said = |change: &dyn Fn(&str) -> String| complaint("tr109", SWEEP, change);
    let error = said(&|text| text.replace("average_ttft_ms", "ttft"));
    assert!(error.contains("python_agent_sweep.csv") && error.contains("`average_ttft_ms`"), "{error}");
    let error = said(&|text| text.replacen(",25.0,2030", ",NaN,2030", 1));
    assert!(error.contains("line 2") && error.contains("execution_time_s"), "{error}");
    let error = said(&|text| format!("{text}{}\n", text.lines().nth(1).expect("a row")));
    assert!(error.contains("line 16") && error.contains("twice"), "{error}");
    let error = said(&|text| text.lines().take(2).collect::<Vec<_>>().join("\n"));
    assert!(error.contains("one arm"), "{error}");
    let error = said(&|text| text.replacen("2030-01-01T", "yesterday ", 1));
    assert!(error.contains("line 2") && error.contains("not a time"), "{error}");
}
