//! The statistics. Goals: 100,000 resamples of a two-level bootstrap over 10 blocks of 1,000 requests in less than a second
//! on two cores; a summary of ten million values in 0.6 s; an exact Mann-Whitney of 25 against 25 in 10 ms. The comparison
//! with scipy is in `against_scipy.rs`.
#![expect(missing_docs, reason = "criterion's macros make undocumented items")]
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{hint::black_box, time::Duration};

use chimera_stats::bootstrap::{self, Centre};
use chimera_stats::hypothesis::{Alternative, RankNull, mann_whitney};
use chimera_stats::pcg64::Pcg64;
use chimera_stats::random::Resampling;
use chimera_stats::two_level::{self, Limits};
use chimera_stats::{Blocks, Sample, Summary};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Latencies: positive, skewed, all different.
fn latencies(n: usize, seed: u64) -> Vec<f64> {
    let mut generator = Pcg64::new(seed);
    let mut uniform = || (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    (0..n).map(|_| 20.0 - 5.0 * (1.0 - uniform()).ln()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn two_levels(c: &mut Criterion) {
    let blocks = Blocks::new((0..10).map(|seed| latencies(1_000, seed)).collect()).unwrap();
    let mut group = c.benchmark_group("two-level bootstrap, 10 blocks of 1,000");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    for limits in [Limits::Expanded, Limits::Plain] {
        group.bench_function(format!("mean, 100,000 resamples, {limits:?}"), |b| {
            b.iter(|| {
                two_level::mean(black_box(&blocks), Resampling::new(100_000, 1), limits, 0.95).unwrap()
            });
        });
    }
    group.bench_function("p99, 1,000 resamples", |b| {
        let resampling = Resampling::new(1_000, 1);
        b.iter(|| two_level::quantile(black_box(&blocks), 0.99, resampling, Limits::Expanded, 0.95).unwrap());
    });
    group.finish();
}

fn one_level(c: &mut Criterion) {
    let mut group = c.benchmark_group("bootstrap of a mean, 10,000 resamples");
    for n in [10, 1_000] {
        let values = latencies(n, 1);
        let sample = Sample::new(&values, "block").unwrap();
        let resampling = Resampling::new(10_000, 1);
        group.throughput(Throughput::Elements(10_000 * n as u64));
        group.sample_size(20);
        group.bench_with_input(BenchmarkId::new("percentile", n), &sample, |b, sample| {
            b.iter(|| bootstrap::percentile(*sample, mean, resampling, 0.95).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("percentile, by name", n), &sample, |b, sample| {
            b.iter(|| bootstrap::percentile_of(*sample, Centre::Mean, resampling, 0.95).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("BCa", n), &sample, |b, sample| {
            b.iter(|| bootstrap::bca(*sample, mean, resampling, 0.95).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("BCa, by name", n), &sample, |b, sample| {
            b.iter(|| bootstrap::bca_of(*sample, Centre::Mean, resampling, 0.95).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("bootstrap-t", n), &sample, |b, sample| {
            b.iter(|| bootstrap::mean_bootstrap_t(*sample, resampling, 0.95).unwrap());
        });
    }
    group.finish();
}

fn summary(c: &mut Criterion) {
    let values = latencies(10_000_000, 1);
    let mut group = c.benchmark_group("summary");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.bench_function("10 million values", |b| {
        b.iter(|| Summary::of(Sample::new(black_box(&values), "request").unwrap()).unwrap());
    });
    group.finish();
}

fn ranks(c: &mut Criterion) {
    let (a, b) = (latencies(25, 1), latencies(25, 2));
    let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
    c.bench_function("Mann-Whitney, exact, 25 v 25", |bencher| {
        bencher.iter(|| mann_whitney(a, b, Alternative::TwoSided, RankNull::Exact).unwrap());
    });
}

criterion_group!(benches, two_levels, one_level, summary, ranks);
criterion_main!(benches);
