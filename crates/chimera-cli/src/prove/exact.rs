//! Counting: whatever a server puts into one line, one event or one write, the tokens and the text are those that it wrote.

use std::{sync::Arc, time::Duration};

use chimera_core::Clock;
use chimera_serve::script::{ScriptModel, Tokens};

use super::bench_client::{Adapter, load, server, stream, truth};

/// Tokens of each answer: no multiple of the chunk sizes.
const COUNT: u32 = 99;

/// Answers that were compared, and those that were wrong, in words.
#[derive(Debug, Default)]
pub(super) struct Exact {
    pub(super) answers: u32,
    pub(super) wrong: Vec<String>,
}

fn shapes() -> Vec<(String, Tokens)> {
    let gap = Duration::from_micros(200);
    let base = || Tokens::paced(COUNT, Duration::from_millis(1), gap);
    let mut all: Vec<(String, Tokens)> =
        [1, 2, 4, 8, 16].map(|n| (format!("chunks-of-{n}"), base().per_chunk(n))).to_vec();
    for lines in [2, 5] {
        all.push((format!("{lines}-lines-a-write"), Tokens { lines_per_write: lines, ..base() }));
    }
    all.push(("split-characters".to_owned(), Tokens { split_utf8: true, ..base() }));
    all.push(("split-chunks-of-4".to_owned(), Tokens { split_utf8: true, ..base().per_chunk(4) }));
    all.push(("unpaced".to_owned(), Tokens::unpaced(COUNT)));
    all
}

/// Reads an answer of every shape through an adapter.
pub(super) fn run(adapter: Adapter, clock: &Arc<dyn Clock>) -> anyhow::Result<Exact> {
    let shapes = shapes();
    let models = shapes.iter().map(|(name, tokens)| ScriptModel::new(name.clone(), tokens.clone())).collect();
    let server = server(models, clock)?;
    let (backend, _) = adapter.client(&server.url(), Arc::clone(clock))?;
    let mut found = Exact::default();
    for (name, tokens) in &shapes {
        let seen = async_io::block_on(async {
            let session = load(&*backend, name).await?;
            stream(session, Arc::clone(clock), Duration::ZERO, COUNT, true).await
        })?;
        found.answers += 1;
        if seen.generated != Some(COUNT) {
            found.wrong.push(format!("{} {name}: {:?} tokens for {COUNT}", adapter.name(), seen.generated));
        }
        if seen.text != tokens.text(0, COUNT) {
            found.wrong.push(format!("{} {name}: the text is another", adapter.name()));
        }
    }
    drop(truth(server)?);
    Ok(found)
}
