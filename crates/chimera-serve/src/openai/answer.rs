//! Answers of the completions: server-sent events, or one object. Usage that the backend does not know and times that
//! nobody measured are left out.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use bytes::Bytes;
use chimera_core::FinishReason;
use futures_util::stream::unfold;
use serde_json::{Map, Value, json};

use super::request::Job;
use crate::{
    app::{App, mark},
    http::{
        body::json as whole,
        date::unix,
        fault::{Dialect, Fault, Kind},
    },
    work::run::{End, Piece, Run},
};

/// What all parts of one answer repeat.
struct Frame {
    id: String,
    name: String,
    chat: bool,
    created: u64,
}

impl Frame {
    fn object(&self, kind: &str, choices: Value) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("id".into(), json!(self.id));
        object.insert("object".into(), json!(kind));
        object.insert("created".into(), json!(self.created));
        object.insert("model".into(), json!(self.name));
        object.insert("choices".into(), choices);
        object
    }

    fn chunk(&self, text: Option<&str>, first: bool, reason: Option<FinishReason>) -> Map<String, Value> {
        let reason = reason.map(word);
        if !self.chat {
            let text = text.unwrap_or_default();
            let choice = json!([{ "index": 0, "text": text, "logprobs": null, "finish_reason": reason }]);
            return self.object("text_completion", choice);
        }
        let mut delta = Map::new();
        if first {
            delta.insert("role".into(), json!("assistant"));
        }
        if let Some(text) = text {
            delta.insert("content".into(), json!(text));
        }
        let choice = json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason }]);
        self.object("chat.completion.chunk", choice)
    }

    fn whole(&self, text: &str, end: &End) -> Map<String, Value> {
        let reason = word(end.reason);
        let mut object = if self.chat {
            let message = json!({ "role": "assistant", "content": text, "refusal": null });
            let choice =
                json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": reason }]);
            self.object("chat.completion", choice)
        } else {
            let choice = json!([{ "index": 0, "text": text, "logprobs": null, "finish_reason": reason }]);
            self.object("text_completion", choice)
        };
        if let Some(usage) = usage(end) {
            object.insert("usage".into(), usage);
        }
        if let Some(timings) = timings(end) {
            object.insert("timings".into(), timings);
        }
        object
    }
}

fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        _ => "stop",
    }
}

/// Token counts that are known; nothing when none is.
fn usage(end: &End) -> Option<Value> {
    let mut usage = Map::new();
    if let Some(n) = end.prompt_tokens {
        usage.insert("prompt_tokens".into(), json!(n));
    }
    if let Some(n) = end.generated {
        usage.insert("completion_tokens".into(), json!(n));
    }
    if let (Some(a), Some(b)) = (end.prompt_tokens, end.generated) {
        usage.insert("total_tokens".into(), json!(u64::from(a) + u64::from(b)));
    }
    if let Some(n) = end.cached_tokens {
        usage.insert("prompt_tokens_details".into(), json!({ "cached_tokens": n }));
    }
    Some(Value::Object(usage)).filter(|usage| usage.as_object().is_some_and(|usage| !usage.is_empty()))
}

/// Times in milliseconds under llama.cpp's names, where they were measured.
fn timings(end: &End) -> Option<Value> {
    let ms = |time: Duration| time.as_nanos() as f64 / 1e6;
    let mut timings = Map::new();
    if let Some(time) = end.prefill {
        timings.insert("prompt_ms".into(), json!(ms(time)));
        if let Some(n) = end.prompt_tokens {
            // llama.cpp counts what it read: without what the cache answered.
            timings.insert("prompt_n".into(), json!(n.saturating_sub(end.cached_tokens.unwrap_or(0))));
        }
    }
    if let Some(n) = end.cached_tokens {
        timings.insert("cache_n".into(), json!(n));
    }
    if let Some(time) = end.decode {
        timings.insert("predicted_ms".into(), json!(ms(time)));
        if let Some(n) = end.generated {
            timings.insert("predicted_n".into(), json!(n));
        }
    }
    Some(Value::Object(timings)).filter(|timings| timings.as_object().is_some_and(|t| !t.is_empty()))
}

/// Does what was asked and answers.
pub(crate) async fn answer(
    app: &Arc<App>,
    job: Result<Job, Fault>,
    arrived: Instant,
    number: u64,
) -> Response<Body> {
    let (mut response, cut) = match work(app, job, arrived, number).await {
        Ok(done) => done,
        Err(fault) => (fault.response(Dialect::OpenAi), 0),
    };
    mark(response.headers_mut(), number, cut);
    response
}

async fn work(
    app: &Arc<App>,
    job: Result<Job, Fault>,
    arrived: Instant,
    number: u64,
) -> Result<(Response<Body>, u32), Fault> {
    let Job { name, chat, stream, usage, ask } = job?;
    let mut run = app.begin(ask, arrived).await?;
    let cut = run.cut;
    let prefix = if chat { "chatcmpl" } else { "cmpl" };
    let frame = Frame { id: format!("{prefix}-{number}"), name, chat, created: unix(SystemTime::now()) };
    if stream {
        return Ok((events(run, frame, usage), cut));
    }
    let mut text = String::new();
    loop {
        match run.next().await {
            Some(Ok(Piece::Text(piece))) => text.push_str(&piece),
            Some(Ok(Piece::End(end))) => return Ok((whole(&frame.whole(&text, &end)), cut)),
            Some(Err(fault)) => return Err(fault),
            None => return Err(Fault::new(Kind::Protocol, "the answer has no end")),
        }
    }
}

/// The stream of events. Dropping it drops the generation.
fn events(run: Run, frame: Frame, wants_usage: bool) -> Response<Body> {
    let state = (run, frame, true, VecDeque::<Bytes>::new());
    let stream = unfold(state, move |(mut run, frame, first, mut ready)| async move {
        if let Some(bytes) = ready.pop_front() {
            return Some((Ok::<_, Infallible>(bytes), (run, frame, first, ready)));
        }
        let bytes = match run.next().await? {
            Ok(Piece::Text(text)) => event(frame.chunk(Some(&text), first, None).into()),
            Ok(Piece::End(end)) => {
                let mut last = frame.chunk(None, first, Some(end.reason));
                if let Some(timings) = timings(&end) {
                    last.insert("timings".into(), timings);
                }
                if wants_usage {
                    let kind = if frame.chat { "chat.completion.chunk" } else { "text_completion" };
                    let mut chunk = frame.object(kind, json!([]));
                    chunk.insert("usage".into(), usage(&end).unwrap_or(Value::Null));
                    ready.push_back(event(chunk.into()));
                }
                ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
                event(last.into())
            }
            Err(fault) => event(fault.json(Dialect::OpenAi)),
        };
        Some((Ok(bytes), (run, frame, false, ready)))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn event(value: Value) -> Bytes {
    format!("data: {value}\n\n").into()
}
