//! The one-level bootstrap beside `scipy.stats.bootstrap`: the same values, statistic, method and number of resamples, and
//! with numpy's generator the same resamples, whose limits must agree. One process of each, taking turns; what is printed
//! are ratios with their intervals. scipy gets the batch size with which it is fastest. Started by `cargo xtask
//! bench-stats`; needs a Python with scipy in CHIMERA_ORACLE_PYTHON.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench may fail loudly and say what it saw"
)]

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use chimera_stats::bootstrap::{self, Centre};
use chimera_stats::pcg64::Pcg64;
use chimera_stats::random::Resampling;
use chimera_stats::{Interval, Sample, StatsError, ratio};
use serde_json::{Value, json};

/// Turns that each side takes.
const TURNS: usize = 21;
/// Batch sizes that scipy may choose from: resamples held in memory at a time.
const BATCHES: [usize; 5] = [10, 50, 100, 1_000, 10_000];

#[derive(Clone, Copy)]
struct Case {
    n: usize,
    statistic: &'static str,
    method: &'static str,
    resamples: usize,
}

const CASES: [Case; 4] = [
    Case { n: 10, statistic: "mean", method: "percentile", resamples: 100_000 },
    Case { n: 10, statistic: "mean", method: "BCa", resamples: 100_000 },
    Case { n: 1_000, statistic: "mean", method: "percentile", resamples: 10_000 },
    Case { n: 1_000, statistic: "median", method: "percentile", resamples: 10_000 },
];

/// scipy in a process of its own.
struct Scipy {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Scipy {
    fn start(python: &str) -> (Self, Value) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scipy_bootstrap.py");
        let mut child = Command::new(python)
            .arg("-B")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python that CHIMERA_ORACLE_PYTHON names");
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut scipy = Self { child, to, from };
        let versions = scipy.read();
        (scipy, versions)
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("an answer of scipy")
    }

    /// Seconds and limits of one bootstrap.
    fn bootstrap(
        &mut self,
        case: Case,
        values: &[f64],
        batch: usize,
        vectorized: bool,
        seed: u64,
    ) -> (f64, [f64; 2]) {
        let request = json!({
            "values": values, "statistic": case.statistic, "method": case.method, "resamples": case.resamples,
            "batch": batch, "vectorized": vectorized, "seed": seed,
        });
        writeln!(self.to, "{request}").unwrap();
        let answer = self.read();
        let number = |key: &str| answer[key].as_f64().unwrap();
        (number("seconds"), [number("low"), number("high")])
    }
}

impl Drop for Scipy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In eight sums, as numpy's.
fn mean(values: &[f64]) -> f64 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, v)| *sum += v);
    }
    (sums.iter().sum::<f64>() + rest.iter().sum::<f64>()) / values.len() as f64
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    lower + (upper - lower) / 2.0
}

/// Seconds and limits of ours, the statistic by its name or as a function.
fn ours(case: Case, values: &[f64], resampling: Resampling, by_name: bool) -> (f64, [f64; 2]) {
    let sample = Sample::new(black_box(values), "block").unwrap();
    let (centre, function): (_, fn(&[f64]) -> f64) =
        if case.statistic == "mean" { (Centre::Mean, mean) } else { (Centre::Median, median) };
    let start = Instant::now();
    let found: Result<_, StatsError> = match (case.method, by_name) {
        ("BCa", true) => bootstrap::bca_of(sample, centre, resampling, 0.95),
        ("BCa", false) => bootstrap::bca(sample, function, resampling, 0.95),
        (_, true) => bootstrap::percentile_of(sample, centre, resampling, 0.95),
        (_, false) => bootstrap::percentile(sample, function, resampling, 0.95),
    };
    let interval: Interval = found.unwrap().interval.unwrap();
    (start.elapsed().as_secs_f64(), [interval.low, interval.high])
}

/// scipy's time over ours, with its interval over the turns.
fn ratio_of(scipy: &[f64], ours: &[f64]) -> String {
    let (scipy, ours) = (Sample::new(scipy, "turn").unwrap(), Sample::new(ours, "turn").unwrap());
    let estimate = ratio::paired(scipy, ours, 0.95).unwrap();
    let interval = estimate.interval.unwrap();
    format!("{:.1} [{:.1}, {:.1}]", estimate.point, interval.low, interval.high)
}

fn main() {
    let Ok(python) = std::env::var("CHIMERA_ORACLE_PYTHON") else {
        println!("SKIP: no Python with the reference packages (CHIMERA_ORACLE_PYTHON names it)");
        return;
    };
    let (mut scipy, versions) = Scipy::start(&python);
    println!(
        "Time of scipy.stats.bootstrap {} (numpy {}) over that of ours, {TURNS} turns each, 95 % interval over turns:\n",
        versions["scipy"].as_str().unwrap_or("?"),
        versions["numpy"].as_str().unwrap_or("?"),
    );
    println!(
        "| values, statistic, method, resamples | batch | vectorised / by name, numpy's draws | vectorised / by name | \
         vectorised / by function, numpy's draws | not vectorised / by function |\n|---|--:|--:|--:|--:|--:|"
    );
    for case in CASES {
        let mut generator = Pcg64::new(7);
        let values: Vec<f64> =
            (0..case.n).map(|_| 20.0 + (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64).collect();
        // The second of two calls: the first may pay for memory.
        let mut time = |batch: usize| {
            scipy.bootstrap(case, &values, batch, true, 0);
            scipy.bootstrap(case, &values, batch, true, 0).0
        };
        let timed = BATCHES.map(|batch| (batch, time(batch)));
        let batch = timed.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1_000, |(batch, _)| batch);
        let mut seconds: [Vec<f64>; 6] = Default::default();
        for turn in 0..TURNS {
            // Who goes first changes from turn to turn.
            for place in 0..6 {
                let side = (turn + place) % 6;
                let seed = turn as u64;
                let own = Resampling::new(case.resamples, seed);
                let on_numpy = Resampling::numpy(case.resamples, seed);
                let (took, limits) = match side {
                    0 => ours(case, &values, on_numpy, true),
                    1 => ours(case, &values, own, true),
                    2 => ours(case, &values, on_numpy, false),
                    3 => ours(case, &values, own, false),
                    4 => scipy.bootstrap(case, &values, batch, true, seed),
                    _ => scipy.bootstrap(case, &values, batch, false, seed),
                };
                seconds[side].push(took);
                if side == 0 || side == 2 {
                    let (_, theirs) = scipy.bootstrap(case, &values, batch, true, seed);
                    let same = limits.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs());
                    // scipy's BCa counts ties of rounded means as misses; its limits differ by that.
                    assert!(same || case.method == "BCa", "{limits:?} and {theirs:?} of scipy");
                }
            }
        }
        let [named_on_numpy, named, on_numpy, own, vectorised, plain] = &seconds;
        println!(
            "| {}, {}, {}, {} | {batch} | {} | {} | {} | {} |",
            case.n,
            case.statistic,
            case.method,
            case.resamples,
            ratio_of(vectorised, named_on_numpy),
            ratio_of(vectorised, named),
            ratio_of(vectorised, on_numpy),
            ratio_of(plain, own),
        );
    }
}
