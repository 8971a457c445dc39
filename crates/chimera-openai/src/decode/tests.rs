//! The decoder on events by hand and on arbitrary bytes.

use proptest::prelude::*;

use super::*;

fn events(parts: &[&str]) -> Vec<u8> {
    parts.iter().map(|part| format!("data: {part}\n\n")).collect::<String>().into_bytes()
}

fn kinds(bytes: &[u8], cuts: &[usize], counts: bool) -> Result<Vec<EventKind>, String> {
    read_whole(bytes, cuts, 8, counts)
        .map(|events| events.into_iter().map(|event| event.kind).collect())
        .map_err(|error| format!("{}: {error}", error.code()))
}

fn plain(parts: &[&str]) -> Result<Vec<EventKind>, String> {
    kinds(&events(parts), &[], false)
}

fn chunk(text: &str, tokens: Option<u32>, id: Option<u32>) -> EventKind {
    EventKind::Chunk { text: text.into(), tokens, id }
}

fn end(reason: FinishReason, prompt: Option<u32>, generated: Option<u32>) -> EventKind {
    EventKind::Finished(Finished { prompt, ..Finished::new(reason, generated) })
}

const STOP: &str = r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#;
const A: &str = r#"{"choices":[{"index":0,"text":"a","finish_reason":null}]}"#;

#[test]
fn a_completion_is_read() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2}}}"#;
    let mut finished = Finished::new(FinishReason::Stop, Some(3));
    (finished.prompt, finished.cached) = (Some(5), Some(2));
    assert_eq!(
        plain(&[A, STOP, usage, "[DONE]"]).unwrap(),
        [chunk("a", None, None), EventKind::Finished(finished)]
    );
    // An end that is said again is the same end.
    assert_eq!(
        plain(&[A, STOP, "[DONE]", "[DONE]"]).unwrap(),
        [chunk("a", None, None), end(FinishReason::Stop, None, None)]
    );
    // Without usage nothing is known, and without `[DONE]` a clean end will do.
    assert_eq!(plain(&[A, STOP]).unwrap(), [chunk("a", None, None), end(FinishReason::Stop, None, None)]);
}

#[test]
fn a_chat_is_read_with_its_thoughts_and_tools() {
    let parts = [
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"reasoning_content":"Hm","reasoning":"Hm"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"reasoning":"m"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"\u00e9\n"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ];
    let texts = ["Hm", "m", "é\n", "f", "{\"a\""].map(|text| chunk(text, None, None));
    let mut meant = texts.to_vec();
    meant.push(end(FinishReason::Stop, None, None));
    assert_eq!(plain(&parts).unwrap(), meant);
}

#[test]
fn tokens_are_counted_where_the_wire_says() {
    let part = |text: &str, so_far: u32, reason: &str| {
        format!(
            r#"{{"choices":[{{"index":0,"text":"{text}","finish_reason":{reason}}}],"usage":{{"prompt_tokens":4,"completion_tokens":{so_far}}}}}"#
        )
    };
    let parts = [part("a", 1, "null"), part("bc", 4, "null"), part("", 4, "null"), part("", 5, "\"stop\"")];
    let mut bytes = events(&parts.iter().map(String::as_str).collect::<Vec<_>>());
    bytes.extend(events(&[r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":5}}"#, "[DONE]"]));
    assert_eq!(
        kinds(&bytes, &[], true).unwrap(),
        [
            chunk("a", Some(1), None),
            chunk("bc", Some(3), None),
            // The end of the sequence is a token without text.
            chunk("", Some(1), None),
            end(FinishReason::Stop, Some(4), Some(5)),
        ]
    );
    // Where it was not asked for, a usage is no count of a chunk.
    let uncounted = kinds(&bytes, &[], false).unwrap();
    assert_eq!(uncounted[..2], [chunk("a", None, None), chunk("bc", None, None)]);

    let ids = [
        r#"{"choices":[{"index":0,"text":"a","token_ids":[7]}]}"#,
        r#"{"choices":[{"index":0,"text":"bc","token_ids":[8,9]}]}"#,
        r#"{"choices":[{"index":0,"text":"d"}],"tokens":[5]}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}],"usage":{"completion_tokens":4}}"#,
    ];
    assert_eq!(
        plain(&ids).unwrap(),
        [
            chunk("a", Some(1), Some(7)),
            chunk("bc", Some(2), None),
            chunk("d", Some(1), Some(5)),
            end(FinishReason::Length, None, Some(4)),
        ]
    );
    let less = format!("{}data: {}\n\n", String::from_utf8(events(&ids[..1])).unwrap(), ids[3]);
    assert!(kinds(less.as_bytes(), &[], false).unwrap_err().contains("1 carried"));
    let back = events(&[&part("a", 2, "null"), &part("b", 1, "\"stop\"")]);
    assert!(kinds(&back, &[], true).unwrap_err().starts_with("protocol"));
}

#[test]
fn durations_are_whole_nanoseconds_and_never_made_up() {
    let timed = |rest: &str| {
        let last = format!(r#"{{"choices":[{{"index":0,"text":"","finish_reason":"stop"}}],{rest}}}"#);
        let kinds = plain(&[A, &last]).unwrap();
        let Some(EventKind::Finished(end)) = kinds.last() else { panic!("no end") };
        (end.timings.iter().map(|timing| (timing.phase, timing.nanos)).collect::<Vec<_>>(), end.cached)
    };
    assert_eq!(
        timed(
            r#""timings":{"cache_n":3,"prompt_n":1,"prompt_ms":12.3456789,"predicted_ms":0.0},"usage":{"prompt_tokens":4}"#
        ),
        (vec![(Phase::Prefill, 12_345_679), (Phase::Decode, 0)], Some(3))
    );
    assert_eq!(
        timed(r#""stats":{"tokens_per_second":51.4,"time_to_first_token":0.111,"generation_time":0.954}"#),
        (vec![(Phase::Prefill, 111_000_000), (Phase::Decode, 954_000_000)], None)
    );
    assert_eq!(timed(r#""stats":{},"timings":{"prompt_ms":-1,"predicted_ms":1e300}"#), (vec![], None));
    // More cached than read cannot be.
    assert_eq!(timed(r#""timings":{"cache_n":9},"usage":{"prompt_tokens":4}"#).1, None);
}

#[test]
fn tokens_without_any_text_are_seen_at_the_end() {
    let last =
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"completion_tokens":1}}"#;
    assert_eq!(plain(&[last]).unwrap(), [chunk("", None, None), end(FinishReason::Stop, None, Some(1))]);
    let none =
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"completion_tokens":0}}"#;
    assert_eq!(plain(&[none]).unwrap(), [end(FinishReason::Stop, None, Some(0))]);
}

#[test]
fn a_usage_of_zeros_beside_text_is_no_count() {
    let zeros = r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#;
    assert_eq!(plain(&[zeros]).unwrap(), [chunk("a", None, None), end(FinishReason::Stop, None, None)]);
}

#[test]
fn what_is_no_answer_is_an_error_with_its_code() {
    let with = |reason: &str| STOP.replace("stop", reason);
    let over = r#"{"choices":[],"usage":{"completion_tokens":17}}"#;
    let endless = vec![A; 200];
    let idle = vec![r#"{"choices":[]}"#; 2000];
    let cases: Vec<(&str, &str, Vec<&str>)> = vec![
        ("protocol", "without `finish_reason`", vec![A]),
        ("protocol", "no `finish_reason`", vec![A, "[DONE]"]),
        ("protocol", "without `finish_reason`", vec![]),
        ("protocol", "after the end", vec![STOP, A]),
        ("protocol", "after `[DONE]`", vec![STOP, "[DONE]", A]),
        ("protocol", "events for a budget", [vec![STOP], vec!["[DONE]"; 2000]].concat()),
        ("protocol", "differ", vec![STOP, r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}]}"#]),
        ("protocol", "no answer", vec!["boom"]),
        ("protocol", "neither", vec!["{}"]),
        ("protocol", "several answers", vec![r#"{"choices":[{"index":1,"text":"a"}]}"#]),
        ("protocol", "17 tokens", vec![A, STOP, over]),
        ("protocol", "chunks for a budget", endless),
        ("protocol", "events for a budget", idle),
        (
            "failed",
            "boom",
            vec![A, r#"{"error":{"message":"boom","type":"server_error","code":500}}"#, "[DONE]"],
        ),
        ("failed", "boom", vec![A, r#"{"error":"boom"}"#]),
        ("failed", "boom", vec![A, r#"{"object":"error","message":"boom"}"#]),
        ("invalid-request", "Context", vec![A, r#"{"error":{"message":"Context size has been exceeded."}}"#]),
        ("out-of-memory", "memory", vec![r#"{"error":{"message":"CUDA out of memory"}}"#]),
    ];
    for (code, says, parts) in cases {
        let error = plain(&parts).unwrap_err();
        assert!(error.starts_with(code) && error.contains(says), "{error} should be {code} and say {says}");
        assert!(error.len() < 500);
    }
    for (reason, code) in [("content_filter", "failed"), ("abort", "failed"), ("tired", "protocol")] {
        assert!(plain(&[A, &with(reason)]).unwrap_err().starts_with(code), "{reason}");
    }
    for reason in ["eos_token", "stop_sequence", "function_call"] {
        plain(&[A, &with(reason)]).unwrap();
    }
    let named = kinds(
        b"data: {\"choices\":[]}\n\nevent: error\ndata: {\"error\":{\"message\":\"bang\"}}\n\n",
        &[],
        false,
    );
    assert!(named.unwrap_err().contains("bang"));
    let words = kinds(b"event: error\ndata: bang\n\n", &[], false);
    assert!(words.unwrap_err().contains("bang"));
    let long = format!("data: {{\"choices\":[],\"x\":\"{}", "x".repeat(2 << 20));
    assert!(kinds(long.as_bytes(), &[], false).unwrap_err().contains("longer than"));
}

#[test]
fn a_last_event_without_its_blank_line_counts_and_half_of_one_does_not() {
    let mut bytes = events(&[A, STOP]);
    bytes.extend_from_slice(b"data: [DONE]\n");
    kinds(&bytes, &[], false).unwrap();
    let whole = events(&[A, STOP]);
    for cut in 0..whole.len() - 4 {
        let outcome = kinds(&whole[..cut], &[], false);
        assert!(outcome.is_err(), "{cut} of {} bytes are {outcome:?}", whole.len());
    }
}

#[test]
fn stamps_are_those_of_the_pieces_that_brought_an_event_s_end() {
    let bytes = events(&[A, STOP]);
    let first = events(&[A]).len();
    let at = |cuts: &[usize]| -> Vec<u64> {
        read_whole(&bytes, cuts, 8, false).unwrap().iter().map(|event| event.at.0).collect()
    };
    // The second of the two line ends makes the event whole.
    assert_eq!(at(&[first]), [1, 2]);
    assert_eq!(at(&[first - 1]), [2, 2]);
    assert_eq!(at(&[first + 3]), [1, 2]);
}

#[test]
fn what_does_not_fit_and_was_answered_all_the_same_is_an_error() {
    let outcome = |prompt: u32, generated: u32| {
        let expected = Expected { budget: 8, counts: false, window: Some(16), phases: Vec::new() };
        let mut decoder = Decoder::new(crate::refusal::teller(BackendId::new("openai"), None), expected);
        let usage = format!(
            r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{generated}}}}}"#
        );
        let mut out = VecDeque::new();
        decoder.feed(Stamp(1), events(&[A, STOP, &usage]).into(), &mut out).unwrap();
        decoder.finish(&mut out).map_err(|error| error.code())
    };
    assert_eq!(outcome(12, 4), Ok(()));
    for (prompt, generated) in [(12, 5), (16, 1), (20, 1)] {
        assert_eq!(outcome(prompt, generated), Err("invalid-request"), "{prompt} {generated}");
    }
}

/// What decoding costs. Printed, not judged: machines differ.
#[test]
fn decoding_costs_little_per_token() {
    const TOKENS: u32 = 20_000;
    let wide = r#"{"id":"cmpl-7f0c","object":"text_completion","created":1763900000,"model":"Qwen/Qwen3-0.6B","choices":[{"index":0,"text":" city","logprobs":null,"finish_reason":null,"stop_reason":null}]}"#;
    let chat = r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":" city"}}],"created":1763900000,"id":"chatcmpl-1","model":"gemma","system_fingerprint":"b7137","object":"chat.completion.chunk"}"#;
    for (what, part) in [("completion", wide), ("chat", chat)] {
        let mut bytes = events(&[part]).repeat(TOKENS as usize);
        bytes.extend(events(&[STOP, "[DONE]"]));
        let bytes = Bytes::from(bytes);
        // The best of some rounds: what else the machine does only adds.
        let best = (0..7).map(|_| {
            let expected = Expected { budget: TOKENS, counts: false, window: None, phases: Vec::new() };
            let mut decoder = Decoder::new(crate::refusal::teller(BackendId::new("openai"), None), expected);
            let (mut out, mut rest, mut chunks) = (VecDeque::new(), bytes.clone(), 0);
            let began = std::time::Instant::now();
            while !rest.is_empty() {
                decoder.feed(Stamp(1), rest.split_to(1460.min(rest.len())), &mut out).unwrap();
                chunks += out.drain(..).count();
            }
            decoder.finish(&mut out).unwrap();
            let took = began.elapsed();
            assert_eq!(chunks, TOKENS as usize);
            took
        });
        let nanos = best.min().unwrap().as_nanos() / u128::from(TOKENS);
        println!("{what}: {nanos} ns per token of {} bytes", part.len() + 8);
    }
}

/// What arbitrary bytes must keep to: one end, last, and the same in every split. The fuzz target does the same.
fn lawful(bytes: &[u8], cuts: &[usize], counts: bool) {
    let whole = kinds(bytes, &[], counts);
    assert_eq!(kinds(bytes, cuts, counts), whole);
    if let Ok(kinds) = whole {
        assert!(matches!(kinds.last(), Some(EventKind::Finished(_))));
        assert_eq!(kinds.iter().filter(|kind| matches!(kind, EventKind::Finished(_))).count(), 1);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_an_answer_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cuts in proptest::collection::vec(0_usize..40, 0..8),
        counts: bool,
    ) {
        lawful(&bytes, &cuts, counts);
    }

    #[test]
    fn shuffled_parts_are_an_answer_or_an_error(
        picks in proptest::collection::vec(0_usize..12, 0..12),
        cuts in proptest::collection::vec(0_usize..90, 0..12),
        counts: bool,
    ) {
        let known = [
            A, STOP, "[DONE]", "{}", "null", "[]", r#"{"error":{"message":"x"}}"#, "",
            r#"{"choices":[{"index":0,"delta":{"content":"é"}}],"usage":{"completion_tokens":1}}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"length","token_ids":[1,2]}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2},"timings":{"prompt_ms":1.5}}"#,
            r#"{"choices":[{"text":"\ud800"}]}"#,
        ];
        let parts: Vec<&str> = picks.iter().map(|pick| known[*pick]).collect();
        lawful(&events(&parts), &cuts, counts);
    }
}
