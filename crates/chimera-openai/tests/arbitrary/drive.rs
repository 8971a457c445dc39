//! What arbitrary bytes must keep to, in whatever pieces they come. The fuzz targets drive the same functions.

use bytes::Bytes;
use chimera_core::EventKind;
use chimera_wire::{DecodeError, Lines, ServerEvent, ServerEvents};

/// Bytes of a line or an event.
const LIMIT: usize = 64;

/// An answer is one with one end, or an error; the same in every split.
pub(crate) fn answers(bytes: &[u8], cuts: &[u8], counts: bool) {
    let cuts: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut)).collect();
    let kinds = |cuts: &[usize]| {
        chimera_openai::read_whole(bytes, cuts, 8, counts)
            .map(|events| events.into_iter().map(|event| event.kind).collect::<Vec<_>>())
            .map_err(|error| error.to_string())
    };
    let whole = kinds(&[]);
    assert_eq!(kinds(&cuts), whole);
    if let Ok(kinds) = whole {
        assert!(matches!(kinds.last(), Some(EventKind::Finished(_))));
        assert_eq!(kinds.iter().filter(|kind| matches!(kind, EventKind::Finished(_))).count(), 1);
    }
}

/// Lines are no longer than their limit, and the same in every split.
pub(crate) fn lines(bytes: &[u8], cuts: &[u8]) {
    let whole = cut_lines(bytes, &[]);
    assert_eq!(cut_lines(bytes, cuts), whole);
    assert!(whole.0.iter().all(|line| line.len() <= LIMIT && !line.contains(&b'\n')));
}

/// Events are no longer than their limit, and the same in every split.
pub(crate) fn events(bytes: &[u8], cuts: &[u8]) {
    let whole = cut_events(bytes, &[]);
    assert_eq!(cut_events(bytes, cuts), whole);
    assert!(whole.0.iter().all(|event| event.data.len() <= LIMIT));
}

/// The bytes in pieces of the given lengths, and then the rest.
fn pieces(bytes: &[u8], cuts: &[u8]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut pieces: Vec<Bytes> =
        cuts.iter().map(|cut| rest.split_to(usize::from(*cut).min(rest.len()))).collect();
    pieces.push(rest);
    pieces
}

fn cut_lines(bytes: &[u8], cuts: &[u8]) -> (Vec<Bytes>, Option<DecodeError>) {
    let mut lines = Lines::new(LIMIT);
    let mut found = Vec::new();
    for piece in pieces(bytes, cuts) {
        lines.feed(piece);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => found.push(line),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    found.extend(lines.finish());
    (found, None)
}

/// What was found, why it ended early, and whether an event was cut off at the end.
type Found = (Vec<ServerEvent>, Option<DecodeError>, bool);

fn cut_events(bytes: &[u8], cuts: &[u8]) -> Found {
    let mut events = ServerEvents::new(LIMIT);
    let mut found = Vec::new();
    for piece in pieces(bytes, cuts) {
        events.feed(piece);
        loop {
            match events.next_event() {
                Ok(Some(event)) => found.push(event),
                Ok(None) => break,
                Err(error) => return (found, Some(error), false),
            }
        }
    }
    let open = events.is_open();
    (found, None, open)
}
