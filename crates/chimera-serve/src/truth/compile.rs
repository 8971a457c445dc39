//! An answer made ready to be played: all bytes in one place, framed, with the offsets at which tokens are complete, so
//! that playing it is little more than write calls.

use std::ops::Range;

use crate::script::{Act, Answer, Framing, Summary};

/// An answer ready to be played.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) status: u16,
    /// Status line and headers without the blank line at the end; empty where the bytes hold the whole response.
    pub(super) head: Vec<u8>,
    pub(super) blob: Vec<u8>,
    /// Where a token is complete, and how many are by then; offsets rise.
    pub(super) marks: Vec<(usize, u32)>,
    pub(super) pieces: Vec<Piece>,
    pub(super) chunked: bool,
    /// Whether the connection cannot be used again after the proper end.
    pub(super) closes: bool,
    /// The name of the fault that the script plays here.
    pub(super) fault: Option<String>,
}

/// What is handed to one write call, or an ending.
#[derive(Debug)]
pub(super) struct Piece {
    /// Nanoseconds since the request was read.
    pub(super) due: u64,
    pub(super) lead: Lead,
    /// Bytes of the blob after the lead.
    pub(super) range: Range<usize>,
    /// First of the marks in the range.
    pub(super) mark: usize,
    pub(super) then: Then,
}

/// Bytes that are known when they are due.
#[derive(Debug)]
pub(super) enum Lead {
    None,
    Head,
    Summary(Box<Summary>),
}

/// What follows a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    End,
    Close,
    Reset,
    Stall,
    /// The same piece again, nanoseconds later.
    Again(u64),
}

/// How the response is to be framed for this request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Asks {
    /// HTTP/1.0, which knows no chunks.
    pub(super) old: bool,
    /// `HEAD`: no body.
    pub(super) head_only: bool,
}

struct Compiler {
    out: Prepared,
    due: u64,
}

/// Makes an answer ready.
pub(super) fn compile(answer: &Answer, asks: Asks, fault: Option<String>) -> Prepared {
    let framing = match answer.framing {
        Framing::Chunked if asks.old => Framing::UntilClose,
        framing => framing,
    };
    let chunked = framing == Framing::Chunked && !asks.head_only;
    let mut c = Compiler {
        out: Prepared {
            status: answer.status,
            head: Vec::new(),
            blob: Vec::new(),
            marks: Vec::new(),
            pieces: Vec::new(),
            chunked,
            closes: asks.old || !matches!(framing, Framing::Chunked | Framing::Length),
            fault,
        },
        due: 0,
    };
    let mut headed = framing == Framing::Raw;
    let mut ended = false;
    let mut length = 0;
    for step in &answer.steps {
        let after = u64::try_from(step.after.as_nanos()).unwrap_or(u64::MAX);
        c.due = c.due.saturating_add(after);
        let apart = after > 0;
        let body =
            matches!(step.act, Act::Write { .. } | Act::Lines { .. } | Act::Summary(_) | Act::Endless { .. });
        if !headed && (body || matches!(step.act, Act::Head | Act::End)) {
            c.piece(Lead::Head);
            headed = true;
        } else if apart && body {
            c.piece(Lead::None);
        }
        if asks.head_only && body {
            length += match &step.act {
                Act::Write { bytes, .. } => bytes.len(),
                Act::Lines { lines } => lines.iter().map(|line| line.bytes.len()).sum(),
                Act::Summary(summary) => summary.render(&summary.scheduled).len(),
                _ => 0,
            };
            continue;
        }
        match &step.act {
            Act::Head => {}
            Act::Write { bytes, tokens } => {
                length += bytes.len();
                c.chunk(&[(bytes, *tokens)]);
            }
            Act::Lines { lines } => {
                let lines: Vec<(&[u8], u32)> =
                    lines.iter().map(|line| (line.bytes.as_slice(), line.tokens)).collect();
                length += lines.iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
                c.chunk(&lines);
            }
            Act::Summary(summary) if framing == Framing::Length => {
                let bytes = summary.render(&summary.scheduled);
                length += bytes.len();
                c.chunk(&[(&bytes, 0)]);
            }
            Act::Summary(summary) => c.piece(Lead::Summary(summary.clone())),
            Act::Endless { bytes, tokens, every } => {
                c.piece(Lead::None);
                c.chunk(&[(bytes, *tokens)]);
                let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
                c.ending(Then::Again(every), false);
                ended = true;
            }
            Act::End => {
                c.end(apart);
                ended = true;
            }
            Act::Close => ended = c.ending(Then::Close, apart),
            Act::Reset => ended = c.ending(Then::Reset, apart),
            Act::Stall => ended = c.ending(Then::Stall, apart),
        }
    }
    if !headed && !ended {
        c.piece(Lead::Head);
    }
    if !ended {
        c.end(false);
    }
    c.out.head = head(answer, framing, length, c.out.closes);
    c.out
}

fn head(answer: &Answer, framing: Framing, length: usize, closes: bool) -> Vec<u8> {
    use std::fmt::Write as _;
    if framing == Framing::Raw {
        return Vec::new();
    }
    let reason =
        http::StatusCode::from_u16(answer.status).ok().and_then(|s| s.canonical_reason()).unwrap_or("");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", answer.status);
    for (name, value) in &answer.headers {
        // Writing to a string cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = match framing {
        Framing::Chunked => write!(head, "transfer-encoding: chunked\r\n"),
        Framing::Length => write!(head, "content-length: {length}\r\n"),
        Framing::UntilClose | Framing::Raw => Ok(()),
    };
    if closes {
        head.push_str("connection: close\r\n");
    }
    head.into_bytes()
}

impl Compiler {
    fn piece(&mut self, lead: Lead) {
        let at = self.out.blob.len();
        let mark = self.out.marks.len();
        self.out.pieces.push(Piece { due: self.due, lead, range: at..at, mark, then: Then::Next });
    }

    /// Bytes with the piece before, or with a new one where there is none.
    fn bytes(&mut self, write: impl FnOnce(&mut Vec<u8>, &mut Vec<(usize, u32)>)) {
        if self.out.pieces.is_empty() {
            self.piece(Lead::None);
        }
        write(&mut self.out.blob, &mut self.out.marks);
        if let Some(piece) = self.out.pieces.last_mut() {
            piece.range.end = self.out.blob.len();
        }
    }

    fn chunk(&mut self, lines: &[(&[u8], u32)]) {
        let chunked = self.out.chunked;
        let length: usize = lines.iter().map(|(bytes, _)| bytes.len()).sum();
        // A chunk of no bytes would be the end of the body.
        if length == 0 {
            return;
        }
        self.bytes(|blob, marks| {
            if chunked {
                blob.extend_from_slice(format!("{length:x}\r\n").as_bytes());
            }
            for (bytes, tokens) in lines {
                blob.extend_from_slice(bytes);
                if *tokens > 0 {
                    let before = marks.last().map_or(0, |(_, tokens)| *tokens);
                    marks.push((blob.len(), before.saturating_add(*tokens)));
                }
            }
            if chunked {
                blob.extend_from_slice(b"\r\n");
            }
        });
    }

    /// The proper end.
    fn end(&mut self, apart: bool) {
        if apart {
            self.piece(Lead::None);
        }
        if self.out.chunked {
            self.bytes(|blob, _| blob.extend_from_slice(b"0\r\n\r\n"));
        }
        self.ending(Then::End, false);
    }

    fn ending(&mut self, then: Then, apart: bool) -> bool {
        if apart || self.out.pieces.is_empty() {
            self.piece(Lead::None);
        }
        if let Some(piece) = self.out.pieces.last_mut() {
            piece.then = then;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn steps_without_delay_share_a_write_and_others_do_not() {
        let answer = Answer::new(200, Framing::Chunked)
            .step(MS, Act::write("a", 1))
            .step(Duration::ZERO, Act::write("bc", 2))
            .step(MS, Act::write("d", 1));
        let prepared = compile(&answer, Asks::default(), None);
        let seen: Vec<(u64, &[u8], Then)> =
            prepared.pieces.iter().map(|p| (p.due, &prepared.blob[p.range.clone()], p.then)).collect();
        assert_eq!(
            seen,
            [
                (1_000_000, &b"1\r\na\r\n2\r\nbc\r\n"[..], Then::Next),
                (2_000_000, &b"1\r\nd\r\n0\r\n\r\n"[..], Then::End)
            ]
        );
        assert!(matches!(prepared.pieces[0].lead, Lead::Head));
        // A token is complete with the last byte of its content, before the end of the chunk.
        assert_eq!(prepared.marks, [(4, 1), (11, 3), (17, 4)]);
        assert_eq!(prepared.pieces[1].mark, 2);
        assert!(!prepared.closes);
    }

    #[test]
    fn old_requests_and_heads_get_what_they_can_read() {
        let answer = Answer::new(200, Framing::Chunked).step(MS, Act::write("abc", 1));
        let old = compile(&answer, Asks { old: true, head_only: false }, None);
        assert_eq!((old.blob.as_slice(), old.closes), (&b"abc"[..], true));
        assert!(String::from_utf8_lossy(&old.head).ends_with("200 OK\r\nconnection: close\r\n"));
        let whole = Answer::body(200, "text/plain", "abc");
        let head = compile(&whole, Asks { old: false, head_only: true }, None);
        assert!(head.blob.is_empty());
        assert!(String::from_utf8_lossy(&head.head).contains("content-length: 3\r\n"));
    }
}
