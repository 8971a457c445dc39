//! From a model and a request to an [`Answer`].

use std::time::Duration;

use serde_json::json;

use super::{
    Act, Answer, Asked, Count, FaultKind, Framing, Line, MAX_TOKENS, Protocol, ScriptModel, Summary, Times,
    body::Body,
    bytes::{Gzip, gzip_bomb},
    wire,
};

const FAULT: &str = "the script breaks here";

impl ScriptModel {
    /// Tokens of the answer to a request.
    ///
    /// # Errors
    ///
    /// The number asked for, where it is more than [`MAX_TOKENS`].
    pub fn count(&self, asked: &Asked) -> Result<u32, u32> {
        match self.tokens.count {
            Count::Fixed(n) => Ok(n),
            Count::FromRequest => match asked.limit.unwrap_or(128) {
                n if n > MAX_TOKENS => Err(n),
                n => Ok(n),
            },
        }
    }

    /// The answer to a request, from the first byte to the last.
    #[must_use]
    pub fn answer(&self, protocol: Protocol, asked: &Asked) -> Answer {
        let Ok(count) = self.count(asked) else {
            return Answer::json(400, &protocol.error(400, &format!("at most {MAX_TOKENS} tokens")));
        };
        let maker = Generator { model: self, protocol, asked, count };
        match self.fault.as_ref().map(|fault| &fault.kind) {
            Some(FaultKind::HttpError(status)) => {
                maker.late(Answer::json(*status, &protocol.error(*status, FAULT)))
            }
            Some(FaultKind::WrongContentType) => maker.late(Answer::body(
                200,
                "text/html; charset=utf-8",
                "<!doctype html><title>proxy</title><p>the script answers with a page\n",
            )),
            Some(FaultKind::Redirect(to)) => {
                maker.late(Answer::body(307, "text/plain", "elsewhere\n").header("location", to))
            }
            Some(FaultKind::Gzip) => gzip(if asked.stream { maker.stream() } else { maker.single() }),
            Some(FaultKind::GzipBomb(mib)) => maker.bomb(u32::from(*mib) << 20),
            _ if asked.stream => maker.stream(),
            _ => maker.single(),
        }
    }
}

struct Generator<'a> {
    model: &'a ScriptModel,
    protocol: Protocol,
    asked: &'a Asked,
    count: u32,
}

impl Generator<'_> {
    /// When token `i` is due.
    fn due(&self, i: u32) -> Duration {
        self.model.tokens.ttft + self.model.tokens.gap.saturating_mul(i)
    }

    /// When the last token is due.
    fn last(&self) -> Duration {
        self.due(self.count.saturating_sub(1))
    }

    /// An answer without tokens, when the first token would be due.
    fn late(&self, mut answer: Answer) -> Answer {
        if let Some(first) = answer.steps.first_mut() {
            first.after = self.due(0);
        }
        answer
    }

    fn content_type(&self) -> &'static str {
        match (self.protocol.is_ollama(), self.asked.stream) {
            (true, true) => "application/x-ndjson",
            (true, false) => "application/json; charset=utf-8",
            (false, true) => "text/event-stream",
            (false, false) => "application/json",
        }
    }

    fn summary(&self, tokens: u32, text: String) -> Summary {
        Summary {
            protocol: self.protocol,
            model: self.model.clone(),
            asked: self.asked.clone(),
            tokens,
            text,
            scheduled: Times {
                total: self.asked.load + self.last(),
                load: self.asked.load,
                prefill: self.due(0),
                decode: self.last() - self.due(0),
            },
        }
    }

    fn error_line(&self) -> Vec<u8> {
        wire::line(self.protocol, &self.protocol.error(500, FAULT))
    }

    fn line(&self, frame: &wire::Frame, text: &str, tokens: u32) -> Line {
        // A string always has a JSON form; its quotes are in the frame.
        let escaped = json!(text).to_string();
        let escaped = &escaped[1..escaped.len() - 1];
        let mut bytes = Vec::with_capacity(frame.before.len() + escaped.len() + frame.after.len());
        bytes.extend_from_slice(frame.before.as_bytes());
        bytes.extend_from_slice(escaped.as_bytes());
        bytes.extend_from_slice(frame.after.as_bytes());
        Line { bytes, tokens }
    }

    /// Tokens `first..end` in writes, each due with its first token.
    fn tokens(&self, body: &mut Body, first: u32, end: u32) {
        let tokens = &self.model.tokens;
        let frame = wire::frame(self.protocol, &self.model.name, &self.asked.created);
        let split = tokens.split_utf8.then(|| tokens.gap / 2);
        let per_line = u32::from(tokens.per_chunk);
        let per_write = per_line * u32::from(tokens.lines_per_write);
        let mut at = first;
        while at < end {
            let stop = end.min(at + per_write);
            let lines = (at..stop)
                .step_by(per_line as usize)
                .map(|from| {
                    let to = stop.min(from + per_line);
                    self.line(&frame, &tokens.text(from, to), to - from)
                })
                .collect();
            body.lines(self.due(at), lines, split);
            at = stop;
        }
    }

    fn stream(&self) -> Answer {
        let tokens = &self.model.tokens;
        let mut body = Body::default();
        body.at(if tokens.early_head { Duration::ZERO } else { self.due(0) }, Act::Head);
        if let Some(role) = wire::role(self.protocol, &self.model.name, &self.asked.created) {
            body.with(Act::write(role, 0));
        }
        let fault = self.model.fault.as_ref().filter(|fault| !fault.kind.is_whole());
        let at = fault.map_or(self.count, |fault| fault.at.min(self.count));
        self.tokens(&mut body, 0, at);
        let mut said = self.count;
        if let Some(fault) = fault {
            let due = self.due(at);
            let frame = wire::frame(self.protocol, &self.model.name, &self.asked.created);
            match &fault.kind {
                FaultKind::ErrorLine => body.at(due, Act::write(self.error_line(), 0)),
                FaultKind::Garbage => body.at(due, Act::write(*b"\xff\xfe\x00{]garbage\x80\n\n", 0)),
                FaultKind::TruncatedLine => {
                    let mut line = self.line(&frame, &tokens.text(at, at + 1), 0).bytes;
                    line.truncate(line.len() - frame.after.len());
                    body.at(due, Act::write(line, 0));
                }
                FaultKind::Close => body.at(due.max(super::body::APART), Act::Close),
                FaultKind::Reset => body.at(due.max(super::body::APART), Act::Reset),
                FaultKind::Stall => body.at(due, Act::Stall),
                FaultKind::Endless => {
                    // Unpaced, a turn is many lines, so that the server is faster than its clients.
                    let (lines, every) =
                        if tokens.gap.is_zero() { (256, tokens.gap) } else { (1, tokens.gap) };
                    let one = self.line(&frame, &tokens.text(at, at + 1), 1).bytes;
                    body.at(due, Act::Endless { bytes: one.repeat(lines), tokens: lines as u32, every });
                }
                FaultKind::LongLine(bytes) => {
                    body.at(due, Act::write(self.line(&frame, &"x".repeat(*bytes as usize), 1).bytes, 1));
                    self.tokens(&mut body, (at + 1).min(self.count), self.count);
                    said = self.count.max(at + 1);
                }
                _ => {}
            }
            if !matches!(fault.kind, FaultKind::LongLine(_)) {
                return self.finish(body, Framing::Chunked);
            }
        }
        body.apart(Act::Summary(Box::new(self.summary(said, String::new()))));
        body.with(Act::End);
        self.finish(body, Framing::Chunked)
    }

    fn finish(&self, body: Body, framing: Framing) -> Answer {
        Answer {
            status: 200,
            headers: vec![("content-type".to_owned(), self.content_type().to_owned())],
            framing,
            steps: body.into_steps(),
        }
    }

    fn single(&self) -> Answer {
        let text = self.model.tokens.text(0, self.count);
        let mut summary = self.summary(self.count, text);
        let mut body = Body::default();
        let Some(fault) = self.model.fault.as_ref().filter(|fault| !fault.kind.is_whole()) else {
            body.at(self.last(), Act::Head);
            let bytes = summary.render(&summary.scheduled);
            body.with(Act::write(bytes, self.count));
            return self.finish(body, Framing::Length);
        };
        let due = self.due(fault.at.min(self.count));
        if fault.kind == FaultKind::ErrorLine {
            return self.late(Answer::json(500, &self.protocol.error(500, FAULT)));
        }
        if let FaultKind::LongLine(bytes) = fault.kind {
            summary.text.push_str(&"x".repeat(bytes as usize));
            summary.tokens += 1;
        }
        body.at(due, Act::Head);
        let whole = summary.render(&summary.scheduled);
        let half = whole[..whole.len() / 2].to_vec();
        match fault.kind {
            FaultKind::Garbage => body.with(Act::write(*b"\xff\xfe\x00{]garbage\x80\n\n", 0)),
            FaultKind::TruncatedLine => body.with(Act::write(half, 0)),
            FaultKind::Endless => {
                body.with(Act::Endless {
                    bytes: vec![b' '; 1 << 14],
                    tokens: 0,
                    every: self.model.tokens.gap,
                });
            }
            FaultKind::LongLine(_) => body.with(Act::write(whole, summary.tokens)),
            _ => {
                body.with(Act::write(half, 0));
                body.apart(match fault.kind {
                    FaultKind::Close => Act::Close,
                    FaultKind::Reset => Act::Reset,
                    _ => Act::Stall,
                });
            }
        }
        self.finish(body, Framing::Chunked)
    }

    /// One token of `count` letters, packed.
    fn bomb(&self, count: u32) -> Answer {
        let frame = wire::frame(self.protocol, &self.model.name, &self.asked.created);
        let summary = self.summary(1, String::new());
        let mut tail = frame.after.as_bytes().to_vec();
        tail.extend(summary.render(&summary.scheduled));
        let packed = gzip_bomb(frame.before.as_bytes(), count, &tail);
        self.late(Answer::body(200, self.content_type(), packed)).header("content-encoding", "gzip")
    }
}

/// The same answer, packed write by write.
fn gzip(mut answer: Answer) -> Answer {
    let mut packer = Gzip::default();
    let mut last = None;
    for (i, step) in answer.steps.iter_mut().enumerate() {
        let (bytes, tokens) = match &step.act {
            Act::Write { bytes, tokens } => (packer.part(bytes), *tokens),
            Act::Lines { lines } => {
                let all: Vec<u8> = lines.iter().flat_map(|line| line.bytes.iter().copied()).collect();
                (packer.part(&all), lines.iter().map(|line| line.tokens).sum())
            }
            Act::Summary(summary) => (packer.part(&summary.render(&summary.scheduled)), 0),
            _ => continue,
        };
        step.act = Act::Write { bytes, tokens };
        last = Some(i);
    }
    let end = packer.end();
    if let Some(Act::Write { bytes, .. }) =
        last.and_then(|i| answer.steps.get_mut(i)).map(|step| &mut step.act)
    {
        bytes.extend(end);
    }
    answer.header("content-encoding", "gzip")
}
