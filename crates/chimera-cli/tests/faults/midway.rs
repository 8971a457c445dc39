//! A server that breaks off, dies and comes back in the middle of a block: every planned trial has an outcome.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::SocketAddr,
    sync::Arc,
};

use chimera_core::{Clock, InferenceBackend, SystemClock};
use chimera_harness::{
    BlockEnd, BlockRun, Cancel, FoundModel, MemorySink, Missing, Progress, Registry, RegistryError, run_block,
};
use chimera_records::{Design, ModelEntry, Outcome, Overrides, Plan};
use chimera_wire::Limits;

use crate::{
    adapter::{Adapter, MODEL},
    outcome::BOUND,
    server::{After, Server, chunk, chunked_head},
};

const DESIGN: &str = r#"
schema = 1
study = "tr121"
title = "A server that dies"
seed = 11
blocks = 1
process.timeout_s = 20.0
model = [{ id = "m", source = "m", variant = "f32", family = "m" }]
scenario = [{ id = "one", text = "hello world" }, { id = "two", text = "good evening" }]
[[grid]]
id = "main"
backend = ["remote"]
model = ["m"]
scenario = ["one", "two"]
gen = [5, 6, 7, 8]
"#;

struct Remote {
    adapter: Adapter,
    address: SocketAddr,
}

impl Registry for Remote {
    fn backend(&self, _: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError> {
        let limits = Limits { head: BOUND, stall: BOUND, ..Limits::default() };
        Ok(self.adapter.backend(self.address, limits, clock))
    }

    fn model(&self, _: &ModelEntry, _: &str) -> Result<FoundModel, Missing> {
        Ok(FoundModel::named(MODEL))
    }
}

#[test]
fn a_block_with_a_server_that_dies_and_comes_back_keeps_every_outcome() {
    let settings = Design::parse(DESIGN).unwrap().resolve(&Overrides::default()).unwrap();
    let plan = Plan::new(&settings).unwrap();
    for adapter in [Adapter::OllamaGenerate, Adapter::OpenAiCompletions] {
        let server = RefCell::new(Server::start(adapter));
        let registry = Remote { adapter, address: server.borrow().address };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (cancel, done) = (Cancel::new(), BTreeSet::new());
        let mut sink = MemorySink::default();
        let block = BlockRun {
            settings: &settings,
            plan: &plan,
            block: &plan.blocks[0],
            attempt: 1,
            done: &done,
            threads: 1,
            registry: &registry,
            clock: &clock,
            origin_unix_ms: 0,
            host: None,
            cancel: &cancel,
        };
        let mut ended = 0;
        let end = async_io::block_on(run_block(block, &mut sink, &mut |progress| {
            if !matches!(progress, Progress::TrialEnded(_)) {
                return;
            }
            ended += 1;
            let mut server = server.borrow_mut();
            match ended {
                2 => {
                    let begun = [chunked_head(adapter.content_type()), chunk(&adapter.token("Hel"))].concat();
                    server.break_with(Arc::new(move |stream| {
                        stream.write_all(&begun).ok();
                        After::Reset
                    }));
                }
                3 => {
                    server.heal();
                    server.die();
                }
                6 => server.come_back(),
                _ => {}
            }
        }))
        .unwrap();
        assert_eq!(end, BlockEnd::Done);
        let planned: BTreeSet<u32> = plan.blocks[0].trials.iter().map(|trial| trial.id).collect();
        let recorded: BTreeMap<u32, &Outcome> =
            sink.trials.iter().map(|trial| (trial.id, &trial.outcome)).collect();
        assert_eq!(recorded.len(), sink.trials.len(), "no trial is recorded twice");
        assert_eq!(recorded.keys().copied().collect::<BTreeSet<_>>(), planned, "{}", adapter.name());
        let words: Vec<String> = sink
            .trials
            .iter()
            .map(|trial| match &trial.outcome {
                Outcome::Failed { code, .. } => code.clone(),
                other => other.word().to_owned(),
            })
            .collect();
        for trial in &sink.trials {
            if let Outcome::Skipped { reason } = &trial.outcome {
                panic!("{}: trial {} was skipped: {reason}", adapter.name(), trial.id);
            }
        }
        println!("midway: {}: {}", adapter.name(), words.join(", "));
        assert_eq!(
            words[..6],
            ["completed", "completed", "failed", "unavailable", "unavailable", "unavailable"]
        );
        assert!(words.len() > 6 && words[6..].iter().all(|word| word == "completed"), "{words:?}");
        assert!(server.borrow().generations() >= words.len() - 3);
    }
}
