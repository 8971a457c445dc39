//! Stop strings, found across chunks. What is held back is never longer than the longest stop string.

/// Looks for the first of several strings in text that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    stops: Vec<String>,
    held: String,
}

/// What a piece gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Text that belongs to the answer whatever comes.
    pub(crate) text: String,
    /// A stop string was found: the answer ends after `text`.
    pub(crate) stopped: bool,
}

impl Stops {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: String) -> Seen {
        if self.stops.is_empty() {
            return Seen { text: piece, stopped: false };
        }
        self.held.push_str(&piece);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return Seen { text: std::mem::take(&mut self.held), stopped: true };
        }
        let open = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - open);
        Seen { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What is still held when the answer has ended by itself.
    pub(crate) fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of `text` that a stop string begins with. Both are whole characters, so the cut is at one.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    let (text, stop) = (text.as_bytes(), stop.as_bytes());
    (1..=longest).rev().find(|&n| stop.get(..n).is_some_and(|head| text.ends_with(head))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = Stops::new(stops.iter().map(ToString::to_string).collect());
        let mut text = String::new();
        for piece in pieces {
            let seen = matcher.push((*piece).into());
            text += &seen.text;
            if seen.stopped {
                return (text, true);
            }
        }
        (text + &matcher.rest(), false)
    }

    #[test]
    fn a_stop_may_span_chunks() {
        assert_eq!(run(&["END"], &["a", "bE", "N", "D", "c"]), ("ab".into(), true));
        assert_eq!(run(&["END"], &["a", "bE", "N", "E"]), ("abENE".into(), false));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["xyz", "y"], &["x", "y"]), ("x".into(), true));
        assert_eq!(run(&["größe"], &["gr", "ö", "ß", "e"]), (String::new(), true));
        assert_eq!(run(&[], &["x"]), ("x".into(), false));
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            text in "[abö]{0,40}", stop in "[abö]{1,4}", cuts in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut pieces = vec![String::new()];
            for (c, cut) in text.chars().zip(cuts) {
                pieces.last_mut().unwrap().push(c);
                if cut { pieces.push(String::new()); }
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let whole = match text.find(&stop) {
                Some(at) => (text[..at].to_owned(), true),
                None => (text.clone(), false),
            };
            prop_assert_eq!(run(&[&stop], &pieces), whole);
        }
    }
}
