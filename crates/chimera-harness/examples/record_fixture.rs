//! Makes the recorded run that tests of later releases read: `cargo run -p chimera-harness --example record_fixture --
//! fixtures/runs/v1`. It is a simulated run on virtual time in which something of every kind happens. A fixture is made
//! once per format version and then never again: it must stay as its release wrote it.

use std::{error::Error, path::Path, sync::Arc};

use chimera_core::{Clock, InferenceBackend, ModelRef};
use chimera_harness::{
    BlockJob, Cancel, FoundModel, InlineLauncher, Missing, Progress, Registry, RegistryError, Supervisor,
};
use chimera_records::{
    Clocks, FileRecord, HostRecord, ModelEntry, NewRun, NoiseRecord, Overrides, ProgramRecord, RunDir,
};
use chimera_sim::{Fault, SimBackend, SimModel, VirtualClock};

const DESIGN: &str = r#"# A tiny study of a simulated family, for tests of the reader.
schema = 1
study = "tr121"
title = "How a simulated family scales"
seed = 121
blocks = 3
process.timeout_s = 2.0
warmup.gen = 2
limits.failed_share = 0.5
model = [
  { id = "small", source = "sim-small", variant = "f32", family = "sim" },
  { id = "large", source = "sim-large", variant = "f32", family = "sim" },
  { id = "absent", source = "sim-absent", variant = "f32", family = "sim", optional = true },
]
scenario = [
  { id = "short", text = "A short prompt." },
  { id = "long", text = "A long prompt.", tokens = 128 },
]
[[grid]]
id = "main"
backend = ["sim"]
model = ["small", "large", "absent"]
scenario = ["short", "long"]
gen = [4, 8]
[[grid]]
id = "lanes"
backend = ["sim"]
model = ["small"]
scenario = ["short"]
gen = [4]
batch = [2]
[[hypothesis]]
id = "H1"
statement = "Decode time grows with the square root of the parameters"
estimand = "exponent.decode"
relation = "near"
value = 0.5
"#;

const CREATED_UNIX_MS: u64 = 1_767_225_600_000;

struct Sim {
    block: u32,
}

impl Registry for Sim {
    fn backend(&self, id: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError> {
        if id != "sim" {
            return Err(RegistryError::Unknown { id: id.into(), known: "sim".into() });
        }
        let mut builder = SimBackend::builder()
            .clock(clock)
            .block(u64::from(self.block))
            .model(SimModel::power("sim-small", 1_000_000, 0.5, 1_000.0))
            .model(SimModel::power("sim-large", 16_000_000, 0.5, 1_000.0));
        if self.block == 0 {
            builder = builder
                .fault(6, Fault::ErrorAfter(2))
                .fault(8, Fault::StallAfter(1))
                .fault(10, Fault::TruncateAfter(1));
        }
        if self.block == 2 {
            builder = builder
                .model(SimModel::power("sim-large", 16_000_000, 0.5, 1_000.0).eos_after(6))
                .capabilities(|can| can.exact_budget = false);
        }
        Ok(Arc::new(builder.build()))
    }

    fn model(&self, entry: &ModelEntry, _backend: &str) -> Result<FoundModel, Missing> {
        if entry.id == "absent" {
            return Err(Missing { reason: "sim-absent is not here: fetch it".into() });
        }
        Ok(FoundModel {
            reference: ModelRef::named(entry.source.as_str()),
            files: vec![FileRecord {
                name: format!("{}.bin", entry.source),
                bytes: 4096,
                sha256: Some("0".repeat(64)),
            }],
            provenance: Some("simulated".into()),
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name the directory to make")?;
    let path = Path::new(&path);
    let host = HostRecord {
        system: Some("Linux 6.0".into()),
        architecture: "x86_64".into(),
        cpu: Some("Simulated CPU".into()),
        cores: Some(2),
        memory_bytes: Some(1 << 34),
        ..HostRecord::default()
    };
    let program = ProgramRecord { version: "chimera 0.1.0".into(), ..ProgramRecord::default() };
    let overrides = Overrides::default();
    let mut run = RunDir::create_at(
        path,
        &NewRun { design: DESIGN, overrides: &overrides, shard: None, program, host },
    )?;
    run.update(|manifest| {
        manifest.run_id = "20260101T000000Z-000001".into();
        manifest.created_unix_ms = CREATED_UNIX_MS;
        // Figures of no machine.
        manifest.clocks =
            Clocks { resolution_ns: Some(20), reading_ns: Some(25.0), per_event_ns: Some(100.0) };
        manifest.noise = NoiseRecord { cpu_pressure: Some(0.01), memory_pressure: None, steal: Some(0.0) };
    })?;
    let mut launcher = InlineLauncher::new(|job: &BlockJob| {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new());
        (Box::new(Sim { block: job.block }) as Box<dyn Registry>, clock)
    });
    // Stopped inside its second block, then resumed.
    for stop_after in [24, usize::MAX] {
        let cancel = Cancel::new();
        let mut ended = 0;
        let mut supervisor = Supervisor::take(RunDir::open(path)?)?;
        supervisor.run(&mut launcher, &cancel, &mut |progress| {
            if let Progress::TrialEnded(_) = progress {
                ended += 1;
                if ended == stop_after {
                    cancel.cancel();
                }
            }
        })?;
    }
    std::fs::remove_file(path.join("run.lock"))?; // A lock is nothing that was recorded.
    RunDir::open(path)?.update(|manifest| {
        manifest.ended_unix_ms = Some(CREATED_UNIX_MS + 60_000);
        for (process, started) in manifest.processes.iter_mut().zip(0_u64..) {
            process.started_unix_ms = CREATED_UNIX_MS + 15_000 * started;
            process.startup_ns = Some(3_000_000);
            process.peak_rss_bytes = Some(8 << 20);
            process.host = Some("simulated".into());
        }
    })?;
    Ok(())
}
