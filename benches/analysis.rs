//! Analysis and rendering of a large run: from the files to the report, as `--stage analyse` does it.

#![expect(missing_docs, reason = "criterion's macros make undocumented items")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench may fail loudly and say what it saw"
)]

#[path = "../crates/chimera-studies/tests/tr121/common.rs"]
mod common;

use std::{fs::File, io::Write};

use chimera_records::{NewRun, RunDir};
use chimera_studies::{RunData, Study, Tr121};
use criterion::{Criterion, criterion_group, criterion_main};

/// Blocks that make about 100,000 trials of the default profile.
const BLOCKS: u32 = 1076;

fn law(model: &str, tokens: u32, block: u32) -> (f64, f64) {
    let size = common::parameters(model).sqrt() * common::wobble(model, block);
    (1e-7 * size * (1.0 + f64::from(tokens) * 0.05), 4e-7 * size)
}

fn analysis(criterion: &mut Criterion) {
    let run = common::run_blocks("default", Some(BLOCKS), &law);
    let dir = tempfile::tempdir().unwrap();
    // The directory is only a place for the records: its design is the published one, and the settings of the planted
    // run are used with what is read back.
    let new = NewRun {
        design: Tr121.design(),
        overrides: &run.settings.overrides,
        shard: None,
        program: run.manifest.program.clone(),
        host: run.manifest.host.clone(),
    };
    let on_disk = RunDir::create(dir.path(), &new).expect("a directory");
    let mut lines = Vec::new();
    for trial in &run.trials {
        serde_json::to_writer(&mut lines, trial).unwrap();
        lines.push(b'\n');
    }
    File::create(on_disk.path().join("trials.jsonl")).unwrap().write_all(&lines).unwrap();
    let (settings, manifest) = (run.settings.clone(), run.manifest.clone());
    let trials = run.trials.len();
    drop(run);

    let mut group = criterion.benchmark_group("analysis");
    group.sample_size(10);
    group.bench_function(format!("read, analyse and render {trials} trials"), |bencher| {
        bencher.iter(|| {
            let trials = on_disk.read_trials().expect("trials").trials;
            let data = RunData {
                settings: settings.clone(),
                manifest: manifest.clone(),
                trials,
                quality: Vec::new(),
                damage: Vec::new(),
            };
            let findings = Tr121.analyse(&data).expect("findings");
            chimera_report::write_all(&findings, dir.path()).expect("a report")
        });
    });
    group.finish();
    if let Some(peak) = chimera_telemetry::HostProbe::system().memory().peak_resident_bytes {
        println!("largest resident memory: {} MiB (the run's making included)", peak >> 20);
    }
}

criterion_group!(benches, analysis);
criterion_main!(benches);
