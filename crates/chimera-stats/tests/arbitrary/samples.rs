//! Samples, arms, groups, blocks, series, plans.

use chimera_stats::censored::KaplanMeier;
use chimera_stats::hypothesis::{self, Alternative, GroupNull, Margin, RankNull};
use chimera_stats::quantile::certifying_n;
use chimera_stats::series::{self, Criteria, Penalty};
use chimera_stats::two_level::{self, Limits};
use chimera_stats::{
    Blocks, Sample, Summary, bootstrap, diagnose, effect, intervals, power, ratio, ratio_of_sums, robust,
    variance,
};

use super::checks::{equivalence, estimate, finite, interval, optional, share, test, value};
use super::input::Input;

const SIDES: [Alternative; 3] = [Alternative::TwoSided, Alternative::Less, Alternative::Greater];
const NULLS: [RankNull; 3] = [RankNull::Auto, RankNull::Exact, RankNull::Normal { continuity: true }];

pub(super) fn describe(input: &mut Input<'_>) {
    let values = input.list(40);
    let Ok(sample) = Sample::new(&values, "value") else {
        assert!(values.is_empty() || values.iter().any(|v| !v.is_finite()));
        return;
    };
    for (what, result) in [
        ("mean", Ok(sample.mean())),
        ("median", Ok(sample.median())),
        ("sd", sample.sd()),
        ("variance", sample.variance()),
        ("standard error", sample.standard_error()),
        ("mad", sample.mad()),
        ("cv", sample.cv()),
        ("geometric mean", sample.geometric_mean()),
        ("harmonic mean", sample.harmonic_mean()),
        ("skewness", sample.skewness()),
    ] {
        value(what, result);
    }
    let (low, high) = (sample.min(), sample.max());
    // The last rounding of a mean may leave the range of its values by a unit in the last place.
    let rounding = f64::EPSILON * sample.mean().abs();
    assert!(low - rounding <= sample.mean() && sample.mean() - rounding <= high, "{values:?}");
    let sorted = sample.sorted();
    let p = input.probability();
    if let Ok(quantile) = sorted.quantile(p) {
        assert!(low <= quantile && quantile <= high, "{p}: {values:?}");
    }
    optional("certified", sorted.certified(p));
    estimate(sorted.quantile_with_interval(p, input.probability()));
    if let Ok(summary) = Summary::of(sample) {
        let quartiles = [summary.min, summary.q25, summary.median, summary.q75, summary.max];
        assert!(quartiles.is_sorted(), "{summary:?}");
        for optional_value in [summary.sd, summary.cv, summary.p90, summary.p99] {
            optional("summary", optional_value);
        }
    }
    let other = input.list(40);
    value("ratio of sums", ratio_of_sums(&values, &other));
    let _ = certifying_n(input.probability(), input.probability(), u32::from(input.byte()) % 8);
}

pub(super) fn one(input: &mut Input<'_>) {
    let values = input.finite(16);
    let level = input.probability();
    let resampling = input.resampling();
    let against = input.value();
    let Ok(sample) = Sample::new(&values, "block") else { return };
    estimate(intervals::mean_t(sample, level));
    estimate(intervals::geometric_mean_t(sample, level));
    estimate(intervals::over_blocks(sample, level));
    estimate(intervals::geometric_over_blocks(sample, level));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let last = |v: &[f64]| v[v.len() - 1];
    estimate(bootstrap::percentile(sample, mean, resampling, level));
    estimate(bootstrap::percentile(sample, last, resampling, level));
    estimate(bootstrap::bca(sample, mean, resampling, level));
    for centre in [bootstrap::Centre::Mean, bootstrap::Centre::Median] {
        estimate(bootstrap::percentile_of(sample, centre, resampling, level));
        estimate(bootstrap::bca_of(sample, centre, resampling, level));
    }
    estimate(bootstrap::bootstrap_t(sample, |v| (last(v), v[0].abs()), resampling, level));
    estimate(bootstrap::mean_bootstrap_t(sample, resampling, level));
    let trim = input.probability();
    estimate(robust::trimmed_mean(sample, trim, level));
    value("winsorised mean", robust::winsorised_mean(sample, trim));
    estimate(effect::hodges_lehmann_one(sample, level));
    let (low, high) = (input.value(), input.value());
    equivalence(hypothesis::equivalent_mean(sample, Margin { low, high }, 1.0 - level));
    for side in SIDES {
        test(hypothesis::one_sample_t(sample, against, side));
        test(hypothesis::sign(sample, against, side));
        test(hypothesis::skewness(sample, side));
        for null in NULLS {
            test(hypothesis::wilcoxon(sample, against, side, null));
        }
    }
    let n = input.count(40);
    if let Ok(Some(p)) = hypothesis::t_test_from(against, low, n) {
        share("t test", p);
    }
    if let Ok(Some(found)) = hypothesis::minimum_detectable(against, n, 1.0 - level, trim) {
        assert!(!found.is_nan(), "{against} {n} {level} {trim}");
    }
    for adjusted in [hypothesis::holm(&values), hypothesis::benjamini_hochberg(&values)].into_iter().flatten()
    {
        adjusted.into_iter().for_each(|p| share("adjusted p", p));
    }
}

pub(super) fn arms(input: &mut Input<'_>) {
    let (a, mut b) = (input.finite(14), input.finite(14));
    if input.flag() {
        b.resize(a.len(), 1.0);
    }
    let (level, resampling) = (input.probability(), input.resampling());
    let margin = match input.byte() % 3 {
        0 => Margin::ratio(input.value()),
        1 => Margin::difference(input.value()),
        _ => Margin { low: input.value(), high: input.value() },
    };
    let (Ok(x), Ok(y)) = (Sample::new(&a, "block"), Sample::new(&b, "block")) else { return };
    for side in SIDES {
        test(hypothesis::welch_t(x, y, side));
        test(hypothesis::student_t(x, y, side));
        test(hypothesis::paired_t(x, y, side));
        test(hypothesis::brunner_munzel(x, y, side));
        test(hypothesis::sign_paired(x, y, side));
        for null in NULLS {
            test(hypothesis::mann_whitney(x, y, side, null));
            test(hypothesis::wilcoxon_paired(x, y, side, null));
        }
    }
    let side = SIDES[usize::from(input.byte()) % 3];
    test(hypothesis::permutation(x, y, |a, b| a[0] - b[0], side, resampling));
    test(hypothesis::permutation_paired(x, y, |d| d[0], side, resampling));
    test(hypothesis::kolmogorov_smirnov(x, y));
    for equivalent in [
        hypothesis::equivalent_welch,
        hypothesis::equivalent_paired,
        hypothesis::equivalent_ratio,
        hypothesis::equivalent_paired_ratio,
    ] {
        equivalence(equivalent(x, y, margin, 1.0 - level));
    }
    for of in [
        effect::mean_difference_welch,
        effect::mean_difference_student,
        effect::mean_difference_paired,
        effect::cohen_d,
        effect::cohen_d_paired,
        effect::hedges_g,
        effect::hedges_g_paired,
        effect::cliff_delta,
        effect::hodges_lehmann,
        effect::hodges_lehmann_paired,
        ratio::of_sums,
        ratio::fieller,
        ratio::fieller_paired,
        ratio::paired,
        ratio::unpaired,
    ] {
        estimate(of(x, y, level));
    }
    let probabilities = [0.5, input.probability()];
    if let Ok(shifts) = effect::shift_function(x, y, &probabilities, resampling, level) {
        for shift in shifts {
            interval("shift", Some(shift.simultaneous));
            estimate(Ok(shift.difference));
        }
    }
}

pub(super) fn groups(input: &mut Input<'_>) {
    let mut lists = input.lists(5, 8);
    if input.flag() {
        let n = lists.first().map_or(0, Vec::len);
        lists.iter_mut().for_each(|list| list.resize(n, 0.0));
    }
    let groups: Vec<Sample<'_>> = lists.iter().filter_map(|v| Sample::new(v, "block").ok()).collect();
    for of in [
        hypothesis::one_way_anova,
        hypothesis::welch_anova,
        hypothesis::levene,
        hypothesis::brown_forsythe,
        hypothesis::kruskal_wallis,
        hypothesis::friedman,
    ] {
        test(of(&groups));
    }
    // The exact law counts millions of arrangements: now and then.
    let exact = if input.byte().is_multiple_of(16) { GroupNull::Exact } else { GroupNull::Auto };
    for null in [exact, GroupNull::ChiSquared] {
        test(hypothesis::kruskal_wallis_by(&groups, null));
        test(hypothesis::friedman_by(&groups, null));
    }
    for pairs in [hypothesis::friedman_conover, hypothesis::friedman_nemenyi, hypothesis::kruskal_dunn] {
        for pair in pairs(&groups).into_iter().flatten() {
            test(Ok(pair.test));
            if let Some(p) = pair.adjusted {
                share("adjusted p", p);
            }
        }
    }
    estimate(effect::eta_squared(&groups, input.probability()));
    let counts: Vec<Vec<u64>> = lists.iter().map(|v| v.iter().map(|v| *v as u64).collect()).collect();
    let rows: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    for yates in [false, true] {
        if let Ok(found) = hypothesis::chi_squared(&rows, yates) {
            test(Ok(found.test));
        }
    }
    if let (Some(counts), Some(shares)) = (counts.first(), lists.last())
        && let Ok(found) = hypothesis::chi_squared_fit(counts, shares)
    {
        test(Ok(found.test));
    }
    let table = [[0; 2]; 2].map(|row: [u64; 2]| row.map(|_| u64::from(input.byte())));
    for side in SIDES {
        test(hypothesis::fisher_exact(table, side));
    }
}

pub(super) fn blocks(input: &mut Input<'_>) {
    let lists = input.lists(6, 8);
    let others = input.lists(6, 8);
    let (level, p, resampling) = (input.probability(), input.probability(), input.resampling());
    let grouped = Blocks::group(lists.concat().into_iter().enumerate().map(|(i, v)| (i % 3, v)));
    let Ok(a) = Blocks::new(lists) else { return };
    let b = Blocks::new(others).or(grouped).unwrap_or_else(|_| a.clone());
    estimate(intervals::block_means(&a, level));
    estimate(intervals::block_medians(&a, level));
    for limits in [Limits::Plain, Limits::Expanded] {
        estimate(two_level::mean(&a, resampling, limits, level));
        estimate(two_level::quantile(&a, p, resampling, limits, level));
        estimate(two_level::ratio_of_sums(&a, &b, resampling, limits, level));
        estimate(two_level::ratio_of_sums(&a, &a, resampling, limits, level));
        estimate(two_level::mean_ratio(&a, &b, resampling, limits, level));
        estimate(two_level::quantile_ratio(&a, &b, p, resampling, limits, level));
    }
    let design = power::Design { blocks: input.count(6), requests: input.count(6), paired: input.flag() };
    let (costs, half_width, effect) =
        ([input.value(), input.value(), input.value()], input.value(), input.value());
    for components in [variance::two_level(&a), variance::three_level(&[a, b])].into_iter().flatten() {
        assert!(components.levels.iter().all(|l| l.variance >= 0.0 && l.moment.is_finite()));
        assert!((0.0..=1.0 + 1e-12).contains(&components.intraclass()), "{components:?}");
        if let Ok(plan) = variance::plan(&components, &costs[..components.levels.len()], half_width, level) {
            assert!(plan.half_width <= half_width && plan.repetitions.iter().all(|n| *n >= 1), "{plan:?}");
        }
        let noise = power::Noise::from_components(&components);
        estimate(power::power(noise, design, effect, 1.0 - level, resampling));
    }
}

pub(super) fn plans(input: &mut Input<'_>) {
    let noise = power::Noise { block_sd: input.value(), request_sd: input.value() };
    let design = power::Design { blocks: input.count(12), requests: input.count(20), paired: input.flag() };
    let (effect, alpha, power) = (input.value(), input.probability(), input.probability());
    let resampling = input.resampling();
    estimate(power::power(noise, design, effect, alpha, resampling));
    value("minimum detectable", power::minimum_detectable(noise, design, alpha, power, resampling));
    // The search for blocks doubles up to thousands: only now and then.
    if input.byte().is_multiple_of(32) {
        let found =
            power::required_blocks(noise, design.requests, design.paired, effect, alpha, power, resampling);
        if let Ok(Some(blocks)) = found {
            assert!((3..=power::MOST_BLOCKS).contains(&blocks));
        }
    }
}

pub(super) fn series(input: &mut Input<'_>) {
    let values = input.finite(24);
    let finished: Vec<bool> = (0..values.len()).map(|_| input.flag()).collect();
    let penalty = if input.flag() { Penalty::Modified } else { Penalty::Value(input.value()) };
    let (least, lags, alpha) = (input.count(6), input.count(30), input.probability());
    let resampling = input.resampling();
    let Ok(sample) = Sample::new(&values, "request") else { return };
    for null in NULLS {
        test(series::mann_kendall(sample, SIDES[lags % 3], null));
    }
    for warning in [diagnose::blocks(sample), diagnose::shape(sample)].into_iter().flatten().flatten() {
        assert!(!warning.to_string().is_empty());
    }
    if let Ok(found) = series::autocorrelation(sample, lags) {
        found.into_iter().for_each(|r| finite("autocorrelation", r));
    }
    if let Ok(size) = series::effective_size(sample) {
        finite("effective size", size.effective);
        finite("inflation", size.inflation);
    }
    if let Ok(stretches) = series::pelt(sample, penalty, least) {
        assert_eq!(stretches.iter().map(|s| s.end - s.start).sum::<usize>(), values.len());
        stretches.iter().for_each(|s| finite("stretch", s.mean));
    }
    if let Ok(changes) = series::e_divisive(sample, least, alpha, resampling) {
        for change in changes.changes {
            share("change", change.p);
            finite("change", change.statistic);
        }
    }
    let criteria =
        Criteria { tolerance: input.value(), least_share: input.probability(), least_values: least, penalty };
    for criteria in [criteria, Criteria::default()] {
        if let Ok(trimmed) = series::trim_warm_up(sample, criteria) {
            assert_eq!([trimmed.cut, trimmed.kept].concat(), values);
        }
        let _ = series::steady_state(sample, criteria);
    }
    for labels in [series::tukey_labels(sample), series::mad_labels(sample)].into_iter().flatten() {
        assert_eq!(labels.labels.len(), values.len());
        assert!(labels.outside().all(|i| i < values.len()));
    }
    if let Ok(curve) = KaplanMeier::new(sample, &finished) {
        share("survival", curve.survival_at(input.value()));
        if let Ok(Some(found)) = curve.quantile(input.probability(), input.probability()) {
            estimate(Ok(found));
        }
    }
}
