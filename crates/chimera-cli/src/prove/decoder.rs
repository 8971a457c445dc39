//! The pure decoders alone: what does a token cost from bytes to an event, without socket, HTTP and executor?

use std::time::Instant;

use super::{bench_client::Adapter, figures::thread_time};

/// Tokens of an answer.
const TOKENS: u32 = 20_000;
/// Bytes of a piece: what one packet brings.
const PIECE: usize = 1_460;

/// What a decoder took.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) adapter: Adapter,
    /// Nanoseconds per token, the best of some rounds: what else the machine does only adds.
    pub(super) nanos: f64,
    /// Every token became an event.
    pub(super) exact: bool,
}

/// Decodes an answer of servers as they are, several times.
pub(super) fn run(adapter: Adapter, rounds: u32) -> anyhow::Result<Decoded> {
    let (token, end) = match adapter {
        Adapter::Ollama => (
            r#"{"model":"smollm2:135m","created_at":"2026-11-25T02:27:47.923029446Z","response":" the","done":false}
"#,
            r#"{"model":"smollm2:135m","created_at":"2026-11-25T02:27:47.923029446Z","response":"","done":true,"done_reason":"length"}
"#,
        ),
        Adapter::OpenAi => (
            r#"data: {"id":"cmpl-7f0c","object":"text_completion","created":1763900000,"model":"Qwen/Qwen3-0.6B","choices":[{"index":0,"text":" city","logprobs":null,"finish_reason":null,"stop_reason":null}]}

"#,
            r#"data: {"id":"cmpl-7f0c","object":"text_completion","created":1763900000,"model":"Qwen/Qwen3-0.6B","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length","stop_reason":null}]}

data: [DONE]

"#,
        ),
    };
    let answer = format!("{}{end}", token.repeat(TOKENS as usize)).into_bytes();
    let cuts = vec![PIECE; answer.len() / PIECE];
    let mut found = Decoded { adapter, nanos: f64::INFINITY, exact: true };
    for _ in 0..rounds.max(1) {
        let (start, before) = (Instant::now(), thread_time());
        let events = match adapter {
            Adapter::Ollama => chimera_ollama::read_whole(&answer, &cuts, TOKENS, 1 << 20)?,
            Adapter::OpenAi => chimera_openai::read_whole(&answer, &cuts, TOKENS, false)?,
        };
        // Where a thread's time is not told, the wall's is an upper limit.
        let cpu = before.zip(thread_time()).map(|(before, after)| after.saturating_sub(before));
        let took = cpu.unwrap_or_else(|| start.elapsed());
        found.nanos = found.nanos.min(took.as_nanos() as f64 / f64::from(TOKENS));
        // The end is one more.
        found.exact &= events.len() == TOKENS as usize + 1;
    }
    Ok(found)
}
