//! Arbitrary answers in arbitrary pieces: an answer with one end, or an error; no panic, and the same in every split.
#![no_main]

use chimera_core::EventKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let cuts: Vec<usize> = cuts.into_iter().map(usize::from).collect();
    let kinds = |cuts: &[usize]| {
        chimera_ollama::read_whole(&bytes, cuts, 8, 100)
            .map(|events| events.into_iter().map(|event| event.kind).collect::<Vec<_>>())
            .map_err(|error| error.to_string())
    };
    let whole = kinds(&[]);
    assert_eq!(kinds(&cuts), whole);
    if let Ok(kinds) = whole {
        assert!(matches!(kinds.last(), Some(EventKind::Finished(_))));
        assert_eq!(kinds.iter().filter(|kind| matches!(kind, EventKind::Finished(_))).count(), 1);
    }
});
