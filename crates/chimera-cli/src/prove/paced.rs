//! Streams at the pace of a real model: how late is our stamp of each token, and what does that do to TTFT, inter-token
//! latency and end-to-end time? The server stamps its writes on the same clock.

use std::{sync::Arc, time::Duration};

use chimera_core::{Clock, Stamp};
use chimera_serve::{
    script::{Count, ScriptModel, Tokens},
    truth::{Truth, TruthRecord},
};
use chimera_wire::Lag;
use futures_util::future::try_join_all;

use super::{
    bench_client::{Adapter, Seen, load, server, stream, truth},
    figures::{Errors, thread_time},
};

/// The first token comes so long after the request.
const TTFT: Duration = Duration::from_millis(100);

/// Tokens of a short answer.
const SHORT: u32 = 4;
/// Values that certify a p99.
const CERTIFIES: u32 = 662;
/// Streams from which short answers begin as late as long ones; fewer ask sooner, or it would take minutes.
const MANY: u32 = 64;

/// What a paced run showed.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) adapter: Adapter,
    pub(super) streams: u32,
    pub(super) rate: f64,
    pub(super) tokens: u64,
    /// Streams whose tokens are not all there, in words.
    pub(super) wrong: Vec<String>,
    /// Our stamp of a token minus the beginning of its write.
    pub(super) receive: Errors,
    /// |our TTFT minus the server's|: its own reading of the request is part of it. Of the streams, and of short answers
    /// that follow them, since each answer has but one.
    pub(super) ttft: Errors,
    /// |our gap minus the server's|.
    pub(super) itl: Errors,
    /// |our end-to-end time minus the server's|, of the same answers.
    pub(super) e2e: Errors,
    pub(super) cpu_ns_per_token: Option<f64>,
    pub(super) lag: Lag,
}

/// Runs `streams` streams of `rate` tokens per second for about `seconds`, their beginnings spread over one gap; then as many
/// streams of short answers, until a share of the beginnings that a p99 needs is there.
pub(super) fn run(
    adapter: Adapter,
    clock: &Arc<dyn Clock>,
    streams: u32,
    rate: f64,
    seconds: f64,
    share: f64,
) -> anyhow::Result<Paced> {
    let gap = Duration::from_secs_f64(1.0 / rate);
    let count = ((seconds * rate).ceil() as u32).max(2);
    let name = |i: u32| format!("s{i}");
    // As many tokens as are asked for: some adapters ask for one to make a model resident.
    let tokens = Tokens { count: Count::FromRequest, ..Tokens::paced(count, TTFT, gap) };
    let models = (0..streams).map(|i| ScriptModel::new(name(i), tokens.clone())).collect();
    let server = server(models, clock)?;
    let (backend, meter) = adapter.client(&server.url(), Arc::clone(clock))?;
    let (seen, cpu) = async_io::block_on(async {
        let names: Vec<String> = (0..streams).map(name).collect();
        let sessions = try_join_all(names.iter().map(|name| load(&*backend, name))).await?;
        let all = (0..streams).zip(sessions).map(|(i, session)| {
            let wait = gap.mul_f64(f64::from(i) / f64::from(streams));
            stream(session, Arc::clone(clock), wait, count, false)
        });
        let before = thread_time();
        let seen = try_join_all(all).await?;
        let cpu = before.zip(thread_time()).map(|(before, after)| after.saturating_sub(before));
        anyhow::Ok((seen, cpu))
    })?;
    let truth = truth(server)?;
    let mut paced = Paced {
        adapter,
        streams,
        rate,
        tokens: 0,
        wrong: Vec::new(),
        receive: Errors::default(),
        ttft: Errors::default(),
        itl: Errors::default(),
        e2e: Errors::default(),
        cpu_ns_per_token: None,
        lag: meter.lag(),
    };
    for seen in &seen {
        paced.judge(seen, &truth);
    }
    let enough = (f64::from(CERTIFIES) * share).ceil() as u32;
    paced.short(clock, enough.saturating_sub(streams).div_ceil(streams))?;
    paced.cpu_ns_per_token =
        cpu.filter(|_| paced.tokens > 0).map(|cpu| cpu.as_nanos() as f64 / paced.tokens as f64);
    Ok(paced)
}

fn apart(a: i128, b: i128) -> u64 {
    u64::try_from((a - b).abs()).unwrap_or(u64::MAX)
}

impl Paced {
    fn judge(&mut self, seen: &Seen, truth: &Truth) {
        let model = seen.model.as_str();
        // The last one: what made the model resident came before.
        let mut records = truth.records.iter().rev().filter(|r| r.model.as_deref() == Some(model));
        let Some(record) = records.find(|record| record.tokens() > 1) else {
            self.wrong.push(format!("{model}: the server knows of no such answer"));
            return;
        };
        let Some(pairs) = self.pairs(seen, record) else { return };
        self.tokens += record.tokens();
        for (ours, theirs) in &pairs {
            match u64::try_from(*ours - *theirs) {
                Ok(late) => self.receive.push(late),
                // One clock cannot show that: a stamp is wrong.
                Err(_) => self.wrong.push(format!("{model}: a token was received before it was written")),
            }
        }
        for [(a, x), (b, y)] in pairs.array_windows() {
            self.itl.push(apart(*b - *a, *y - *x));
        }
        self.ends(seen, record, &pairs);
    }

    /// Our stamps beside the server's, where both know of the same tokens.
    fn pairs(&mut self, seen: &Seen, record: &TruthRecord) -> Option<Vec<(Stamp, Stamp)>> {
        let writes: Vec<Stamp> = record.token_writes().map(|write| write.before).collect();
        if writes.len() != seen.chunks.len()
            || seen.generated.is_some_and(|n| u64::from(n) != record.tokens())
        {
            self.wrong.push(format!(
                "{}: {} writes of {} tokens, seen as {} chunks of {:?} tokens",
                seen.model,
                writes.len(),
                record.tokens(),
                seen.chunks.len(),
                seen.generated
            ));
            return None;
        }
        Some(seen.chunks.iter().copied().zip(writes).collect())
    }

    fn ends(&mut self, seen: &Seen, record: &TruthRecord, pairs: &[(Stamp, Stamp)]) {
        if let (Some((first, wrote_first)), Some((last, wrote_last))) = (pairs.first(), pairs.last()) {
            self.ttft.push(apart(*first - seen.sent, *wrote_first - record.received));
            self.e2e.push(apart(*last - seen.sent, *wrote_last - record.received));
        }
    }

    /// Asks for `times` short answers on each of as many streams.
    fn short(&mut self, clock: &Arc<dyn Clock>, times: u32) -> anyhow::Result<()> {
        let streams = self.streams;
        let ttft = TTFT.mul_f64(f64::from(streams.clamp(MANY / 20, MANY)) / f64::from(MANY));
        let gap = Duration::from_secs_f64(1.0 / self.rate).min(ttft / 2);
        let name = |i: u32| format!("short{i}");
        let tokens = Tokens { count: Count::FromRequest, ..Tokens::paced(SHORT, ttft, gap) };
        let server =
            server((0..streams).map(|i| ScriptModel::new(name(i), tokens.clone())).collect(), clock)?;
        let (backend, _) = self.adapter.client(&server.url(), Arc::clone(clock))?;
        let seen = async_io::block_on(async {
            let names: Vec<String> = (0..streams).map(name).collect();
            let sessions = try_join_all(names.iter().map(|name| load(&*backend, name))).await?;
            let all = (0..streams).zip(sessions).map(|(i, session)| async move {
                let mut wait = (ttft + gap * (SHORT - 1)).mul_f64(f64::from(i) / f64::from(streams));
                let mut answers = Vec::new();
                for _ in 0..times {
                    answers.push(stream(Arc::clone(&session), Arc::clone(clock), wait, SHORT, false).await?);
                    wait = Duration::ZERO;
                }
                anyhow::Ok(answers)
            });
            try_join_all(all).await
        })?;
        let truth = truth(server)?;
        for answers in &seen {
            let Some(model) = answers.first().map(|seen| seen.model.as_str()) else { continue };
            // What made the model resident is no such answer.
            let records: Vec<&TruthRecord> = truth
                .records
                .iter()
                .filter(|record| record.model.as_deref() == Some(model) && record.tokens() > 1)
                .collect();
            if records.len() != answers.len() {
                self.wrong.push(format!("{model}: {} answers, seen as {}", records.len(), answers.len()));
                continue;
            }
            for (seen, record) in answers.iter().zip(records) {
                if let Some(pairs) = self.pairs(seen, record) {
                    self.ends(seen, record, &pairs);
                }
            }
        }
        Ok(())
    }
}
