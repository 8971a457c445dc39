//! Memory under what has no end: a process of its own is the client, so that what the server holds is not counted.

use std::{fs, io::Write, process::Command, sync::Arc};

use chimera_wire::Limits;

use crate::{
    adapter::Adapter,
    cases::Cases,
    outcome::{BOUND, Outcome, Want},
    server::{After, Play, Server},
};

/// What a client may grow by, in KiB.
const MOST_KIB: u64 = 64 << 10;
/// More than that, so that an answer that is kept would show.
const BODY: u64 = 80 << 20;
/// Tells a process that it is the client: the adapter's number, the server's address, and what it does.
const CHILD: &str = "CHIMERA_FAULTS_CLIENT";

/// A number of `/proc/self/status`, in KiB.
fn status(key: &str) -> Option<u64> {
    let all = fs::read_to_string("/proc/self/status").ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().ok()
}

/// The client: says by how much it grew at its peak, and what came of its request.
#[expect(clippy::print_stdout, reason = "this is how it tells its parent")]
fn client(told: &str) {
    let parts: Vec<&str> = told.split(' ').collect();
    let [number, address, what] = parts.as_slice() else { panic!("{told}") };
    let adapter = Adapter::ALL[number.parse::<usize>().unwrap()];
    let limits = Limits { head: BOUND, stall: BOUND, body: BODY, ..Limits::default() };
    let address = address.parse().unwrap();
    let code = if *what == "load" {
        // The peak so far is forgotten.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS").unwrap();
        let code = adapter.session(address, limits).map_or_else(|error| error.code(), |_| "success");
        println!("grew={} code={code};", status("VmHWM").unwrap().saturating_sub(before));
        return;
    } else {
        let session = adapter.session(address, limits).unwrap();
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS").unwrap();
        let outcome = Outcome::of(&session, adapter).unwrap();
        print!("grew={} ", status("VmHWM").unwrap().saturating_sub(before));
        outcome.end.map_or_else(|(code, _)| code, |_| "success")
    };
    println!("code={code};");
}

/// Growth and code of a client of its own.
fn grown(adapter: Adapter, server: &Server, what: &str) -> (u64, String) {
    let number = Adapter::ALL.iter().position(|other| *other == adapter).unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::what_has_no_end_takes_bounded_memory", "--nocapture"])
        .env(CHILD, format!("{number} {} {what}", server.address))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let find = |key: &str, end: char| {
        let from = said.split_once(key)?.1;
        Some(from.split_once(end)?.0.to_owned())
    };
    let (Some(grew), Some(code)) = (find("grew=", ' '), find("code=", ';')) else {
        panic!("{}: {said}{}", adapter.name(), String::from_utf8_lossy(&out.stderr));
    };
    (grew.parse().unwrap(), code)
}

#[test]
fn what_has_no_end_takes_bounded_memory() {
    if let Ok(told) = std::env::var(CHILD) {
        return client(&told);
    }
    if status("VmHWM").is_none() || fs::metadata("/proc/self/clear_refs").is_err() {
        println!("SKIP: this system does not tell a process its peak of memory");
        return;
    }
    let (mut count, mut most, mut wrong) = (0, (0, String::new()), Vec::new());
    let mut judge = |name: String, (grew, code): (u64, String), codes: &[&str]| {
        count += 1;
        if !codes.contains(&code.as_str()) || grew >= MOST_KIB {
            wrong.push(format!("{name}: `{code}` (of {codes:?}), grew by {grew} KiB"));
        }
        if grew > most.0 {
            most = (grew, name);
        }
    };
    for adapter in Adapter::ALL {
        let server = Server::start(adapter);
        for case in Cases::of(adapter) {
            let greedy = ["without end", "10 MB", "100 kB", "a hundred thousand", "never ends", "gzip"];
            if case.hasty || !greedy.iter().any(|part| case.name.contains(part)) {
                continue;
            }
            server.break_with(case.play);
            let codes = match case.want {
                Want::Text => vec!["success"],
                Want::Error(codes) => codes.to_vec(),
                Want::Either(codes) => [codes, &["success"]].concat(),
            };
            judge(format!("{}, {}", adapter.name(), case.name), grown(adapter, &server, "ask"), &codes);
        }
        server.heal();
        for (name, begin) in [
            (
                "a description without end",
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"x\":\"",
            ),
            ("a refusal of a load without end", "HTTP/1.1 500 x\r\n\r\n"),
        ] {
            let play: Play = Arc::new(move |stream| {
                stream.write_all(begin.as_bytes()).ok();
                while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
                After::Close
            });
            server.break_management_with(play);
            let name = format!("{}, {name}", adapter.name());
            judge(name, grown(adapter, &server, "load"), &["protocol", "failed"]);
        }
    }
    println!("memory: {count} cases; the most is {} KiB: {}", most.0, most.1);
    assert!(count > 0 && wrong.is_empty(), "{}", wrong.join("\n"));
}
