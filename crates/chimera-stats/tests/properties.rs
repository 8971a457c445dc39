//! Laws that hold whatever the data: shift, scale, order, and what no statistic may ever return.
#![expect(clippy::unwrap_used, reason = "test code")]

use chimera_stats::models::{Form, Regressor, compare};
use chimera_stats::random::Resampling;
use chimera_stats::rank::{mid_ranks, spearman};
use chimera_stats::regression::{influence, leave_one_out, multiple, ols, power_law, theil_sen};
use chimera_stats::{Blocks, Interval, Sample, bootstrap, intervals, ratio};
use proptest::prelude::*;

fn near(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-9 * scale.abs().max(a.abs()).max(b.abs())
}

fn size(values: &[f64]) -> f64 {
    values.iter().fold(1e-3_f64, |m, v| m.max(v.abs()))
}

fn map(values: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    values.iter().copied().map(f).collect()
}

fn values(n: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1e3..1e3_f64, n)
}

fn positive(n: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(1e-2..1e3_f64, n)
}

/// Points whose x are well apart, so that a slope is a stable number.
fn points() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (3_usize..12).prop_flat_map(|n| {
        let x = prop::collection::vec(0.1..2.0_f64, n).prop_map(|steps| {
            steps
                .iter()
                .scan(0.0, |at, step| {
                    *at += step;
                    Some(*at)
                })
                .collect()
        });
        (x, positive(n))
    })
}

fn interval_of(values: &[f64]) -> Interval {
    intervals::mean_t(Sample::new(values, "value").unwrap(), 0.9).unwrap().interval.unwrap()
}

proptest! {
    #[test]
    fn shift_and_scale_pass_through_a_sample(v in values(2..40), shift in -1e3..1e3_f64, scale in 0.01..100.0_f64) {
        let moved = map(&v, |x| shift + scale * x);
        let (a, b) = (Sample::new(&v, "value").unwrap(), Sample::new(&moved, "value").unwrap());
        let big = size(&moved) + scale * size(&v);
        prop_assert!(near(b.mean(), shift + scale * a.mean(), big));
        prop_assert!(near(b.median(), shift + scale * a.median(), big));
        prop_assert!(near(b.sd().unwrap(), scale * a.sd().unwrap(), big));
        prop_assert!(near(b.mad().unwrap(), scale * a.mad().unwrap(), big));
        let (i, j) = (interval_of(&v), interval_of(&moved));
        prop_assert!(near(j.low, shift + scale * i.low, 100.0 * big));
        prop_assert!(near(j.high, shift + scale * i.high, 100.0 * big));
    }

    #[test]
    fn order_does_not_matter(v in values(3..30), rotation in 0_usize..30) {
        let mut other = v.clone();
        other.rotate_left(rotation % v.len());
        other.reverse();
        let (a, b) = (Sample::new(&v, "value").unwrap(), Sample::new(&other, "value").unwrap());
        prop_assert!(near(a.mean(), b.mean(), size(&v)));
        prop_assert_eq!(a.sorted(), b.sorted());
        prop_assert!(near(a.sd().unwrap(), b.sd().unwrap(), 0.0));
        prop_assert!(near(a.skewness().unwrap(), b.skewness().unwrap(), 1.0));
    }

    #[test]
    fn quantiles_rise_and_stay_within(v in values(1..30), p in 0.0..1.0_f64, q in 0.0..1.0_f64) {
        let sample = Sample::new(&v, "value").unwrap();
        let sorted = sample.sorted();
        let (low, high) = (sorted.quantile(p.min(q)).unwrap(), sorted.quantile(p.max(q)).unwrap());
        prop_assert!(low <= high && sample.min() <= low && high <= sample.max());
        if let Some(i) = sorted.quantile_with_interval(p.max(1e-6), 0.9).unwrap().interval {
            let between = i.low <= sorted.quantile(p).unwrap() && sorted.quantile(p).unwrap() <= i.high;
            prop_assert!(between, "the point lies in its interval");
        }
    }

    #[test]
    fn means_keep_their_order(v in positive(1..30)) {
        let s = Sample::new(&v, "value").unwrap();
        let (h, g, a) = (s.harmonic_mean().unwrap(), s.geometric_mean().unwrap(), s.mean());
        let slack = 1.0 + 1e-12;
        prop_assert!(s.min() <= h * slack && h <= g * slack && g <= a * slack && a <= s.max() * slack);
    }

    #[test]
    fn a_ratio_and_its_inverse_say_the_same(a in positive(5), b in positive(5)) {
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        for f in [ratio::paired, ratio::unpaired] {
            let (up, down) = (f(a, b, 0.95).unwrap(), f(b, a, 0.95).unwrap());
            prop_assert!(near(up.point * down.point, 1.0, 1.0));
            prop_assert!(near(up.interval.unwrap().low * down.interval.unwrap().high, 1.0, 1.0));
        }
    }

    #[test]
    fn a_bootstrap_shifts_with_its_data(v in values(3..12), shift in -100.0..100.0_f64, seed: u64) {
        let moved = map(&v, |x| x + shift);
        let median = |v: &[f64]| Sample::new(v, "value").unwrap().median();
        let of = |v: &[f64]| {
            let sample = Sample::new(v, "value").unwrap();
            bootstrap::percentile(sample, median, Resampling::new(200, seed), 0.9).unwrap()
        };
        let (a, b) = (of(&v), of(&moved));
        prop_assert_eq!(&a, &of(&v));
        prop_assert!(near(a.interval.unwrap().low + shift, b.interval.unwrap().low, size(&v) + 100.0));
        prop_assert!(near(a.interval.unwrap().high + shift, b.interval.unwrap().high, size(&v) + 100.0));
    }

    #[test]
    fn a_line_moves_with_its_data((x, y) in points(), shift in -50.0..50.0_f64, scale in 0.1..10.0_f64) {
        let moved_x = map(&x, |v| shift + scale * v);
        let moved_y = map(&y, |v| shift + scale * v);
        let fit = ols(&x, &y, 0.95).unwrap();
        let stretched = ols(&moved_x, &y, 0.95).unwrap();
        let raised = ols(&x, &moved_y, 0.95).unwrap();
        let big = 1e3 * size(&y) * (1.0 + scale);
        prop_assert!(near(stretched.slope.value * scale, fit.slope.value, big));
        prop_assert!(near(raised.slope.value, fit.slope.value * scale, big));
        prop_assert!(near(raised.at(1.0), shift + scale * fit.at(1.0), big));
        if let (Some(a), Some(b)) = (fit.slope.p, stretched.slope.p) {
            prop_assert!((a - b).abs() < 1e-6 && (0.0..=1.0).contains(&a));
        }
        prop_assert!(fit.r_squared.is_none_or(|r| (0.0..=1.0).contains(&r)));
        let robust = (theil_sen(&x, &y, 0.95).unwrap(), theil_sen(&moved_x, &y, 0.95).unwrap());
        prop_assert!(near(robust.1.slope * scale, robust.0.slope, big));
    }

    #[test]
    fn leverages_sum_to_two_and_removal_agrees_with_the_hat((x, y) in points()) {
        let points = influence(&x, &y).unwrap();
        let total: f64 = points.iter().map(|p| p.leverage).sum();
        prop_assert!(near(total, 2.0, 0.0));
        let without = leave_one_out(&x, &y, 0.95).unwrap().without;
        for (point, left) in points.iter().zip(&without) {
            // The residual of a point from the line without it is e / (1 - h).
            let fit = left.fit.as_ref().unwrap();
            let outside = y[left.index] - fit.at(x[left.index]);
            prop_assert!(near(outside * (1.0 - point.leverage), point.residual, 1e2 * size(&y)));
        }
    }

    #[test]
    fn one_regressor_in_the_general_fit_is_the_line((x, y) in points()) {
        let (line, plane) = (ols(&x, &y, 0.95).unwrap(), multiple(&[&x], &y, 0.95).unwrap());
        let big = size(&y);
        prop_assert!(near(line.slope.value, plane.coefficients[0].value, big));
        prop_assert!(near(line.intercept.value, plane.intercept.value, big));
        prop_assert!(near(line.residual_sd.unwrap(), plane.residual_sd.unwrap(), big));
        prop_assert!(near(line.slope.standard_error.unwrap(), plane.coefficients[0].standard_error.unwrap(), big));
    }

    #[test]
    fn an_exponent_does_not_depend_on_units((x, y) in points(), scale in 1e-6..1e6_f64) {
        let law = power_law(&x, &y, 0.95).unwrap();
        let other = power_law(&map(&x, |v| v * scale), &map(&y, |v| v * scale), 0.95).unwrap();
        prop_assert!(near(law.exponent().value, other.exponent().value, 1e3));
        prop_assert!(near(law.at(2.0) * scale, other.at(2.0 * scale), 1e3 * law.at(2.0) * scale));
    }

    #[test]
    fn ranks_see_order_only(x in values(3..9), y in values(3..9)) {
        let n = x.len().min(y.len());
        let (x, y) = (&x[..n], &y[..n]);
        let a = spearman(x, y).unwrap();
        let b = spearman(&map(x, |v| (v / 300.0).exp()), y).unwrap();
        prop_assert_eq!(a, b);
        let mirrored = spearman(&map(x, |v| -v), y).unwrap();
        prop_assert!(near(mirrored.rho, -a.rho, 1.0) && mirrored.p == a.p);
        prop_assert!(a.smallest_p <= a.p && a.p <= 1.0);
        prop_assert_eq!(mid_ranks(x).iter().sum::<f64>(), (n * (n + 1)) as f64 / 2.0);
    }

    #[test]
    fn rivals_do_not_depend_on_units((x, y) in points(), scale in 1e-3..1e3_f64) {
        let forms = [Form::Linear, Form::Power];
        let of = |x: &[f64], y: &[f64]| compare(y, &[Regressor { name: "x", values: x }], &forms).unwrap();
        let a = of(&x, &y);
        let b = of(&map(&x, |v| v * scale), &map(&y, |v| v * scale));
        for rival in &a.rivals {
            let other = b.rivals.iter().find(|r| r.name == rival.name).unwrap();
            prop_assert!((rival.log_sse - other.log_sse).abs() <= 1e-7 * rival.log_sse.max(1e-6));
        }
        // Each curve with two parameters contains the constant.
        let constant = a.rivals.iter().find(|r| r.form == Form::Constant).unwrap();
        prop_assert!(a.rivals.iter().all(|r| r.log_sse <= constant.log_sse * (1.0 + 1e-9)));
    }

    #[test]
    fn blocks_group_by_key(v in values(1..40)) {
        let blocks = Blocks::group(v.iter().enumerate().map(|(i, v)| (i % 5, *v))).unwrap();
        prop_assert_eq!(blocks.replicates(), v.len());
        prop_assert_eq!(blocks.len(), v.len().min(5));
        let estimate = intervals::block_means(&blocks, 0.95).unwrap();
        prop_assert_eq!(estimate.n, blocks.len());
        prop_assert_eq!(estimate.interval.is_some(), blocks.len() >= intervals::MIN_BLOCKS);
    }
}
