//! Answers of `/api/generate` and `/api/chat`: NDJSON lines, or one object. Durations and counts that nobody measured
//! are left out.

use std::{
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
use serde::Serialize;

use super::request::{Job, Task};
use crate::{
    app::{App, mark},
    http::{
        body::json,
        date::rfc3339,
        fault::{Dialect, Fault},
    },
    work::run::{End, Piece, Run},
};

/// One line, or the whole answer.
#[derive(Debug, Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said<'a>>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(flatten)]
    counters: Counters,
}

#[derive(Debug, Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Debug, Default, Serialize)]
struct Counters {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_cached_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Counters {
    fn of(end: &End) -> Self {
        Self {
            total_duration: Some(nanos(end.total)),
            load_duration: Some(nanos(end.load)),
            prompt_eval_count: end.prompt_tokens,
            prompt_eval_cached_count: end.cached_tokens,
            prompt_eval_duration: end.prefill.map(nanos),
            eval_count: end.generated,
            eval_duration: end.decode.map(nanos),
        }
    }
}

fn line<'a>(name: &'a str, chat: bool, text: &'a str) -> Line<'a> {
    Line {
        model: name,
        created_at: rfc3339(SystemTime::now()),
        response: Some(text).filter(|_| !chat),
        message: Some(Said { role: "assistant", content: text }).filter(|_| chat),
        done: false,
        done_reason: None,
        counters: Counters::default(),
    }
}

fn last<'a>(name: &'a str, chat: bool, text: &'a str, end: &End) -> Line<'a> {
    let reason = match end.reason {
        FinishReason::Length => "length",
        _ => "stop",
    };
    Line { done: true, done_reason: Some(reason), counters: Counters::of(end), ..line(name, chat, text) }
}

/// Does what was asked and answers.
pub(crate) async fn answer(
    app: &Arc<App>,
    job: Result<Job, Fault>,
    arrived: Instant,
    number: u64,
) -> Response<Body> {
    let ignored = job.as_ref().map(|job| job.ignored.join(",")).unwrap_or_default();
    let (mut response, cut) = match work(app, job, arrived).await {
        Ok(done) => done,
        Err(fault) => (fault.response(Dialect::Ollama), 0),
    };
    mark(response.headers_mut(), number, cut);
    if !ignored.is_empty()
        && let Ok(value) = HeaderValue::from_str(&ignored)
    {
        response.headers_mut().insert("x-chimera-ignored", value);
    }
    response
}

async fn work(
    app: &Arc<App>,
    job: Result<Job, Fault>,
    arrived: Instant,
) -> Result<(Response<Body>, u32), Fault> {
    let Job { name, chat, stream, task, .. } = job?;
    let ask = match task {
        Task::Generate(ask) => ask,
        Task::Load(wanted) => {
            let load = tokio::time::timeout(app.options.request_timeout, app.residents.acquire(&wanted));
            drop(load.await.map_err(|_| Fault::timeout(app.options.request_timeout))??);
            return Ok((json(&without_prompt(&name, chat, "load", Some(arrived.elapsed()))), 0));
        }
        Task::Unload(name_of_backend) => {
            app.residents.release(&name_of_backend).await;
            return Ok((json(&without_prompt(&name, chat, "unload", None)), 0));
        }
    };
    let mut run = app.begin(ask, arrived).await?;
    let cut = run.cut;
    if stream {
        return Ok((lines(run, name, chat), cut));
    }
    let mut text = String::new();
    loop {
        match run.next().await {
            Some(Ok(Piece::Text(piece))) => text.push_str(&piece),
            Some(Ok(Piece::End(end))) => return Ok((json(&last(&name, chat, &text, &end)), cut)),
            Some(Err(fault)) => return Err(fault),
            None => return Err(Fault::new(crate::http::fault::Kind::Protocol, "the answer has no end")),
        }
    }
}

fn without_prompt<'a>(name: &'a str, chat: bool, reason: &'static str, load: Option<Duration>) -> Line<'a> {
    let counters = Counters { load_duration: load.map(nanos), ..Counters::default() };
    Line { done: true, done_reason: Some(reason), counters, ..line(name, chat, "") }
}

/// The stream of lines. Dropping it drops the generation.
fn lines(run: Run, name: String, chat: bool) -> Response<Body> {
    let stream = unfold((run, name), move |(mut run, name)| async move {
        let bytes = match run.next().await? {
            Ok(Piece::Text(text)) => encode(&line(&name, chat, &text)),
            Ok(Piece::End(end)) => encode(&last(&name, chat, "", &end)),
            Err(fault) => encode(&fault.json(Dialect::Ollama)),
        };
        Some((Ok::<_, Infallible>(bytes), (run, name)))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn encode(value: &impl Serialize) -> Bytes {
    // Strings and numbers always have a JSON form.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
