//! The store and the plan. Goals: appending 50,000 trials a second or more, planning 100,000 trials in 200 ms or less,
//! reading 100,000 trials in 500 ms or less.
#![expect(missing_docs, reason = "criterion's macros make undocumented items")]
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{fmt::Write as _, hint::black_box, path::Path};

use chimera_core::{ClockSource, FinishReason};
use chimera_records::{
    Design, Factors, Lane, NewRun, Outcome, Overrides, Plan, RunDir, TokenStamps, Trial, TrialRole,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const TRIALS: u32 = 100_000;

/// A design of 1,000 cells and 99 blocks: with its first uses a little over 100,000 trials.
fn design() -> String {
    let mut text =
        String::from("schema = 1\nstudy = \"s\"\ntitle = \"t\"\nseed = 1\nblocks = 99\nmodel = [\n");
    for model in 0..10 {
        writeln!(text, "{{ id = \"m{model}\", source = \"m\", variant = \"f32\", family = \"f\" }},")
            .unwrap();
    }
    text.push_str(
        "]\nscenario = [{ id = \"s\", text = \"x\" }]\n[[grid]]\nid = \"g\"\nbackend = [\"sim\"]\n",
    );
    let list = |range: std::ops::Range<u32>, quote: &str| {
        range
            .map(|n| if quote.is_empty() { n.to_string() } else { format!("\"{quote}{n}\"") })
            .collect::<Vec<_>>()
            .join(", ")
    };
    writeln!(text, "model = [{}]\nscenario = [\"s\"]\ngen = [{}]", list(0..10, "m"), list(1..101, ""))
        .unwrap();
    text
}

fn run(parent: &Path, design: &str) -> RunDir {
    let overrides = Overrides::default();
    let (program, host) = Default::default();
    RunDir::create(parent, &NewRun { design, overrides: &overrides, shard: None, program, host }).unwrap()
}

/// A trial as a real run writes it.
fn trial(id: u32) -> Trial {
    let at = u64::from(id) * 40_000_000;
    Trial {
        id,
        block: id / 1_000,
        position: id % 1_000,
        attempt: 1,
        role: TrialRole::Measured,
        factors: Factors {
            backend: "candle".into(),
            model: "gpt2-100m".into(),
            scenario: "medium".into(),
            budget: 64,
            batch: 1,
            concurrency: 1,
            threads: 2,
        },
        firsts: Vec::new(),
        started_unix_ms: 1_700_000_000_000 + u64::from(id),
        outcome: Outcome::Completed,
        load_ns: None,
        stamps: ClockSource::Engine,
        lanes: vec![Lane {
            prompt_tokens: Some(17),
            cached_tokens: Some(0),
            generated: Some(64),
            finish: Some(FinishReason::Length),
            sent: Some(at),
            prompt_processed: Some(at + 1_090_123),
            first_token: Some(at + 1_090_123),
            last_token: Some(at + 30_900_123),
            done: Some(at + 30_900_200),
            output: Some("0123456789abcdef".into()),
            ..Lane::default()
        }],
        host: Some(chimera_records::HostNoise {
            cpu_pressure: Some(0.012_345),
            steal: Some(0.0),
            load1: Some(1.25),
        }),
        flags: Vec::new(),
    }
}

fn stamps(trial: u32) -> TokenStamps {
    let deltas = (0..63).map(|n| 470_000 + n * 17).collect();
    TokenStamps { trial, attempt: 1, lane: 0, first: u64::from(trial) * 40_000_000, deltas, carried: None }
}

fn plan(c: &mut Criterion) {
    let settings = Design::parse(&design()).unwrap().resolve(&Overrides::default()).unwrap();
    let planned = Plan::new(&settings).unwrap().len() as u64;
    assert!(planned >= u64::from(TRIALS) - 1_000, "{planned} trials");
    let mut group = c.benchmark_group("plan");
    group.throughput(Throughput::Elements(planned));
    group.sample_size(20);
    group.bench_function("100,000 trials", |b| b.iter(|| Plan::new(black_box(&settings)).unwrap()));
    group.finish();
}

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let text = design();
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    let (record, tokens) = (trial(7), [stamps(7)]);
    let mut writer = run(dir.path(), &text).writer().unwrap();
    group.bench_function("trial", |b| b.iter(|| writer.append(black_box(&record), &[]).unwrap()));
    let mut writer = run(dir.path(), &text).writer().unwrap();
    group.bench_function("trial with 64 token stamps", |b| {
        b.iter(|| writer.append(black_box(&record), black_box(&tokens)).unwrap());
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), &design());
    let mut writer = run.writer().unwrap();
    for id in 0..TRIALS {
        writer.append(&trial(id), &[stamps(id)]).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(u64::from(TRIALS)));
    group.sample_size(10);
    group.bench_function("100,000 trials", |b| {
        b.iter(|| {
            let read = run.read_trials().unwrap();
            assert_eq!(read.trials.len(), TRIALS as usize);
            read
        });
    });
    group.bench_function("token stamps of 100,000 trials", |b| {
        b.iter(|| run.events().unwrap().map(|stamps| stamps.unwrap().deltas.len()).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, plan, append, read);
criterion_main!(benches);
