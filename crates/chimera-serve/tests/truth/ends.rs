//! How answers end, and how the server does.

use std::time::{Duration, Instant};

use chimera_serve::script::{FaultKind, Protocol, Script, ScriptModel, Tokens};
use chimera_serve::truth::{Ending, TruthRecord};

use crate::client::{Client, End, ms, serve};

/// Plays a fault after five tokens of ten and returns what the client and the server saw.
fn play(kind: FaultKind, end: End) -> (String, TruthRecord) {
    let model = ScriptModel::new("m", Tokens::paced(10, ms(5), ms(1))).failing(5, kind);
    let (server, clock) = serve(Script::new().model(model));
    let mut client = Client::new(server.addr(), &clock);
    client.stream.set_read_timeout(Some(ms(400))).expect("a timeout");
    let response = client.generate(Protocol::OllamaGenerate, "m", 99);
    assert_eq!((response.status, response.end), (200, end));
    drop(client);
    let mut truth = server.stop().expect("the truth");
    crate::schedule::check(&truth.records[0]);
    (String::from_utf8_lossy(&response.body).into_owned(), truth.records.remove(0))
}

#[test]
fn a_reset_is_a_reset_and_a_close_is_a_close() {
    for (kind, end, ending) in
        [(FaultKind::Reset, End::Reset, Ending::Reset), (FaultKind::Close, End::Eof, Ending::Closed)]
    {
        let name = kind.name();
        let (text, record) = play(kind, end);
        assert_eq!(text.matches("\"done\":false").count(), 5, "{name}");
        assert_eq!((record.tokens(), record.ending, record.fault.as_deref()), (5, ending, Some(name)));
    }
}

#[test]
fn a_stall_stalls_until_the_client_leaves() {
    let (text, record) = play(FaultKind::Stall, End::Silence);
    assert_eq!(text.lines().count(), 5);
    assert_eq!((record.tokens(), record.ending), (5, Ending::Stalled));
    assert!(record.end.since(record.writes.last().expect("a write").after) >= Some(ms(300)));
}

#[test]
fn lines_break_where_the_script_says() {
    let (text, _) = play(FaultKind::ErrorLine, End::Proper);
    assert_eq!(text.lines().nth(5), Some("{\"error\":\"the script breaks here\"}"));
    let (text, _) = play(FaultKind::Garbage, End::Proper);
    assert!(text.contains("garbage"));
    let (text, record) = play(FaultKind::TruncatedLine, End::Proper);
    assert!(
        !text.ends_with('\n')
            && serde_json::from_str::<serde_json::Value>(text.lines().nth(5).expect("a line")).is_err()
    );
    assert_eq!((record.tokens(), record.ending), (5, Ending::Done));
    let (text, record) = play(FaultKind::LongLine(1 << 20), End::Proper);
    assert_eq!((text.lines().count(), record.tokens()), (11, 10));
    assert!(text.lines().nth(5).expect("a line").len() > 1 << 20);
}

#[test]
fn an_endless_answer_ends_when_the_client_leaves() {
    for gap in [ms(0), ms(1)] {
        let model = ScriptModel::new("m", Tokens::paced(10, ms(0), gap)).failing(5, FaultKind::Endless);
        let (server, clock) = serve(Script::new().model(model));
        let mut client = Client::new(server.addr(), &clock);
        client.send(crate::client::request(
            "POST",
            "/api/chat",
            &crate::client::body(Protocol::OllamaChat, "m", 9, true),
        ));
        assert_eq!(client.read(4000).end, End::Enough);
        drop(client);
        let waited = Instant::now();
        while server.records().is_empty() {
            assert!(
                waited.elapsed() < Duration::from_secs(20),
                "the server does not see that the client left"
            );
            std::thread::sleep(ms(5));
        }
        let truth = server.stop().expect("the truth");
        assert_eq!(truth.records[0].ending, Ending::ClientLeft);
        assert!(truth.records[0].tokens() > 5);
    }
}

#[test]
fn whole_responses_can_be_wrong() {
    let ask = |kind: FaultKind, stream: bool| {
        let model = ScriptModel::new("m", Tokens::paced(3, ms(1), ms(1))).failing(0, kind);
        let (server, clock) = serve(Script::new().model(model));
        let body = crate::client::body(Protocol::OpenAiChat, "m", 9, stream);
        Client::new(server.addr(), &clock).ask("POST", "/v1/chat/completions", &body)
    };
    for stream in [true, false] {
        let error = ask(FaultKind::HttpError(502), stream);
        assert_eq!(error.status, 502);
        assert!(error.text().contains("\"server_error\""));
        let page = ask(FaultKind::WrongContentType, stream);
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let away = ask(FaultKind::Redirect("/elsewhere".to_owned()), stream);
        assert_eq!((away.status, away.header("location")), (307, Some("/elsewhere")));
    }
}

#[test]
fn a_client_that_reads_slowly_gets_all_and_every_part_is_stamped() {
    let model =
        ScriptModel::new("m", Tokens::paced(2, ms(0), ms(1))).failing(1, FaultKind::LongLine(32 << 20));
    let (server, clock) = serve(Script::new().model(model));
    let mut client = Client::new(server.addr(), &clock);
    client.send(crate::client::request(
        "POST",
        "/api/generate",
        &crate::client::body(Protocol::OllamaGenerate, "m", 9, true),
    ));
    std::thread::sleep(ms(200)); // The server runs against a full buffer.
    let response = client.read(usize::MAX);
    assert_eq!((response.end, response.text().lines().count()), (End::Proper, 3));
    let truth = server.stop().expect("the truth");
    let record = &truth.records[0];
    crate::schedule::check(record);
    assert!(record.writes.len() > 32, "{} parts", record.writes.len());
    assert_eq!(record.tokens(), 2);
    let last = record.token_writes().last().expect("a token");
    let before: u64 = record.writes.iter().take_while(|w| *w != last).map(|w| u64::from(w.bytes)).sum();
    assert!(before > 30 << 20, "the long token counts with its last byte");
}

#[test]
fn stop_ends_promptly_whatever_is_under_way() {
    let script = Script::new()
        .model(ScriptModel::new("slow", Tokens::paced(1000, ms(60_000), ms(60_000))))
        .model(ScriptModel::new("stall", Tokens::unpaced(9)).failing(3, FaultKind::Stall))
        .model(ScriptModel::new("endless", Tokens::unpaced(9)).failing(3, FaultKind::Endless));
    let (server, clock) = serve(script);
    let mut clients = Vec::new();
    for i in 0..30 {
        let mut client = Client::new(server.addr(), &clock);
        let model = ["slow", "stall", "endless"][i % 3];
        client.send(crate::client::request(
            "POST",
            "/api/generate",
            &crate::client::body(Protocol::OllamaGenerate, model, 9, true),
        ));
        if model != "slow" {
            assert!(client.read(100).status == 200);
        }
        clients.push(client);
    }
    let asked = Instant::now();
    let truth = server.stop().expect("the truth");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let of = |model: &str| -> Vec<Ending> {
        truth.records.iter().filter(|r| r.model.as_deref() == Some(model)).map(|r| r.ending).collect()
    };
    assert_eq!(of("stall"), [Ending::Stalled; 10]);
    assert_eq!(of("endless"), [Ending::Stopped; 10]);
    // Those that were never heard of again may not even have been read.
    assert!(of("slow").iter().all(|ending| *ending == Ending::Stopped));
}
