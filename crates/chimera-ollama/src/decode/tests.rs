//! The decoder of Ollama's lines on lines by hand and on arbitrary bytes.

use proptest::prelude::*;

use super::*;

const END: &str = r#"{"response":"","done":true,"done_reason":"stop","total_duration":90,"load_duration":10,"prompt_eval_count":5,"prompt_eval_duration":30,"eval_count":2,"eval_duration":40}"#;

fn chunk(text: &str) -> String {
    serde_json::json!({ "response": text, "done": false }).to_string()
}

fn read(lines: &[&str]) -> Result<Vec<Event>, BackendError> {
    read_whole((lines.join("\n") + "\n").as_bytes(), &[], 8, 100)
}

fn text(events: &[Event]) -> String {
    let parts = events.iter().filter_map(|event| match &event.kind {
        EventKind::Chunk { text, .. } => Some(text.as_str()),
        _ => None,
    });
    parts.collect()
}

fn end(events: &[Event]) -> &Finished {
    match events.last().map(|event| &event.kind) {
        Some(EventKind::Finished(finished)) => finished,
        other => panic!("no end but {other:?}"),
    }
}

fn code(lines: &[&str]) -> &'static str {
    read(lines).expect_err("a bad answer is taken").code()
}

#[test]
fn counts_and_durations_are_verbatim() {
    let events = read(&[&chunk("grö"), &chunk("ßer 🦀\n"), END]).unwrap();
    assert_eq!(text(&events), "größer 🦀\n");
    let end = end(&events);
    assert_eq!((end.prompt, end.cached, end.generated), (Some(5), None, Some(2)));
    assert_eq!(end.reason, FinishReason::Stop);
    let timings: Vec<_> = end.timings.iter().map(|t| (t.phase, t.nanos, t.source)).collect();
    let server = ClockSource::Server;
    assert_eq!(
        timings,
        [
            (Phase::Load, 10, server),
            (Phase::Prefill, 30, server),
            (Phase::Decode, 40, server),
            (Phase::Total, 90, server)
        ]
    );
}

#[test]
fn what_is_missing_is_not_made_up() {
    let events = read(&[&chunk("a"), r#"{"done":true}"#]).unwrap();
    let bare = end(&events);
    assert_eq!((bare.prompt, bare.cached, bare.generated), (None, None, None));
    assert!(bare.timings.is_empty());
    assert_eq!(bare.reason, FinishReason::Stop);
    // The same with as many chunks as were asked for.
    let chunk = chunk("a");
    let mut lines = vec![chunk.as_str(); 8];
    lines.push(r#"{"done":true,"eval_count":null,"eval_duration":-3,"prompt_eval_count":1.5}"#);
    let events = read(&lines).unwrap();
    assert_eq!(end(&events).reason, FinishReason::Length);
    assert_eq!((end(&events).generated, end(&events).prompt), (None, None));
}

#[test]
fn cached_tokens_are_told_where_a_server_tells_them() {
    let told = |cached: u32| {
        format!(r#"{{"done":true,"prompt_eval_count":5,"prompt_eval_cached_count":{cached},"eval_count":1}}"#)
    };
    assert_eq!(end(&read(&[&told(4)]).unwrap()).cached, Some(4));
    assert_eq!(end(&read(&[&told(6)]).unwrap()).cached, None);
}

#[test]
fn thoughts_and_chat_are_text_in_their_order() {
    let events = read(&[
        r#"{"message":{"role":"assistant","content":"","thinking":"hm "},"done":false}"#,
        r#"{"message":{"role":"assistant","content":"yes"},"done":false}"#,
        r#"{"message":{"role":"assistant","content":"!"},"done":true,"done_reason":"stop"}"#,
    ])
    .unwrap();
    assert_eq!(text(&events), "hm yes!");
    assert_eq!(text(&read(&[r#"{"response":"b","thinking":"a","done":false}"#, END]).unwrap()), "ab");
}

#[test]
fn a_second_end_is_taken_only_when_it_says_nothing_else() {
    let bare = r#"{"response":"","done":true}"#;
    assert_eq!(end(&read(&[&chunk("a"), END, bare]).unwrap()).generated, Some(2));
    assert_eq!(end(&read(&[&chunk("a"), END, END]).unwrap()).generated, Some(2));
    assert_eq!(code(&[&chunk("a"), END, &END.replace("\"eval_count\":2", "\"eval_count\":3")]), "protocol");
    assert_eq!(code(&[&chunk("a"), END, &END.replace("stop", "length")]), "protocol");
    assert_eq!(code(&[&chunk("a"), END, &chunk("b")]), "protocol");
}

#[test]
fn broken_answers_are_errors() {
    assert_eq!(code(&[]), "protocol");
    assert_eq!(code(&[&chunk("a")]), "protocol");
    assert_eq!(code(&[&chunk("a"), r#"{"error":"an unknown error"}"#]), "failed");
    assert_eq!(code(&[&chunk("a"), END, r#"{"error":"late"}"#]), "failed");
    assert_eq!(code(&[r#"{"error":"CUDA error: out of memory"}"#]), "out-of-memory");
    assert_eq!(code(&["<html>"]), "protocol");
    assert_eq!(code(&["{}"]), "protocol");
    assert_eq!(code(&["[1]"]), "protocol");
    assert_eq!(code(&[r#"{"response":7}"#]), "protocol");
    assert_eq!(code(&[r#"{"done":true,"done_reason":"load"}"#]), "protocol");
    assert_eq!(code(&[r#"{"done":true,"eval_count":9}"#]), "protocol");
    let cut = read_whole(br#"{"response":"a","done":fal"#, &[], 8, 100).unwrap_err().to_string();
    assert!(cut.contains("middle of a line"), "{cut}");
    let endless = chunk("a") + "\n";
    let endless = endless.repeat(2 * 8 + 65);
    let told = read_whole(endless.as_bytes(), &[], 8, 100).unwrap_err().to_string();
    assert!(told.contains("never ends"), "{told}");
    let line = vec![b'x'; LINE + 1];
    assert_eq!(read_whole(&line, &[], 8, 100).unwrap_err().code(), "protocol");
}

#[test]
fn an_answer_that_was_ended_for_its_repetition_says_so() {
    let same = chunk("a");
    let answer =
        |times: usize| read_whole(format!("{same}\n").repeat(times).as_bytes(), &[], 100, 1000).unwrap_err();
    assert_eq!((answer(30).code(), answer(31).code()), ("protocol", "failed"));
    assert!(answer(31).to_string().contains("repeats itself"));
}

#[test]
fn a_cut_prompt_is_an_error() {
    let told = |prompt: u32, generated: u32| {
        let line = format!(r#"{{"done":true,"prompt_eval_count":{prompt},"eval_count":{generated}}}"#);
        read(&[line.as_str()])
    };
    assert!(told(99, 1).is_ok());
    let cut = told(100, 0).unwrap_err();
    assert_eq!(cut.code(), "invalid-request");
    assert!(cut.to_string().contains("larger context"), "{cut}");
    assert_eq!(told(99, 2).unwrap_err().code(), "invalid-request");
}

#[test]
fn tokens_without_a_whole_character_are_not_lost() {
    let events = read(&[r#"{"response":"","done":true,"done_reason":"length","eval_count":8}"#]).unwrap();
    assert_eq!((events.len(), text(&events).as_str(), end(&events).generated), (2, "", Some(8)));
    let mut law = chimera_core::Law::new(1);
    law.see(&Ok(Event { at: Stamp(0), lane: 0, kind: EventKind::Sent })).unwrap();
    for event in events {
        law.see(&Ok(event)).unwrap();
    }
}

#[test]
fn a_last_line_needs_no_line_end_and_keeps_its_stamp() {
    let whole = format!("{}\n{END}", chunk("a"));
    let events = read_whole(whole.as_bytes(), &[5, whole.len() - 5 - 3], 8, 100).unwrap();
    let at: Vec<u64> = events.iter().map(|event| event.at.0).collect();
    // The chunk's line ends in the second piece, the end's in the third.
    assert_eq!(at, [2, 3]);
}

/// Prints what a token costs; asserts only that all were read.
#[test]
fn reading_a_token_costs_little() {
    let line = r#"{"model":"smollm2:135m","created_at":"2026-11-25T02:27:47.923029446Z","response":" the","done":false}"#;
    let count = 50_000_u32;
    let body = Bytes::from(format!("{line}\n"));
    let expected = Expected { budget: count, window: 1 << 20, phases: PHASES.to_vec() };
    let mut decoder = Decoder::new(crate::refusal::teller(BackendId::new("o"), None), expected);
    let mut events = VecDeque::new();
    let (mut seen, began) = (0, std::time::Instant::now());
    for _ in 0..count {
        decoder.feed(Stamp(1), body.clone(), &mut events).unwrap();
        seen += std::mem::take(&mut events).len();
    }
    let nanos = began.elapsed().as_nanos() / u128::from(count);
    println!("{nanos} ns per token to read a line");
    assert_eq!(seen, count as usize);
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| chunk(&text)),
        Just(END.to_owned()),
        Just(r#"{"error":"x"}"#.to_owned()),
        Just(r#"{"done":true}"#.to_owned()),
        ".{0,40}",
    ]
}

fn outcome(result: Result<Vec<Event>, BackendError>) -> Result<Vec<EventKind>, String> {
    result
        .map(|events| events.into_iter().map(|event| event.kind).collect())
        .map_err(|error| error.to_string())
}

proptest! {
    #[test]
    fn every_split_gives_the_same_answer(lines in prop::collection::vec(line(), 0..8), cuts in prop::collection::vec(0_usize..60, 0..12)) {
        let whole = lines.join("\n");
        let once = outcome(read_whole(whole.as_bytes(), &[], 8, 100));
        prop_assert_eq!(outcome(read_whole(whole.as_bytes(), &cuts, 8, 100)), once.clone());
        let single = vec![1; whole.len()];
        prop_assert_eq!(outcome(read_whole(whole.as_bytes(), &single, 8, 100)), once);
    }

    #[test]
    fn arbitrary_bytes_end_in_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(0_usize..90, 0..9)) {
        if let Ok(events) = read_whole(&bytes, &cuts, 8, 100) {
            prop_assert!(matches!(events.last().map(|e| &e.kind), Some(EventKind::Finished(_))));
        }
    }
}
