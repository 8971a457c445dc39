//! Whatever finite values come in: no panic, no NaN, no p outside 0 to 1, no interval upside down. What cannot be computed
//! is a typed error or an absence.

use chimera_stats::censored::KaplanMeier;
use chimera_stats::hypothesis::{self, Alternative, Margin, RankNull, Test};
use chimera_stats::random::Resampling;
use chimera_stats::rank::{kendall, spearman};
use chimera_stats::regression::{Aggregator, Level, Scale, Scheme, breaks_bootstrap, crossover, segmented};
use chimera_stats::series::{self, Criteria, Penalty};
use chimera_stats::two_level::{self, Limits};
use chimera_stats::{Blocks, Estimate, Sample, StatsError, diagnose, effect, power, ratio, robust, variance};
use proptest::prelude::*;

/// Values of all sizes, with ties, and with spreads at the edge of rounding.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -3_i32..4,
        1 => Just(0),
    ]
    .prop_map(f64::from)
    .boxed()
    .prop_union(any::<f64>().prop_filter("finite", |v| v.is_finite()).boxed())
    .or((-1e3..1e3_f64).boxed())
    .or(prop_oneof![Just(1e9), Just(1e9 + 1e-6), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(-0.0)].boxed())
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let any = prop::collection::vec(value(), 1..14);
    // One value over and over, but for a few that differ by anything or by next to nothing.
    let constant =
        (value(), prop::collection::vec(prop_oneof![6 => Just(None), 1 => value().prop_map(Some)], 1..14))
            .prop_map(|(common, others)| others.into_iter().map(|other| other.unwrap_or(common)).collect());
    let close = (value(), prop::collection::vec(-3_i32..4, 1..14)).prop_map(|(centre, steps)| {
        steps.into_iter().map(|k| (centre * (1.0 + f64::from(k) * 1e-15)).clamp(f64::MIN, f64::MAX)).collect()
    });
    prop_oneof![any, constant, close]
}

fn test(result: Result<Test, StatsError>) {
    let Ok(test) = result else { return };
    if let Ok(p) = test.p(0.05) {
        assert!((0.0..=1.0).contains(&p), "{}: {p}", test.name);
        assert!(test.statistic.is_some_and(f64::is_finite), "{}", test.name);
    }
    if let Some(smallest) = test.smallest_p() {
        assert!((0.0..=1.0).contains(&smallest), "{}: {smallest}", test.name);
    }
}

fn estimate(result: Result<Estimate, StatsError>) {
    let Ok(estimate) = result else { return };
    assert!(estimate.point.is_finite(), "{estimate:?}");
    assert!(estimate.standard_error.is_none_or(|se| se >= 0.0), "{estimate:?}");
    if let Some(i) = estimate.interval {
        assert!(i.low <= i.high, "{estimate:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tests_of_arms(a in values(), b in values(), against in value()) {
        let (x, y) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        let drawn = Resampling::new(150, 1);
        for side in [Alternative::TwoSided, Alternative::Less, Alternative::Greater] {
            test(hypothesis::one_sample_t(x, against, side));
            test(hypothesis::welch_t(x, y, side));
            test(hypothesis::student_t(x, y, side));
            test(hypothesis::paired_t(x, y, side));
            test(hypothesis::brunner_munzel(x, y, side));
            test(hypothesis::sign(x, against, side));
            test(hypothesis::sign_paired(x, y, side));
            for null in [RankNull::Exact, RankNull::Normal { continuity: true }] {
                test(hypothesis::mann_whitney(x, y, side, null));
                test(hypothesis::wilcoxon(x, against, side, null));
                test(hypothesis::wilcoxon_paired(x, y, side, null));
            }
            test(hypothesis::permutation(x, y, |a, b| a[0] - b[0], side, drawn));
            test(hypothesis::permutation_paired(x, y, |d| d[0], side, drawn));
        }
        test(hypothesis::kolmogorov_smirnov(x, y));
        let groups = [x, y, Sample::new(&a[..1 + a.len() / 2], "block").unwrap()];
        for group_test in [
            hypothesis::one_way_anova, hypothesis::welch_anova, hypothesis::levene,
            hypothesis::brown_forsythe, hypothesis::kruskal_wallis, hypothesis::friedman,
        ] {
            test(group_test(&groups));
        }
        for pairs in [hypothesis::friedman_conover, hypothesis::friedman_nemenyi, hypothesis::kruskal_dunn] {
            for pair in pairs(&groups).into_iter().flatten() {
                prop_assert!(pair.adjusted.is_none_or(|p| (0.0..=1.0).contains(&p)));
                test(Ok(pair.test));
            }
        }
        for margin in [Margin::difference(against.abs()), Margin::ratio(0.03)] {
            let results = [
                hypothesis::equivalent_welch(x, y, margin, 0.05),
                hypothesis::equivalent_paired(x, y, margin, 0.05),
                hypothesis::equivalent_ratio(x, y, margin, 0.05),
            ];
            for result in results.into_iter().flatten() {
                prop_assert!(result.p().is_err() || result.p().is_ok_and(|p| (0.0..=1.0).contains(&p)));
                estimate(Ok(result.estimate));
            }
        }
        estimate(effect::eta_squared(&groups, 0.9));
    }

    #[test]
    fn effects_and_ratios(a in values(), b in values()) {
        let (x, y) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        for effect in [
            effect::mean_difference_welch, effect::mean_difference_student, effect::mean_difference_paired,
            effect::cohen_d, effect::cohen_d_paired, effect::hedges_g, effect::hedges_g_paired,
            effect::cliff_delta, effect::hodges_lehmann, effect::hodges_lehmann_paired,
            ratio::of_sums, ratio::fieller, ratio::fieller_paired, ratio::paired, ratio::unpaired,
        ] {
            estimate(effect(x, y, 0.95));
        }
        estimate(effect::hodges_lehmann_one(x, 0.95));
        if let Ok(shifts) = effect::shift_function(x, y, &[0.1, 0.5], Resampling::new(100, 1), 0.95) {
            shifts.into_iter().for_each(|shift| estimate(Ok(shift.difference)));
        }
        for share in [0.0, 0.2, 0.49] {
            estimate(robust::trimmed_mean(x, share, 0.95));
            prop_assert!(robust::winsorised_mean(x, share).unwrap().is_finite());
        }
    }

    #[test]
    fn blocks_of_anything(blocks in prop::collection::vec(values(), 1..6)) {
        let blocks = Blocks::new(blocks).unwrap();
        let drawn = Resampling::new(100, 1);
        for limits in [Limits::Plain, Limits::Expanded] {
            estimate(two_level::mean(&blocks, drawn, limits, 0.95));
            estimate(two_level::quantile(&blocks, 0.9, drawn, limits, 0.95));
            estimate(two_level::ratio_of_sums(&blocks, &blocks, drawn, limits, 0.95));
            estimate(two_level::mean_ratio(&blocks, &blocks, drawn, limits, 0.95));
            estimate(two_level::quantile_ratio(&blocks, &blocks, 0.5, drawn, limits, 0.95));
        }
        let components = [variance::two_level(&blocks), variance::three_level(&[blocks.clone(), blocks])];
        for components in components.into_iter().flatten() {
            prop_assert!(components.levels.iter().all(|l| l.variance >= 0.0 && l.moment.is_finite()));
            prop_assert!((0.0..=1.0 + 1e-12).contains(&components.intraclass()));
            let costs = vec![3.0; components.levels.len()];
            if let Ok(plan) = variance::plan(&components, &costs, 0.5, 0.95) {
                prop_assert!(plan.half_width <= 0.5 && plan.repetitions.iter().all(|n| *n >= 1));
            }
            let design = power::Design { blocks: 4, requests: 3, paired: false };
            estimate(power::power(power::Noise::from_components(&components), design, 1.0, 0.05, drawn));
        }
    }

    #[test]
    fn series_of_anything(v in values(), finished in prop::collection::vec(any::<bool>(), 14)) {
        let sample = Sample::new(&v, "request").unwrap();
        if let Ok(fit) = KaplanMeier::new(sample, &finished[..v.len()]) {
            prop_assert!(fit.steps.iter().all(|s| (0.0..=1.0).contains(&s.survival)));
            for p in [0.1, 0.5, 0.99] {
                if let Some(quantile) = fit.quantile(p, 0.95).unwrap() {
                    estimate(Ok(quantile));
                }
            }
        }
        for null in [RankNull::Exact, RankNull::Normal { continuity: true }] {
            test(series::mann_kendall(sample, Alternative::TwoSided, null));
        }
        test(hypothesis::skewness(sample, Alternative::Greater));
        if let Ok(warnings) = diagnose::blocks(sample) {
            prop_assert!(warnings.iter().all(|w| !w.to_string().contains("NaN")), "{:?}", warnings);
        }
        if let Ok(size) = series::effective_size(sample) {
            prop_assert!(size.effective > 0.0 && size.effective <= v.len() as f64);
        }
        for least in [1, 2] {
            if let Ok(stretches) = series::pelt(sample, Penalty::Modified, least) {
                prop_assert_eq!(stretches.iter().map(|s| s.end - s.start).sum::<usize>(), v.len());
                prop_assert!(stretches.iter().all(|s| s.end - s.start >= least));
            }
        }
        if let Ok(changes) = series::e_divisive(sample, 2, 0.05, Resampling::new(100, 1)) {
            prop_assert!(changes.changes.iter().all(|c| c.p > 0.0 && c.p <= 0.05 && c.statistic.is_finite()));
        }
        if let Ok(trimmed) = series::trim_warm_up(sample, Criteria::default()) {
            prop_assert_eq!([trimmed.cut, trimmed.kept].concat(), v.clone());
        }
        for labels in [series::tukey_labels(sample), series::mad_labels(sample)].into_iter().flatten() {
            prop_assert_eq!(labels.labels.len(), v.len());
        }
    }

    #[test]
    fn lines_of_anything(points in prop::collection::vec((value(), value()), 1..14)) {
        let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
        if let Ok(tau) = kendall(&x[..x.len().min(7)], &y[..x.len().min(7)]) {
            prop_assert!((-1.0..=1.0).contains(&tau.tau) && (0.0..=1.0).contains(&tau.p));
            prop_assert!(tau.p >= tau.smallest_p * (1.0 - 1e-12));
            estimate(tau.estimate(0.95));
        }
        if let Ok(rho) = spearman(&x[..x.len().min(7)], &y[..x.len().min(7)]) {
            prop_assert!((-1.0..=1.0).contains(&rho.rho));
            estimate(rho.estimate(0.95));
        }
        if let Ok(found) = segmented(&x, &y, 3, 3, 0.95) {
            prop_assert_eq!(found.segments.iter().map(|s| s.fit.n).sum::<usize>(), x.len());
        }
        if let Ok(found) = breaks_bootstrap(&x, &y, 2, 3, Resampling::new(100, 1), 0.95) {
            for place in found.breaks {
                prop_assert!(place.interval.is_none_or(|i| i.low <= i.high) && place.edge <= 1.0);
            }
        }
        let blocks = |v: f64| Blocks::new(vec![vec![v, 1.0], vec![2.0, v]]).unwrap();
        let levels: Vec<Level> =
            x.iter().zip(&y).map(|(x, y)| Level { x: *x, a: blocks(*y), b: blocks(1.5) }).collect();
        for scale in [Scale::Linear, Scale::LogLog] {
            for scheme in [Scheme::Case, Scheme::Hierarchical] {
                let found = crossover(&levels, scale, Aggregator::Median, scheme, Resampling::new(100, 1), 0.9);
                if let Ok(found) = found {
                    prop_assert!(found.at.is_none_or(f64::is_finite) && found.crossing <= 1.0);
                }
            }
        }
    }
}
