//! Planted effects and planted equality: what is called, and what it must not be called.

use chimera_records::{Metric, Outcome as Ended};
use chimera_studies::compare::{self, Call, Comparison, Factor, Only, Options, Outcome};

use crate::common::Planted;

fn compare(a: Planted, b: Planted, options: &Options) -> Comparison {
    compare::compare(&a.run(), &b.run(), options).expect("a comparison")
}

fn calls(comparison: &Comparison, metric: &str) -> Vec<Call> {
    comparison.rows.iter().filter(|row| row.metric == metric).map(|row| row.call).collect()
}

#[test]
fn a_slower_decode_is_called_slower_in_every_metric_that_sees_it_and_in_no_other() {
    let slow = Planted { decode: 1.15, ..Planted::new(2, 12) };
    let options = Options {
        metrics: vec![Metric::TpotEngine, Metric::DecodeRateEngine, Metric::PrefillEngine],
        ..Options::default()
    };
    let comparison = compare(Planted::new(1, 12), slow, &options);
    assert_eq!(comparison.outcome, Outcome::Regression);
    assert_eq!(calls(&comparison, "tpot.engine"), [Call::Slower; 4]);
    assert_eq!(calls(&comparison, "decode_rate.engine"), [Call::Slower; 4], "a lower rate is slower");
    assert!(!calls(&comparison, "prefill.engine").contains(&Call::Slower));
    for row in comparison.of(Call::Slower).filter(|row| row.metric == "tpot.engine") {
        let ratio = row.ratio.as_ref().expect("a ratio");
        assert!(ratio.interval.expect("an interval").contains(1.15) || (ratio.point - 1.15).abs() < 0.04);
        assert!(row.effect.as_ref().expect("an effect").point > 1.0);
        assert!(row.adjusted_p.expect("p") >= row.p.expect("p"), "Holm never lowers a p");
    }
    let swapped = compare(slow, Planted::new(1, 12), &options);
    assert_eq!(swapped.outcome, Outcome::NoRegression);
    assert_eq!(calls(&swapped, "tpot.engine"), [Call::Faster; 4]);
    for row in &comparison.rows {
        let other =
            swapped.rows.iter().find(|o| o.metric == row.metric && o.cell == row.cell).expect("the row");
        let product =
            row.ratio.as_ref().expect("a ratio").point * other.ratio.as_ref().expect("a ratio").point;
        assert!((product - 1.0).abs() < 1e-12, "A / B is the inverse of B / A");
        assert!((row.p.expect("p") - other.p.expect("p")).abs() < 1e-12);
    }
}

#[test]
fn equality_is_shown_by_a_margin_and_noise_alone_shows_nothing() {
    let quiet = |id| Planted { block_sd: 0.002, cell_sd: 0.002, ..Planted::new(id, 10) };
    let comparison = compare(quiet(1), quiet(2), &Options::default());
    assert_eq!(comparison.of(Call::Equivalent).count(), comparison.rows.len());
    assert_eq!((comparison.outcome, comparison.undecided), (Outcome::NoRegression, 0));
    let loud = |id| Planted { block_sd: 0.2, ..Planted::new(id, 6) };
    let comparison = compare(loud(3), loud(4), &Options::default());
    assert_eq!(comparison.of(Call::Inconclusive).count(), comparison.rows.len());
    assert!(
        comparison.rows.iter().all(|row| row.detectable.is_some_and(|share| share > 0.3)),
        "it says how blind it is"
    );
    let tiny = Planted { decode: 1.01, ..quiet(5) };
    let comparison = compare(quiet(1), tiny, &Options::default());
    assert_eq!(comparison.outcome, Outcome::NoRegression, "one per cent is within a margin of three");
}

#[test]
fn few_blocks_give_ratios_and_no_verdict() {
    for blocks in [1, 2, 4] {
        let fast = Planted { decode: 0.5, ..Planted::new(2, blocks) };
        let comparison = compare(Planted::new(1, blocks), fast, &Options::default());
        assert!(comparison.rows.iter().all(|row| row.call == Call::Inconclusive), "{blocks} blocks");
        assert!(
            comparison.rows.iter().all(|row| row.ratio.as_ref().is_none_or(|ratio| ratio.interval.is_none()))
        );
        assert!(comparison.rows.iter().all(|row| !row.notes.is_empty()));
        assert_eq!(comparison.rows.iter().all(|row| row.p.is_some()), blocks >= 3, "{blocks} blocks");
    }
}

#[test]
fn unequal_work_is_not_compared() {
    let (a, mut b) = (Planted::new(1, 8).run(), Planted::new(2, 8).run());
    for lane in b.trials.iter_mut().flat_map(|trial| &mut trial.lanes) {
        lane.generated = Some(16);
    }
    let comparison = compare::compare(&a, &b, &Options::default()).expect("a comparison");
    assert_eq!(calls(&comparison, "e2e.engine"), [Call::NotComparable; 4]);
    assert!(!calls(&comparison, "prefill.engine").contains(&Call::NotComparable), "the prompts are the same");
    assert!(comparison.of(Call::NotComparable).all(|row| row.adjusted_p.is_none()));
    assert!(compare::markdown(&comparison).contains("unequal work"));
}

#[test]
fn a_run_that_fails_more_is_a_regression_however_fast_its_survivors_are() {
    let a = Planted::new(1, 8).run();
    let mut b = Planted { decode: 0.5, ..Planted::new(2, 8) }.run();
    for trial in b.trials.iter_mut().step_by(3) {
        trial.outcome = Ended::Failed { code: "oom".into(), reason: "out of memory".into() };
        trial.lanes.clear();
    }
    let comparison = compare::compare(&a, &b, &Options::default()).expect("a comparison");
    assert!(comparison.failures.worse && comparison.failures.p.is_some_and(|p| p < 0.01));
    assert_eq!((comparison.failures.a.failed, comparison.failures.b.failed), (0, 11));
    assert_eq!(comparison.outcome, Outcome::Regression);
    assert!(compare::markdown(&comparison).contains("11 failed"));
}

#[test]
fn arms_of_one_run_are_paired_by_block() {
    let mut run = Planted { block_sd: 0.3, ..Planted::new(1, 8) }.run();
    let mut other: Vec<_> = run.trials.clone();
    for trial in &mut other {
        trial.factors.backend = "ort".into();
        for lane in &mut trial.lanes {
            // Ten per cent slower in every block, whatever the block's own luck.
            lane.last_token = lane.last_token.map(|last| last + (last - 1_000_000) / 10);
        }
    }
    run.trials.extend(other);
    let only = |backend: &str| vec![Only { factor: Factor::Backend, level: backend.to_owned() }];
    let by: Vec<Factor> = Factor::ALL.iter().copied().filter(|factor| *factor != Factor::Backend).collect();
    let options = Options {
        metrics: vec![Metric::E2eEngine],
        by,
        only_a: only("candle"),
        only_b: only("ort"),
        ..Options::default()
    };
    let comparison = compare::compare(&run, &run, &options).expect("a comparison");
    assert_eq!(comparison.of(Call::Slower).count(), 4, "{}", compare::markdown(&comparison));
    assert!(
        comparison
            .rows
            .iter()
            .all(|row| row.paired && row.notes.iter().any(|note| note.contains("candle against ort")))
    );
    let same = compare::compare(&run, &run, &Options::default());
    assert!(same.is_err_and(|error| error.to_string().contains("aa")));
}

#[test]
fn a_drift_within_a_run_is_told_beside_the_ratio() {
    let drifting = Planted { drift: 0.02, ..Planted::new(2, 12) };
    let comparison = compare(Planted::new(3, 12), drifting, &Options::default());
    let told = |side: &str| {
        let begins = format!("{side} drifts");
        comparison.rows.iter().filter(|row| row.notes.iter().any(|note| note.starts_with(&begins))).count()
    };
    assert!(told("B") >= 10 && told("A") <= 2, "{}", compare::markdown(&comparison));
}

#[test]
fn factors_that_are_left_out_are_taken_together() {
    let options = Options { by: vec![Factor::Model], ..Options::default() };
    let comparison = compare(Planted::new(1, 8), Planted { decode: 1.3, ..Planted::new(2, 8) }, &options);
    assert_eq!(comparison.rows.len(), 6, "two models, three metrics");
    assert_eq!(calls(&comparison, "tpot.engine"), [Call::Slower; 2]);
}

#[test]
fn a_comparison_renders_in_every_form() {
    let comparison =
        compare(Planted::new(1, 8), Planted { decode: 1.2, ..Planted::new(2, 8) }, &Options::default());
    let text = compare::markdown(&comparison);
    assert!(text.starts_with("### Regression: "), "{text}");
    assert!(text.contains("backend candle") && text.contains("slower"));
    let findings = compare::findings(&comparison).expect("findings");
    assert!(chimera_report::html(&findings).contains("slower"));
    let json: serde_json::Value = serde_json::to_value(&comparison).expect("JSON");
    assert_eq!(json["outcome"], "regression");
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(12));
    assert!(json["rows"][0]["ratio"]["interval"]["low"].is_f64());
}
