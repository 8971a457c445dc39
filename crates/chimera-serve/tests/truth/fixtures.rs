//! The scripts that come with the project, and what is said about those that are none.

use std::path::PathBuf;

use chimera_serve::script::{Count, FaultKind, Protocol, Script};

use crate::client::{Client, End, body, ms, request, serve};

fn scripts() -> Vec<(String, String)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/scripts"));
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a text"))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_script_that_comes_with_the_project_plays() {
    let scripts = scripts();
    let mut played = 0;
    for (name, text) in &scripts {
        assert!(text.starts_with("# "), "{name} says what it is for");
        let script = Script::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (server, clock) = serve(script.clone());
        // All at once: the slowest takes two seconds.
        let mut clients = Vec::new();
        for model in &script.models {
            for protocol in Protocol::ALL {
                let mut client = Client::new(server.addr(), &clock);
                client.send(request("POST", protocol.path(), &body(protocol, &model.name, 64, true)));
                clients.push((model, protocol, client));
            }
        }
        for (model, protocol, mut client) in clients {
            let kind = model.fault.as_ref().map(|fault| &fault.kind);
            let stalls = kind == Some(&FaultKind::Stall);
            client.stream.set_read_timeout(Some(ms(if stalls { 300 } else { 20_000 }))).expect("a timeout");
            let enough = if kind == Some(&FaultKind::Endless) { 20_000 } else { usize::MAX };
            let response = client.read(enough);
            let want = match kind {
                Some(FaultKind::Reset) => End::Reset,
                Some(FaultKind::Close) => End::Eof,
                Some(FaultKind::Stall) => End::Silence,
                Some(FaultKind::Endless) => End::Enough,
                _ => End::Proper,
            };
            assert_eq!(response.end, want, "{name}: {} {protocol:?}", model.name);
            played += 1;
        }
        let truth = server.stop().expect("the truth");
        assert_eq!(truth.records.len(), script.models.len() * 4, "{name}");
        for record in &truth.records {
            crate::schedule::check(record);
            let model =
                script.models.iter().find(|m| Some(&m.name) == record.model.as_ref()).expect("a model");
            let count = match model.tokens.count {
                Count::Fixed(count) => count,
                Count::FromRequest => 64,
            };
            match &model.fault {
                None => assert_eq!(record.tokens(), u64::from(count), "{}", model.name),
                Some(fault) if fault.kind == FaultKind::Endless => assert!(record.tokens() > 5),
                Some(fault)
                    if fault.kind == FaultKind::Gzip || matches!(fault.kind, FaultKind::LongLine(_)) =>
                {
                    assert_eq!(record.tokens(), u64::from(count), "{}", model.name);
                }
                Some(fault) => assert_eq!(record.tokens(), u64::from(fault.at), "{}", model.name),
            }
        }
    }
    println!("{} scripts, {played} answers", scripts.len());
    assert!(scripts.len() >= 6);
}

#[test]
fn rules_of_the_faults_are_chosen_by_a_word_of_the_prompt() {
    let text = scripts().into_iter().find(|(name, _)| name == "faults").expect("the faults").1;
    let (server, clock) = serve(Script::parse(&text).expect("a script"));
    let ask = |word: &str| {
        let body = format!(r#"{{"model":"fine","prompt":"{word}"}}"#);
        Client::new(server.addr(), &clock).ask("POST", "/api/generate", &body)
    };
    let seen: Vec<_> = (0..3).map(|_| ask("busy-then-reset-then-fine")).map(|r| (r.status, r.end)).collect();
    assert_eq!(seen, [(503, End::Proper), (0, End::Reset), (200, End::Proper)]);
    assert!(ask("no-http").body.starts_with(&[0, 255]));
}

#[test]
fn what_is_no_script_is_told_with_its_place() {
    let error = |text: &str| Script::parse(text).expect_err("no script").to_string();
    let model = |rest: &str| format!("[[models]]\nname = \"m\"\n{rest}");
    for (text, place, reason) in [
        ("models = 3".to_owned(), "`models`", "invalid type"),
        ("= 3".to_owned(), "`.`", "TOML parse error"),
        (model("colour = 1"), "`models[0].colour`", "unknown field"),
        (model("tokens.count = \"many\""), "`models[0].tokens.count`", "from_request"),
        (model("tokens.gap_ms = -1"), "`models[0].tokens.gap_ms`", "0 milliseconds"),
        (model("tokens.gap_ms = nan"), "`models[0].tokens.gap_ms`", "0 milliseconds"),
        (model("tokens.per_chunk = 17"), "`models[0].tokens.per_chunk`", "1 to 16"),
        (model("tokens.count = 250_001"), "`models[0].tokens.count`", "at most"),
        (model("tokens.words = []"), "`models[0].tokens.words`", "at least one"),
        (model("fault = { kind = \"gzip\", at = 3 }"), "`models[0].fault.at`", "whole response"),
        (model("fault = { kind = \"explode\" }"), "`models[0].fault.kind`", "unknown variant"),
        (model("fault = { kind = { http_error = 200 } }"), "`models[0].fault.kind.http_error`", "400 to 599"),
        (model("[[models]]\nname = \"m\""), "`models[1].name`", "earlier"),
        (model("name = \"\""), "`.`", "duplicate key"),
        (
            "[[rules]]\nanswer = { steps = [{ act = \"end\" }, { act = \"head\" }] }".to_owned(),
            "`rules[0].answer.steps[0].act`",
            "follow an ending",
        ),
        (
            "[[rules]]\nanswer = { framing = \"raw\", steps = [{ act = \"head\" }] }".to_owned(),
            "`rules[0].answer.steps[0].act`",
            "raw",
        ),
        (
            "[[rules]]\nanswer = { steps = [{ act = { write = { bytes = 3 } } }] }".to_owned(),
            "`rules[0].answer.steps[0].act",
            "a text, or a list of numbers",
        ),
        (
            "[[rules]]\nanswer = { headers = [[\"a b\", \"c\"]], steps = [] }".to_owned(),
            "`rules[0].answer.headers[0]`",
            "token",
        ),
    ] {
        let said = error(&text);
        assert!(said.contains(place) && said.contains(reason), "{text}\n{said}");
    }
}
