//! Laws of comparisons: they see differences, not units; exchanged arms turn the answer round; a larger effect is never
//! less significant; the order of independent values does not matter.
#![expect(clippy::unwrap_used, reason = "test code")]

use chimera_stats::hypothesis::{self, Alternative, RankNull, Test};
use chimera_stats::random::Resampling;
use chimera_stats::series::{self, Penalty};
use chimera_stats::two_level::{self, Limits};
use chimera_stats::{Blocks, Sample, StatsError, effect, variance};
use proptest::prelude::*;

type ArmTest = fn(Sample<'_>, Sample<'_>, Alternative) -> Result<Test, StatsError>;

fn exact_u(a: Sample<'_>, b: Sample<'_>, side: Alternative) -> Result<Test, StatsError> {
    hypothesis::mann_whitney(a, b, side, RankNull::Exact)
}

fn normal_u(a: Sample<'_>, b: Sample<'_>, side: Alternative) -> Result<Test, StatsError> {
    hypothesis::mann_whitney(a, b, side, RankNull::Normal { continuity: true })
}

fn signed_rank(a: Sample<'_>, b: Sample<'_>, side: Alternative) -> Result<Test, StatsError> {
    hypothesis::wilcoxon_paired(a, b, side, RankNull::Exact)
}

fn drawn(a: Sample<'_>, b: Sample<'_>, side: Alternative) -> Result<Test, StatsError> {
    let gap = |a: &[f64], b: &[f64]| {
        a.iter().sum::<f64>() / a.len() as f64 - b.iter().sum::<f64>() / b.len() as f64
    };
    hypothesis::permutation(a, b, gap, side, Resampling::new(5_000, 1))
}

const TESTS: [(&str, ArmTest); 9] = [
    ("Welch", hypothesis::welch_t),
    ("Student", hypothesis::student_t),
    ("paired", hypothesis::paired_t),
    ("exact U", exact_u),
    ("normal U", normal_u),
    ("Brunner-Munzel", hypothesis::brunner_munzel),
    ("signed rank", signed_rank),
    ("sign", hypothesis::sign_paired),
    ("permutation", drawn),
];

/// Whole numbers, so that shifts and scales by powers of two keep every tie and every digit.
fn arm() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-40_i32..40).prop_map(f64::from), 6)
}

fn p(test: ArmTest, a: &[f64], b: &[f64], side: Alternative) -> Option<f64> {
    test(Sample::new(a, "block").unwrap(), Sample::new(b, "block").unwrap(), side).unwrap().p(1.0).ok()
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-12,
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn units_do_not_matter(a in arm(), b in arm(), shift in -64_i32..64, power in -20_i32..20) {
        let scale = f64::from(power).exp2();
        let moved = |v: &[f64]| -> Vec<f64> { v.iter().map(|v| scale * (v + f64::from(shift))).collect() };
        for (name, test) in TESTS {
            let there = p(test, &a, &b, Alternative::TwoSided);
            let moved = p(test, &moved(&a), &moved(&b), Alternative::TwoSided);
            prop_assert!(close(there, moved), "{name}: {there:?} and {moved:?}");
        }
    }

    #[test]
    fn exchanged_arms_turn_the_answer_round(a in arm(), b in arm()) {
        for (name, test) in TESTS {
            let less = p(test, &a, &b, Alternative::Less);
            let greater = p(test, &b, &a, Alternative::Greater);
            prop_assert!(close(less, greater), "{name}: {less:?} and {greater:?}");
            let (there, back) =
                (p(test, &a, &b, Alternative::TwoSided), p(test, &b, &a, Alternative::TwoSided));
            prop_assert!(close(there, back), "{name}");
        }
    }

    #[test]
    fn a_larger_effect_is_never_less_significant(a in arm(), b in arm(), step in 1_i32..30) {
        let raised: Vec<f64> = b.iter().map(|v| v + f64::from(step)).collect();
        for (name, test) in TESTS {
            // Zeros that a signed test leaves out change its n, and Brunner and Munzel's noise is the overlap itself.
            if matches!(name, "signed rank" | "sign" | "Brunner-Munzel") {
                continue;
            }
            let before = p(test, &a, &b, Alternative::Less);
            let after = p(test, &a, &raised, Alternative::Less);
            if let (Some(before), Some(after)) = (before, after) {
                // Ties that come or go move the normal approximation's spread a little.
                let slack = if name == "normal U" { 0.05 } else { 1e-9 };
                prop_assert!(after <= before + slack, "{name}: {before} to {after}");
            }
        }
    }

    #[test]
    fn order_within_arms_does_not_matter(a in arm(), b in arm(), turn in 1_usize..6) {
        let turned = |v: &[f64]| { let mut v = v.to_vec(); v.rotate_left(turn); v };
        for (name, test) in TESTS {
            // Pairs turn together.
            let there = p(test, &a, &b, Alternative::TwoSided);
            prop_assert!(close(there, p(test, &turned(&a), &turned(&b), Alternative::TwoSided)), "{name}");
        }
    }

    #[test]
    fn adjusted_p_keep_their_order_and_holm_is_the_stricter(p in prop::collection::vec(0.0..1.0_f64, 1..20)) {
        let (holm, bh) = (hypothesis::holm(&p).unwrap(), hypothesis::benjamini_hochberg(&p).unwrap());
        for i in 0..p.len() {
            prop_assert!(p[i] <= bh[i] + 1e-15 && bh[i] <= holm[i] + 1e-15);
            for j in 0..p.len() {
                prop_assert!(p[i] > p[j] || (holm[i] <= holm[j] && bh[i] <= bh[j]));
            }
        }
    }

    #[test]
    fn effects_without_a_unit_have_none(a in arm(), b in arm(), shift in -64_i32..64, power in -20_i32..20) {
        let scale = f64::from(power).exp2();
        let moved = |v: &[f64]| -> Vec<f64> { v.iter().map(|v| scale * (v + f64::from(shift))).collect() };
        let (ma, mb) = (moved(&a), moved(&b));
        let sample = |v| Sample::new(v, "block").unwrap();
        for effect in [effect::cohen_d, effect::hedges_g, effect::cliff_delta] {
            let (there, moved) = (effect(sample(&a), sample(&b), 0.9), effect(sample(&ma), sample(&mb), 0.9));
            if let (Ok(there), Ok(moved)) = (there, moved) {
                prop_assert!((there.point - moved.point).abs() < 1e-9);
                let (i, j) = (there.interval, moved.interval);
                prop_assert!(i.zip(j).is_none_or(|(i, j)| (i.low - j.low).abs() < 1e-8));
            }
        }
        // One with the unit of the data moves with it.
        let there = effect::hodges_lehmann(sample(&a), sample(&b), 0.9).unwrap();
        let moved = effect::hodges_lehmann(sample(&ma), sample(&mb), 0.9).unwrap();
        prop_assert_eq!(scale * there.point, moved.point);
        prop_assert_eq!(there.interval.map(|i| i.map(|v| v * scale)).map(|i| (i.low, i.high)), moved.interval.map(|i| (i.low, i.high)));
    }

    #[test]
    fn blocks_and_series_move_with_their_data(v in prop::collection::vec(arm(), 3..6), shift in -64_i32..64) {
        let shift = f64::from(shift);
        let moved: Vec<Vec<f64>> = v.iter().map(|b| b.iter().map(|v| 4.0 * (v + shift)).collect()).collect();
        let (there, here) = (Blocks::new(v.clone()).unwrap(), Blocks::new(moved.clone()).unwrap());
        let of = |b: &Blocks| two_level::quantile(b, 0.75, Resampling::new(100, 3), Limits::Plain, 0.9).unwrap();
        let (i, j) = (of(&there).interval.unwrap(), of(&here).interval.unwrap());
        prop_assert!((4.0 * (i.low + shift) - j.low).abs() < 1e-9 && (4.0 * (i.high + shift) - j.high).abs() < 1e-9);
        let (i, j) = (variance::two_level(&there).unwrap(), variance::two_level(&here).unwrap());
        for (i, j) in i.levels.iter().zip(&j.levels) {
            prop_assert!((16.0 * i.moment - j.moment).abs() < 1e-9 * (1.0 + j.mean_square));
        }
        let (one, other) = (v.concat(), moved.concat());
        let ends = |v: &[f64]| -> Vec<usize> {
            let stretches = series::pelt(Sample::new(v, "request").unwrap(), Penalty::Modified, 3).unwrap();
            stretches.iter().map(|s| s.end).collect()
        };
        prop_assert_eq!(ends(&one), ends(&other));
    }
}
