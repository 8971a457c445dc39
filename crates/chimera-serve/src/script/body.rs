//! The schedule of a stream's body while it is being built: writes with the times they are due.

use std::time::Duration;

use super::{Act, Line, Step};

/// A write call of its own, and yet without delay: see [`Step::after`].
pub(super) const APART: Duration = Duration::from_nanos(1);

/// Steps with the time at which the last of them is due.
#[derive(Default)]
pub(super) struct Body {
    steps: Vec<Step>,
    due: Duration,
}

impl Body {
    /// An act at `due`, or together with the one before where that is due later.
    pub(super) fn at(&mut self, due: Duration, act: Act) {
        let after = due.saturating_sub(self.due);
        self.due += after;
        self.steps.push(Step { after, act });
    }

    /// An act with the one before.
    pub(super) fn with(&mut self, act: Act) {
        self.at(self.due, act);
    }

    /// An act right after the one before, in a write call of its own.
    pub(super) fn apart(&mut self, act: Act) {
        self.at(self.due + APART, act);
    }

    /// Lines at `due`, in one write; or cut in the middle of their last character of several bytes, the rest `later`.
    pub(super) fn lines(&mut self, due: Duration, mut lines: Vec<Line>, split: Option<Duration>) {
        let cut = split.and_then(|later| cut(&lines).map(|(line, at)| (line, at, later)));
        let Some((index, at, later)) = cut else {
            self.at(due, whole(lines));
            return;
        };
        let mut rest = lines.split_off(index);
        let tail = rest[0].bytes.split_off(at);
        let tokens = std::mem::take(&mut rest[0].tokens);
        lines.push(Line { bytes: std::mem::replace(&mut rest[0].bytes, tail), tokens: 0 });
        rest[0].tokens = tokens;
        self.at(due, whole(lines));
        self.at(self.due + later.max(APART), whole(rest));
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

fn whole(mut lines: Vec<Line>) -> Act {
    match lines.pop() {
        Some(line) if lines.is_empty() => Act::Write { bytes: line.bytes, tokens: line.tokens },
        Some(line) => {
            lines.push(line);
            Act::Lines { lines }
        }
        None => Act::Write { bytes: Vec::new(), tokens: 0 },
    }
}

/// After the first byte of the last character of several bytes: line and offset.
fn cut(lines: &[Line]) -> Option<(usize, usize)> {
    lines.iter().enumerate().rev().find_map(|(i, line)| {
        line.bytes.iter().rposition(|byte| *byte >= 0xc0).map(|position| (i, position + 1))
    })
}
