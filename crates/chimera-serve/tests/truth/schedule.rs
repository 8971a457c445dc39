//! When the server sends what, and what it says about that.

use std::time::Instant;

use chimera_serve::script::{Act, Answer, Framing, Protocol, Script, Tokens, When};
use chimera_serve::truth::{Ending, TruthRecord, TruthServer};

use crate::client::{Client, End, PATIENCE, ms, serve, serve_model};

/// What holds for every record.
pub(crate) fn check(record: &TruthRecord) {
    let mut last = record.received;
    for write in &record.writes {
        assert!(last <= write.before && write.before <= write.after, "{record:?}");
        assert!(write.bytes > 0);
        last = write.after;
    }
    assert!(last <= record.end);
    assert_eq!(record.bytes, record.writes.iter().map(|w| u64::from(w.bytes)).sum::<u64>());
    if let Some((before, after)) = record.head {
        assert!(record.writes.iter().any(|w| (w.before, w.after) == (before, after)));
    }
}

/// The record of an answer that the client has read: the server closes it a moment after its last write.
fn record(server: &TruthServer, number: u64) -> TruthRecord {
    let waited = Instant::now();
    loop {
        if let Some(record) = server.records().into_iter().find(|record| record.request == number) {
            return record;
        }
        assert!(waited.elapsed() < PATIENCE, "no record");
        std::thread::yield_now();
    }
}

#[test]
fn tokens_are_never_early_and_the_client_reads_them_after_the_first_stamp() {
    let (server, clock) = serve_model(Tokens::paced(20, ms(30), ms(5)));
    let mut client = Client::new(server.addr(), &clock);
    for protocol in Protocol::ALL {
        let asked = clock.now();
        let response = client.generate(protocol, "m", 9);
        let record = &record(&server, response.number());
        check(record);
        assert_eq!((record.request, record.tokens(), record.ending), (response.number(), 20, Ending::Done));
        assert!(record.received >= asked);
        let writes: Vec<_> = record.token_writes().collect();
        assert_eq!(writes.len(), 20, "one write a token");
        for (i, write) in (0..).zip(&writes) {
            let due = record.received.after(ms(30) + ms(5) * i);
            assert!(write.before >= due, "token {i} was early");
        }
        // Bytes that the client has read were handed over before: by the truth's count at that time.
        let mut handed = 0;
        let mut calls = record.writes.iter().peekable();
        for (at, bytes) in &response.reads {
            while let Some(write) = calls.next_if(|write| write.before <= *at) {
                handed += write.bytes as usize;
            }
            assert!(*bytes <= handed, "{bytes} bytes read at {at:?}, {handed} handed over");
        }
        assert_eq!(handed as u64, record.bytes);
    }
}

#[test]
fn tokens_are_counted_exactly_in_every_chunking() {
    for per_chunk in [1, 2, 4, 8, 16] {
        for lines_per_write in [1, 3] {
            for paced in [false, true] {
                let mut tokens = Tokens::unpaced(50).per_chunk(per_chunk);
                tokens.lines_per_write = lines_per_write;
                if paced {
                    tokens.gap = ms(1) / 10;
                }
                let lines = 50_u32.div_ceil(u32::from(per_chunk));
                let chunks = lines.div_ceil(u32::from(lines_per_write)) as usize;
                let (server, clock) = serve_model(tokens.clone());
                let response = Client::new(server.addr(), &clock).generate(Protocol::OllamaGenerate, "m", 9);
                assert_eq!(response.chunks.len(), chunks + 1, "{tokens:?}");
                let text: String = response
                    .text()
                    .lines()
                    .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
                    .map(|line| line["response"].as_str().expect("text").to_owned())
                    .collect();
                assert_eq!(text, tokens.text(0, 50));
                let truth = server.stop().expect("the truth");
                check(&truth.records[0]);
                assert_eq!(truth.records[0].tokens(), 50);
                if paced {
                    assert_eq!(truth.records[0].token_writes().count(), chunks);
                }
            }
        }
    }
}

#[test]
fn characters_are_split_between_writes_and_tokens_count_with_the_rest() {
    for gap in [ms(0), ms(2)] {
        let mut tokens = Tokens::paced(12, ms(5), gap);
        tokens.split_utf8 = true;
        tokens.words = [" naïve", " 漢字", "🦀", " plain"].map(str::to_owned).to_vec();
        let (server, clock) = serve_model(tokens);
        let response = Client::new(server.addr(), &clock).generate(Protocol::OpenAiChat, "m", 9);
        assert!(std::str::from_utf8(&response.body).is_ok());
        let broken = response.chunks.iter().filter(|chunk| std::str::from_utf8(chunk).is_err()).count();
        assert_eq!(broken, 18, "two halves of each of 9 tokens; plain words stay whole");
        let truth = server.stop().expect("the truth");
        let record = &truth.records[0];
        check(record);
        assert_eq!(record.tokens(), 12);
        // A half carries no token before the rest is there. Unpaced, a rest goes out with the next half.
        assert!(record.writes.len() >= if gap.is_zero() { 10 } else { 18 }, "{record:?}");
        assert_eq!(record.writes[0].tokens, 0);
    }
}

#[test]
fn an_early_head_comes_before_the_first_token() {
    let mut tokens = Tokens::paced(2, ms(40), ms(0));
    tokens.early_head = true;
    let (server, clock) = serve_model(tokens);
    Client::new(server.addr(), &clock).generate(Protocol::OllamaChat, "m", 9);
    let truth = server.stop().expect("the truth");
    let record = &truth.records[0];
    let (head, _) = record.head.expect("a head");
    assert!(record.token_writes().next().expect("a token").before.since(head) >= Some(ms(10)));
    assert_eq!(record.writes[0].tokens, 0);
}

#[test]
fn lateness_does_not_add_up() {
    let mut answer = Answer::new(200, Framing::Chunked);
    for _ in 0..50 {
        answer = answer.step(ms(2), Act::write("x", 1));
    }
    let (server, clock) = serve(Script::new().rule(When::any(), answer));
    let response = Client::new(server.addr(), &clock).ask("GET", "/", "");
    assert_eq!((response.text().len(), response.end), (50, End::Proper));
    let truth = server.stop().expect("the truth");
    for (i, write) in (1..).zip(truth.records[0].token_writes()) {
        assert!(write.before >= truth.records[0].received.after(ms(2) * i));
    }
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let (server, clock) = serve_model(Tokens::paced(3, ms(5), ms(1)));
    let mut client = Client::new(server.addr(), &clock);
    let request = crate::client::request(
        "POST",
        "/api/generate",
        &crate::client::body(Protocol::OllamaGenerate, "m", 9, true),
    );
    client.send(request.repeat(20));
    for i in 1..=20 {
        let response = client.read(usize::MAX);
        assert_eq!((response.number(), response.end, response.text().lines().count()), (i, End::Proper, 4));
    }
    let truth = server.stop().expect("the truth");
    assert!(truth.records.iter().all(|record| record.connection == 1 && record.tokens() == 3));
    for pair in truth.records.windows(2) {
        assert!(pair[0].end <= pair[1].received, "an answer begins when the one before has ended");
    }
}

#[test]
fn three_hundred_connections_are_served_at_once() {
    let (server, clock) = serve_model(Tokens::paced(10, ms(300), ms(20)));
    let mut clients: Vec<_> = (0..300).map(|_| Client::new(server.addr(), &clock)).collect();
    let request = crate::client::request(
        "POST",
        "/v1/completions",
        &crate::client::body(Protocol::OpenAiCompletions, "m", 9, true),
    );
    clients.iter_mut().for_each(|client| client.send(&request));
    for client in &mut clients {
        let response = client.read(usize::MAX);
        assert_eq!(response.end, End::Proper);
        assert!(response.text().ends_with("[DONE]\n\n"));
    }
    let truth = server.stop().expect("the truth");
    assert_eq!(truth.records.len(), 300);
    truth.records.iter().for_each(check);
    assert!(truth.records.iter().all(|r| r.tokens() == 10 && r.ending == Ending::Done));
}
