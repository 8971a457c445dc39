//! Arbitrary bytes, and bytes that look like what servers send, through every decoder.

mod drive;

use proptest::prelude::*;

/// Bytes of the kinds that matter to a decoder, more often than by chance.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"event: error\n".to_vec()),
        Just(b": ping\n\n".to_vec()),
        Just(b"data: [DONE]\n\n".to_vec()),
        Just("\u{feff}".as_bytes().to_vec()),
        Just(br#"data: {"choices":[{"text":"a","token_ids":[1]}]}"#.to_vec()),
        Just(br#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}"#.to_vec()),
        Just(br#"{"error":"boom"}"#.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_a_decoder(
        bytes in prop_oneof![streams(), proptest::collection::vec(any::<u8>(), 0..300)],
        cuts in proptest::collection::vec(any::<u8>(), 0..8),
        counts: bool,
    ) {
        drive::answers(&bytes, &cuts, counts);
        drive::lines(&bytes, &cuts);
        drive::events(&bytes, &cuts);
    }
}
