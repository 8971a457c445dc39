//! The log, and what goes wrong before there is one.

use std::{fs::File, io::BufReader, sync::Arc};

use chimera_core::{Clock, SystemClock};
use chimera_serve::script::{Protocol, Script, ScriptError, ScriptModel, Tokens};
use chimera_serve::truth::{SCHEMA, Truth, TruthError, TruthOptions, TruthServer};

use crate::client::{Client, ms};

#[test]
fn the_log_is_the_truth_line_by_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("truth.jsonl");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let script = Script::new().model(ScriptModel::new("m", Tokens::paced(3, ms(2), ms(1))));
    let options = || TruthOptions { log: Some(path.clone()), ..TruthOptions::loopback(Arc::clone(&clock)) };
    let server = TruthServer::start(script.clone(), options()).expect("a server");
    let header = server.header().clone();
    let mut client = Client::new(server.addr(), &clock);
    client.generate(Protocol::OllamaGenerate, "m", 9);
    client.ask("GET", "/api/tags", "");
    let truth = server.stop().expect("the truth");
    assert_eq!((truth.records.len(), &truth.header), (2, &header));
    let read = Truth::read(BufReader::new(File::open(&path).expect("a log"))).expect("a log");
    assert_eq!(read, truth);

    let text = std::fs::read_to_string(&path).expect("a log");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["schema"]), (3, &SCHEMA.into()));
    assert_eq!((&lines[1]["request"], &lines[1]["path"]), (&1.into(), &"/api/generate".into()));
    assert_eq!(lines[1]["writes"][0].as_array().expect("a tuple").len(), 4);
    assert_eq!((&lines[1]["model"], &lines[2]["model"]), (&"m".into(), &serde_json::Value::Null));

    match TruthServer::start(script, options()) {
        Err(TruthError::Log { path: named, .. }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read_to_string(&path).expect("a log"), text, "an existing log stays as it is");
}

#[cfg(target_os = "linux")]
#[test]
fn the_header_relates_the_clock_to_that_of_the_system() {
    use nix::time::{ClockId, clock_gettime};
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let server =
        TruthServer::start(Script::new(), TruthOptions::loopback(Arc::clone(&clock))).expect("a server");
    let header = server.header();
    let (origin, error) =
        (header.clock_monotonic_ns.expect("a clock"), header.clock_error_ns.expect("an error"));
    let system = || {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a time");
        time.tv_sec() * 1_000_000_000 + time.tv_nsec()
    };
    let before = system();
    let stamp = origin + i64::try_from(clock.now().0).expect("a stamp");
    let after = system();
    let error = i64::try_from(error).expect("an error");
    assert!(before - error <= stamp && stamp <= after + error, "{before} {stamp} {after}, error {error}");
}

#[test]
fn what_cannot_start_says_why() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let first =
        TruthServer::start(Script::new(), TruthOptions::loopback(Arc::clone(&clock))).expect("a server");
    let taken = TruthOptions { bind: first.addr(), ..TruthOptions::loopback(Arc::clone(&clock)) };
    match TruthServer::start(Script::new(), taken) {
        Err(error @ TruthError::Bind { .. }) => {
            assert!(error.to_string().contains(&first.addr().to_string()))
        }
        other => panic!("{other:?}"),
    }
    let wrong = Script::new().model(ScriptModel::new("a b", Tokens::unpaced(1)));
    assert!(matches!(
        TruthServer::start(wrong, TruthOptions::loopback(clock)),
        Err(TruthError::Script(ScriptError::Invalid { .. }))
    ));
    assert!(matches!(Truth::read(&b""[..]), Err(TruthError::Read { line: 1, .. })));
    assert!(matches!(Truth::read(&b"{}\n"[..]), Err(TruthError::Read { line: 1, .. })));
}
