//! Error rates of whole comparisons, of plans and of A/A splits, over many planted runs.

use chimera_records::Metric;
use chimera_studies::{
    aa,
    compare::{self, Call, Options, Outcome},
    planner::{self, Question},
};

use crate::common::Planted;

#[test]
fn a_comparison_of_equal_runs_cries_wolf_at_most_as_often_as_it_says() {
    const PAIRS: u64 = 400;
    let mut cried = 0_u32;
    for pair in 0..PAIRS {
        let (a, b) = (Planted::new(2 * pair, 8).run(), Planted::new(2 * pair + 1, 8).run());
        let comparison = compare::compare(&a, &b, &Options::default()).expect("a comparison");
        let called = |call| comparison.of(call).count() > 0;
        cried += u32::from(called(Call::Slower) || called(Call::Faster));
    }
    // 5 % and one point, and two and a half standard errors of this many pairs.
    let limit = 0.06 + 2.5 * (0.05_f64 * 0.95 / PAIRS as f64).sqrt();
    let rate = f64::from(cried) / PAIRS as f64;
    assert!(rate <= limit, "{cried} of {PAIRS} comparisons of equal runs call a change");
}

#[test]
fn the_planned_blocks_find_the_planned_effect() {
    const EFFECT: f64 = 0.05;
    let pilot = Planted { block_sd: 0.03, cell_sd: 0.02, ..Planted::new(7, 200) };
    let question = Question { effect: EFFECT, power: 0.9, metrics: vec![Metric::TpotEngine] };
    let plan = planner::plan(&pilot.run(), &question).expect("a plan");
    let blocks = plan.blocks.expect("a number of blocks");
    assert!(plan.blocks_cautious.expect("a number") >= blocks);
    assert!(plan.rows.iter().all(|row| row.needed <= row.needed_in_family));
    let blocks = u32::try_from(blocks).expect("few");
    let mut found = 0_u32;
    for pair in 0..200_u64 {
        let a = Planted { blocks, ..Planted { id: 1_000 + 2 * pair, ..pilot } };
        let b = Planted { id: a.id + 1, decode: 1.0 + EFFECT, ..a };
        let options = Options { metrics: vec![Metric::TpotEngine], ..Options::default() };
        let comparison = compare::compare(&a.run(), &b.run(), &options).expect("a comparison");
        found += comparison.of(Call::Slower).count() as u32;
    }
    // Four cells of each of 200 pairs. Cells of a block share its luck, so pairs count; two standard errors.
    let power = f64::from(found) / 800.0;
    assert!(power >= 0.9 - 2.0 * (0.09_f64 / 200.0).sqrt(), "power {power} with {blocks} blocks");
}

#[test]
fn equality_is_not_claimed_of_runs_that_differ_by_the_margin() {
    const PAIRS: u64 = 300;
    let mut wrong = 0_u32;
    for pair in 0..PAIRS {
        let quiet = Planted { block_sd: 0.006, cell_sd: 0.004, ..Planted::new(2 * pair, 8) };
        let off = Planted { id: quiet.id + 1, decode: 1.03, ..quiet };
        let options = Options { metrics: vec![Metric::TpotEngine], ..Options::default() };
        let comparison = compare::compare(&quiet.run(), &off.run(), &options).expect("a comparison");
        wrong += u32::from(comparison.of(Call::Equivalent).count() > 0);
    }
    let limit = 0.06 + 2.5 * (0.05_f64 * 0.95 / PAIRS as f64).sqrt();
    assert!(
        f64::from(wrong) / PAIRS as f64 <= limit,
        "{wrong} of {PAIRS} call a difference of the margin equal"
    );
}

#[test]
fn drift_is_seen_by_the_order_and_not_by_random_splits() {
    let failed = |id: u64| aa::aa(&[Planted::new(id, 12).run()], &[]).expect("rates").failed();
    let steady = (0..60).filter(|id| failed(*id)).count();
    assert!(steady <= 8, "{steady} of 60 steady machines are said to drift");
    let drifting = Planted { drift: 0.02, ..Planted::new(1, 12) };
    let rates = aa::aa(&[drifting.run()], &[]).expect("rates");
    assert!(rates.failed());
    for split in &rates.splits {
        assert!(split.halves > 0.9 && split.random < 0.15, "{split:?}");
        assert_eq!((split.splits, split.cells, split.blocks), (462, 4, 12));
        assert!(split.noise_floor > 0.0);
    }
    assert!(aa::markdown(&rates).contains("**Drift**"));
}

#[test]
fn random_splits_hold_alpha_on_average() {
    let mut random = 0.0;
    let mut family = 0.0;
    for id in 0..40 {
        let rates = aa::aa(&[Planted::new(id, 10).run()], &[Metric::TpotEngine]).expect("rates");
        random += rates.splits[0].random / 40.0;
        family += rates.splits[0].family / 40.0;
    }
    assert!((0.02..0.07).contains(&random), "{random}");
    assert!(family < 0.07, "{family}");
}

#[test]
fn runs_are_held_against_each_other() {
    let runs: Vec<_> = (0..5).map(|id| Planted::new(id, 6).run()).collect();
    let rates = aa::aa(&runs, &[]).expect("rates");
    let pairs = rates.pairs.as_ref().expect("pairs");
    assert_eq!((pairs.pairs, pairs.rows, pairs.family.n), (10, 120, 2));
    assert!(!rates.failed());
    let mut other = Planted::new(9, 6).run();
    other.manifest.host.cpu = Some("another".into());
    let refused = aa::aa(&[runs[0].clone(), other], &[]);
    assert!(refused.is_err_and(|error| error.to_string().contains("host")));
}

#[test]
fn too_few_blocks_are_refused_with_the_number_that_is_needed() {
    let short = Planted::new(1, 5).run();
    assert!(aa::aa(&[short], &[]).is_err_and(|error| error.to_string().contains("needs 6")));
    let question = Question { effect: 0.05, power: 0.9, metrics: Vec::new() };
    assert!(
        planner::plan(&Planted::new(1, 2).run(), &question)
            .is_err_and(|e| e.to_string().contains("three blocks"))
    );
    for (effect, power) in [(0.0, 0.9), (0.05, 1.0), (f64::NAN, 0.5)] {
        let question = Question { effect, power, metrics: Vec::new() };
        assert!(planner::plan(&Planted::new(1, 6).run(), &question).is_err());
    }
    let plan = planner::plan(&Planted::new(1, 6).run(), &question).expect("a plan");
    assert_eq!(plan.rows.len(), 12);
    assert!(planner::markdown(&plan).contains("blocks per run"));
    let comparison =
        compare::compare(&Planted::new(1, 6).run(), &Planted::new(2, 6).run(), &Options::default())
            .expect("one");
    assert_eq!(comparison.outcome, Outcome::NoRegression);
}
