//! Lines, ranks, rival curves, crossings.

use chimera_stats::models::{self, Form, Regressor};
use chimera_stats::random::{Generator, Resampling};
use chimera_stats::rank::{kendall, mid_ranks, spearman};
use chimera_stats::regression::{
    Aggregator, DegenerateResamples, Level, Scale, Scheme, breaks_bootstrap, crossover,
    crossover_sensitivity, influence, leave_one_out, logs, multiple, ols, pairs_bootstrap_slope, power_law,
    segmented, slope, theil_sen, wls,
};
use chimera_stats::{Blocks, pcg64::Pcg64};

use super::checks::{coefficient, finite, fit, interval, optional, share, value};
use super::input::Input;

/// Two lists, mostly of one length.
fn points(input: &mut Input<'_>, most: usize) -> (Vec<f64>, Vec<f64>) {
    let (x, mut y) = (input.list(most), input.list(most));
    if input.byte() >= 16 {
        y.resize(x.len(), 1.5);
    }
    (x, y)
}

pub(super) fn lines(input: &mut Input<'_>) {
    let (x, y) = points(input, 14);
    let (level, resampling) = (input.probability(), input.resampling());
    value("slope", slope(&x, &y));
    if let Ok(line) = ols(&x, &y, level) {
        fit(&line);
        if let Ok(without) = leave_one_out(&x, &y, level) {
            without.without.iter().filter_map(|w| w.fit.as_ref()).for_each(fit);
            let _ = (without.slope_range(), without.deciding_points(&line, 1.0 - level));
        }
    }
    let weights = input.list(14);
    if let Ok(line) = wls(&x, &y, &weights, level) {
        fit(&line);
    }
    if let Ok(law) = power_law(&x, &y, level) {
        fit(&law.log_fit);
        assert!(!law.at(x[0]).is_nan() && !law.prefactor().is_nan());
        coefficient("exponent", law.exponent());
    }
    if let Ok(points) = influence(&x, &y) {
        for point in points {
            assert!((0.0..=1.0 + 1e-9).contains(&point.leverage), "{point:?}");
            finite("residual", point.residual);
            assert!(point.cooks_distance.is_none_or(|c| c >= 0.0), "{point:?}");
        }
    }
    if let Ok(line) = theil_sen(&x, &y, level) {
        finite("Theil-Sen", line.slope);
        finite("Theil-Sen", line.intercept);
        interval("Theil-Sen", line.interval);
    }
    for degenerate in [DegenerateResamples::Discard, DegenerateResamples::MinimumNorm] {
        if let Ok(found) = pairs_bootstrap_slope(&x, &y, resampling, degenerate, level) {
            finite("pairs", found.slope);
            interval("pairs", Some(found.interval));
        }
    }
    let third = input.list(14);
    if let Ok(plane) = multiple(&[&x, &third], &y, level) {
        plane.coefficients.iter().for_each(|c| coefficient("plane", c));
        coefficient("plane", &plane.intercept);
        optional("plane", plane.residual_sd);
    }
    if let Ok(found) = segmented(&x, &y, input.count(4), input.count(5), level) {
        assert_eq!(found.segments.iter().map(|s| s.fit.n).sum::<usize>(), x.len());
        found.segments.iter().for_each(|s| fit(&s.fit));
        assert!(!found.evidence().is_nan());
    }
    // A hundred fits: now and then.
    if input.byte().is_multiple_of(8)
        && let Ok(found) = breaks_bootstrap(&x, &y, input.count(3), 3, resampling, level)
    {
        share("same count", found.same_count);
        for found in found.breaks {
            finite("break", found.at);
            interval("break", found.interval);
            share("edge", found.edge);
        }
    }
    if let Ok(logs) = logs(&x) {
        logs.into_iter().for_each(|v| finite("log", v));
    }
    let regressors = [Regressor { name: "x", values: &x }, Regressor { name: "z", values: &third }];
    // Rival curves search from many starts, which takes milliseconds.
    if input.byte().is_multiple_of(16)
        && let Ok(found) = models::compare(&y, &regressors, &[Form::Linear, Form::Power, Form::OffsetPower])
    {
        let _ = found.chosen();
        for rival in found.rivals {
            assert!(rival.log_sse >= 0.0 && rival.log_sse.is_finite(), "{rival:?}");
            assert!(!rival.curve.at(x.first().copied().unwrap_or(1.0)).is_nan(), "{rival:?}");
        }
    }
}

pub(super) fn ranks_and_crossings(input: &mut Input<'_>) {
    // Up to nine points every order is enumerated: six are enough, now and then more than nine.
    let most = if input.flag() { 6 } else { 12 };
    let (mut x, mut y) = points(input, most);
    if (7..10).contains(&x.len()) {
        x.truncate(6);
        y.truncate(6);
    }
    if x.iter().all(|v| !v.is_nan()) {
        mid_ranks(&x).into_iter().for_each(|rank| finite("rank", rank));
    }
    if let Ok(tau) = kendall(&x, &y) {
        assert!((-1.0..=1.0).contains(&tau.tau), "{tau:?}");
        share("tau", tau.p);
        share("tau", tau.smallest_p);
    }
    if let Ok(rho) = spearman(&x, &y) {
        assert!((-1.0..=1.0).contains(&rho.rho), "{rho:?}");
        share("rho", rho.p);
    }
    let mut generator = Pcg64::new(u64::from(input.byte()));
    let below = u32::from(input.byte()) + 1;
    assert!(generator.below(below) < below);
    let levels: Vec<Level> = x
        .iter()
        .filter_map(|x| {
            let (a, b) = (Blocks::new(input.lists(3, 3)).ok()?, Blocks::new(input.lists(3, 3)).ok()?);
            Some(Level { x: *x, a, b })
        })
        .collect();
    let scale = if input.flag() { Scale::Linear } else { Scale::LogLog };
    let scheme = if input.flag() { Scheme::Case } else { Scheme::Hierarchical };
    let resampling = Resampling { resamples: 100, seed: 1, generator: Generator::default() };
    let level = input.probability();
    let all = [Aggregator::Mean, Aggregator::Median, Aggregator::TrimmedMean, Aggregator::Maximum];
    let aggregator = all[usize::from(input.byte()) % all.len()];
    if let Ok(found) = crossover(&levels, scale, aggregator, scheme, resampling, level) {
        optional("crossing", found.at);
        share("crossing", found.crossing);
        interval("crossing", found.interval);
    }
    if let Ok(found) = crossover_sensitivity(&levels, scale, scheme, resampling, level) {
        optional("spread of crossings", found.spread);
    }
}
