//! Tests of tr117: golden values on the published data, planted values on the synthetic ones.

use std::{collections::BTreeMap, fs, path::Path};

use chimera_replay::{Artifacts, Ledger, ReplayError, Replayed, Totals, by_id, findings};
use chimera_report::Verdict;

use crate::common::{close, published, replay, synthetic};

const CELLS: &str = "backends/tr117/tr120_derived_summary_by_scenario_quantization.csv";
const FILES: &str = "backends/tr117/tr120_derived_cold_start_by_file.csv";

/// The study on its synthetic files with one text replaced by another in one of them, or on less files.
pub(crate) fn altered(id: &str, path: &str, from: &str, to: &str) -> Result<Replayed, ReplayError> {
    let study = by_id(id).expect("a study of this id");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/artifacts");
    let folder = tempfile::tempdir().expect("a folder");
    for file in study.needs() {
        let text = fs::read_to_string(source.join(file)).expect("a synthetic file");
        let text = if *file == path {
            assert!(text.contains(from), "{file} does not hold `{from}`");
            text.replacen(from, to, 1)
        } else {
            text
        };
        let target = folder.path().join(file);
        fs::create_dir_all(target.parent().expect("a parent")).expect("a folder");
        fs::write(target, text).expect("a copy");
    }
    study.replay(&Artifacts::open(folder.path()).expect("artefacts"))
}

/// The error of [`altered`], which must name the file and say `what`.
#[track_caller]
pub(crate) fn refuses(id: &str, path: &str, from: &str, to: &str, what: &str) {
    let error = altered(id, path, from, to).expect_err("bad input").to_string();
    let name = path.rsplit('/').next().expect("a name");
    assert!(error.contains(name) && error.contains(what), "{error}");
}

/// Every claim of a ledger file is as it says; gives the totals.
#[track_caller]
pub(crate) fn judged(id: &str, name: &str, text: &str, replayed: Replayed) -> Totals {
    let mut ledger = Ledger::default();
    ledger.add(name, text).expect("a ledger");
    assert!(ledger.claims.iter().all(|claim| claim.report == id), "claims of another study in {name}");
    let judged = ledger.judge(&BTreeMap::from([(id, replayed)]));
    for one in &judged {
        assert!(one.trouble.is_none(), "{}: {:?}", one.claim.id, one.trouble);
    }
    Totals::of(&judged)
}

/// The verdict of a headline.
#[track_caller]
pub(crate) fn verdict(replayed: &Replayed, id: &str) -> Verdict {
    replayed.headline.iter().find(|headline| headline.id == id).expect("a headline").verdict
}

/// A replay renders.
#[track_caller]
pub(crate) fn renders(id: &str, data: &Artifacts, replayed: &Replayed) {
    let study = by_id(id).expect("a study of this id");
    let findings = findings(study, replayed, &data.files(), &[]).expect("findings");
    assert!(chimera_report::markdown(&findings).contains("cannot show"));
    assert!(!chimera_report::html(&findings).is_empty());
}

#[test]
fn tr117_published_numbers_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay("tr117", &data);
    for (name, value) in [
        ("legacy.gpu.mean", 404.054_917_948_793_96),
        ("legacy.gpu.sd", 223.937_737_869_769),
        ("legacy.gpu_compile.mean", 389.223_904_761_927),
        ("legacy.gpu_compile.sd", 117.807_644_203_694_8),
        ("legacy.gpu.mean_without_first", 386.745_553_968_315_4),
        ("legacy.gpu_compile.mean_without_first", 388.285_209_523_805_9),
        ("legacy.gpu.median", 322.679_400_000_197_35),
        ("legacy.gpu.cold_files", 3.0),
        ("legacy.gpu_compile.cold_files", 0.0),
        ("legacy.rows", 3_017.0),
        ("legacy.rows_ok", 2_471.0),
    ] {
        close(&replayed, name, value, 1e-9);
    }
    // The digits of the digest.
    for (name, value) in [
        ("legacy.label.t", -0.968_437),
        ("legacy.label.d", -0.082_891),
        ("legacy.gpu_cpu.d", 0.938_465),
        ("legacy.compile_ollama.d", 0.853_843),
        ("legacy.cpu_label.t_p", 0.227_923),
        ("legacy.anova.f", 157.783_504),
        ("legacy.anova.eta_squared", 0.203_780),
        ("legacy.ollama.cost", 0.105_791_32),
        ("legacy.toy_share_of_ok_rows", 44.759_207),
    ] {
        close(&replayed, name, value, 1e-5);
    }
    assert_eq!(verdict(&replayed, "first-samples"), Verdict::Contradicted);
    assert_eq!(verdict(&replayed, "label-test"), Verdict::Contradicted);
    assert_eq!(verdict(&replayed, "labels"), Verdict::Equivalent);
    renders("tr117", &data, &replayed);
}

#[test]
fn tr117_the_ledger_holds() {
    let Some(data) = published() else { return };
    let text = include_str!("../../../../fixtures/claims/tr117.toml");
    let totals = judged("tr117", "tr117.toml", text, replay("tr117", &data));
    assert!(totals.claims >= 12 && totals.contradicted > 0 && totals.not_recomputable > 0, "{totals:?}");
}

#[test]
fn tr117_planted_values_come_back() {
    let data = synthetic();
    let replayed = replay("tr117", &data);
    // Five plain files of ten, medians 100 to 104, the first of 400 instead of 100 in the opening file; the compiled label
    // has four files, two higher.
    close(&replayed, "legacy.gpu.n", 50.0, 1e-12);
    close(&replayed, "legacy.gpu.mean", 108.0, 1e-9);
    close(&replayed, "legacy.gpu_compile.mean", 103.5, 1e-9);
    close(&replayed, "legacy.label.mean_delta", -4.5, 1e-9);
    close(&replayed, "legacy.label.mean_delta_without_first", 1.5, 1e-9);
    close(&replayed, "legacy.gpu.cold_files", 1.0, 0.0);
    close(&replayed, "order.cold_files_opening_their_scenario", 1.0, 0.0);
    close(&replayed, "order.plain_label_first", 4.0, 0.0);
    close(&replayed, "label.files_without_partner", 1.0, 0.0);
    close(&replayed, "label.rest.difference", 2.0, 1e-9);
    close(&replayed, "label.all.difference", -5.5, 1e-9);
    // 832 - 104 over the pooled deviation; 36 rows a group would do, printed are 40 and 60.
    close(&replayed, "legacy.ollama_over_compile", 8.0, 1e-12);
    close(&replayed, "legacy.cpu_label.t", -(1.0 / (10.0 * (2.0_f64 / 40.0).sqrt())), 1e-9);
    close(&replayed, "legacy.cpu_label.d", -0.1, 1e-9);
    close(&replayed, "legacy.ok_share", 100.0 * 230.0 / 250.0, 1e-12);
    close(&replayed, "legacy.cpu.cost", 0.035 / 360_000.0 * 1e6, 1e-12);
    assert_eq!(replayed.values.point("legacy.tensorrt.printed_mean"), None, "a placeholder is no latency");
    assert_eq!(replayed.values.point("legacy.gpu_compile.median"), None, "not in the summary");
    assert_eq!(verdict(&replayed, "first-samples"), Verdict::Contradicted);
    renders("tr117", &data, &replayed);
}

#[test]
fn tr117_bad_input_is_named() {
    refuses("tr117", CELLS, "mean_ms", "mean", "`mean_ms`");
    refuses(
        "tr117",
        CELLS,
        "single_short",
        "single_micro",
        "line 4: the cell gpu fp32 single_micro comes twice",
    );
    refuses("tr117", FILES, ",10,400,", ",NaN,400,", "line 2: `n_samples` is empty");
    refuses("tr117", "backends/tr117/published_summary.csv", "ollama,60,832", "ollama,60,slow", "line 6");
}

#[test]
fn tr117_a_difference_of_the_labels_is_found() {
    // Without the cold sample the sign stays and nothing is contradicted.
    let replayed = altered("tr117", FILES, ",400,100,4,True,True,130,", ",100,100,1,False,False,100,")
        .expect("a replay");
    close(&replayed, "legacy.gpu.cold_files", 0.0, 0.0);
    close(&replayed, "label.all.difference", 2.0, 1e-9);
}
