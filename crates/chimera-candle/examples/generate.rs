//! Loads a model from a path, answers a prompt, and says how fast each phase was.
//!
//! `generate PATH [PROMPT] [TOKENS]`; a prompt that is a number stands for that many repetitions of one word.
#![expect(clippy::print_stdout, reason = "an example speaks to its user")]

use std::{error::Error, sync::Arc, time::Duration};

use chimera_candle::CandleBackend;
use chimera_core::{
    Clock, EventKind, InferenceBackend, LoadOptions, ModelRef, Phase, Request, Session, SystemClock,
};
use futures_util::StreamExt;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: generate PATH [PROMPT] [TOKENS]")?;
    let prompt = arguments.next().unwrap_or_else(|| "The capital of France is".into());
    let prompt = match prompt.parse::<usize>() {
        Ok(words) => " word".repeat(words),
        Err(_) => prompt,
    };
    let tokens = arguments.next().map_or(Ok(64), |n| n.parse())?;
    let clock = Arc::new(SystemClock::new());
    let backend = CandleBackend::builder(Arc::clone(&clock)).build();
    futures_executor::block_on(async {
        for (name, value) in backend.probe().await?.details {
            println!("{name}: {value}");
        }
        let begin = clock.now();
        let session = backend.load(&ModelRef::at("model", path), &LoadOptions::default()).await?;
        println!("loaded in {:.0} ms: {:?}", (clock.now() - begin) as f64 / 1e6, session.model());
        // The first use of a model is slower than the others; both are shown.
        for _ in 0..2 {
            answer(&*session, Request::text(prompt.as_str(), tokens).exact()).await?;
        }
        session.unload().await?;
        Ok(())
    })
}

async fn answer(session: &dyn Session, request: Request) -> Result<(), Box<dyn Error>> {
    let mut events = session.generate(request.into());
    let mut text = String::new();
    let mut read = 0;
    while let Some(event) = events.next().await {
        match event?.kind {
            EventKind::PromptProcessed { tokens, .. } => read = tokens.unwrap_or_default(),
            EventKind::Chunk { text: part, .. } => text.push_str(&part),
            EventKind::Finished(end) => {
                let of = |phase| {
                    let timing = end.timings.iter().find(|t| t.phase == phase);
                    timing.map_or(0.0, |t| Duration::from_nanos(t.nanos).as_secs_f64())
                };
                let (prefill, decode) = (of(Phase::Prefill), of(Phase::Decode));
                let generated = f64::from(end.generated.unwrap_or_default());
                println!(
                    "prefill of {read} tokens {:.1} ms ({:.1}/s), decode {:.2} ms per token ({:.1}/s)",
                    prefill * 1e3,
                    f64::from(read) / prefill,
                    decode * 1e3 / (generated - 1.0),
                    (generated - 1.0) / decode,
                );
            }
            _ => {}
        }
    }
    println!("{text}\n");
    Ok(())
}
