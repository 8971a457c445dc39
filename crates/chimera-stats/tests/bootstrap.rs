//! The one-level bootstrap: a mean and a median by name are what they are as functions, and refusals say what is wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use chimera_stats::bootstrap::{self, Centre};
use chimera_stats::pcg64::Pcg64;
use chimera_stats::random::Resampling;
use chimera_stats::{Estimate, Sample, StatsError};

fn values(n: usize, offset: f64, scale: f64) -> Vec<f64> {
    let mut generator = Pcg64::new(n as u64);
    // Few different values, so that there are ties.
    (0..n).map(|_| offset + scale * f64::from(generator.below(3 + n as u32 / 2)).sqrt()).collect()
}

fn mean(values: &[f64]) -> f64 {
    Sample::new(values, "value").unwrap().mean()
}

fn median(values: &[f64]) -> f64 {
    Sample::new(values, "value").unwrap().median()
}

type Function = fn(&[f64]) -> f64;

const CENTRES: [(Centre, Function); 2] = [(Centre::Mean, mean), (Centre::Median, median)];

fn alike(by_name: &Estimate, by_function: &Estimate, size: f64) {
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-13 * size, "{by_name:?} and {by_function:?}");
    let (a, b) = (by_name.interval.unwrap(), by_function.interval.unwrap());
    close(by_name.point, by_function.point);
    close(by_name.standard_error.unwrap(), by_function.standard_error.unwrap());
    close(a.low, b.low);
    close(a.high, b.high);
    assert_eq!((&by_name.method, by_name.n), (&by_function.method, by_function.n));
}

#[test]
fn centres_by_name_are_centres_as_functions() {
    for n in [2, 3, 4, 9, 10, 57, 300] {
        for (offset, scale) in [(0.0, 1.0), (1e6, 1.0), (-5.0, 1e150), (1.0, 0.0), (0.0, 1e307 / n as f64)] {
            let values = values(n, offset, scale);
            let sample = Sample::new(&values, "block").unwrap();
            let size = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            for resampling in [Resampling::new(2_500, 3), Resampling::numpy(400, 3)] {
                for (centre, function) in CENTRES {
                    let by_name = bootstrap::percentile_of(sample, centre, resampling, 0.9).unwrap();
                    let by_function = bootstrap::percentile(sample, function, resampling, 0.9).unwrap();
                    alike(&by_name, &by_function, size);
                    let by_name = bootstrap::bca_of(sample, centre, resampling, 0.9).unwrap();
                    let by_function = bootstrap::bca(sample, function, resampling, 0.9).unwrap();
                    // The acceleration of a tiny spread is known to fewer digits from the function's values.
                    alike(&by_name, &by_function, 1e3 * size);
                }
            }
        }
    }
}

/// The jackknife is spread over threads here.
#[test]
fn a_long_jackknife_leaves_out_each_value_once() {
    let values = values(700, 3.0, 1.0);
    let sample = Sample::new(&values, "block").unwrap();
    let resampling = Resampling::new(300, 1);
    let total: f64 = values.iter().sum();
    let seen = std::sync::Mutex::new(Vec::new());
    let watching = |v: &[f64]| {
        if v.len() == 699 {
            seen.lock().unwrap().push(total - v.iter().sum::<f64>());
        }
        mean(v)
    };
    bootstrap::bca(sample, watching, resampling, 0.95).unwrap();
    let mut left_out = seen.into_inner().unwrap();
    left_out.sort_by(f64::total_cmp);
    let sorted = sample.sorted();
    assert_eq!(left_out.len(), 700);
    assert!(left_out.iter().zip(sorted.values()).all(|(a, b)| (a - b).abs() < 1e-9), "{left_out:?}");
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let one = Sample::new(&[1.0], "block").unwrap();
    let two = Sample::new(&[1.0, 2.0], "block").unwrap();
    let resampling = Resampling::new(200, 1);
    for centre in [Centre::Mean, Centre::Median] {
        for of in [bootstrap::percentile_of, bootstrap::bca_of] {
            assert!(matches!(of(one, centre, resampling, 0.95), Err(StatsError::TooFew { needed: 2, .. })));
            assert!(matches!(
                of(two, centre, Resampling::new(99, 1), 0.95),
                Err(StatsError::InvalidParameter { name: "resamples", .. })
            ));
            assert!(matches!(
                of(two, centre, resampling, 1.0),
                Err(StatsError::InvalidParameter { name: "level", .. })
            ));
        }
    }
    // The first resample whose statistic is no number is the one named, however many threads drew.
    let first_one = |v: &[f64]| if v == [1.0, 1.0] { f64::NAN } else { v[0] };
    let mut named = [0; 2];
    for index in &mut named {
        let Err(StatsError::NotFinite { index: found, .. }) =
            bootstrap::percentile(two, first_one, Resampling::new(5_000, 1), 0.9)
        else {
            unreachable!("a resample of the first value twice is not far off");
        };
        *index = found;
    }
    assert_eq!(named[0], named[1]);
}
