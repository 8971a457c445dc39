//! How fast the server is, against a client that does nothing but read. Printed, never judged: see `-- --nocapture`.

use std::{io::Read, time::Instant};

use chimera_serve::script::{Protocol, Tokens};

use crate::client::{Client, body, ms, request, serve_model};

#[test]
fn tokens_per_second_are_printed() {
    for (label, per_write) in [("a line a chunk", 1), ("64 lines a chunk", 64)] {
        for protocol in [Protocol::OllamaGenerate, Protocol::OpenAiChat] {
            let mut tokens = Tokens::unpaced(100_000);
            tokens.lines_per_write = per_write;
            let (server, clock) = serve_model(tokens);
            let mut client = Client::new(server.addr(), &clock);
            let ask = request("POST", protocol.path(), &body(protocol, "m", 9, true));
            let mut buffer = vec![0; 256 << 10];
            let mut read = |client: &mut Client, bytes: u64| {
                let mut left = bytes;
                while left > 0 {
                    let n = client.stream.read(&mut buffer[..left.min(256 << 10) as usize]).expect("bytes");
                    assert!(n > 0, "the end came early");
                    left -= n as u64;
                }
            };
            // The first answer is rendered; the truth tells its length.
            client.send(&ask);
            let first = client.read(usize::MAX);
            assert!(first.body.len() > 100_000);
            while server.records().is_empty() {
                std::thread::yield_now();
            }
            let bytes = server.records()[0].bytes;
            let turns = 10;
            let begun = Instant::now();
            for _ in 0..turns {
                client.send(&ask);
                // Durations at the end may have a digit more or less: the last bytes are left to the next read.
                read(&mut client, bytes - 200);
                client.read_tail();
            }
            let took = begun.elapsed().as_secs_f64();
            let truth = server.stop().expect("the truth");
            let tokens: u64 = truth.records[1..].iter().map(chimera_serve::truth::TruthRecord::tokens).sum();
            assert_eq!(tokens, 100_000 * turns);
            println!(
                "{protocol:?}, {label}: {:.0} tokens/s, {:.0} MB/s",
                tokens as f64 / took,
                bytes as f64 * turns as f64 / took / 1e6
            );
        }
    }
}

#[test]
fn lateness_of_a_paced_server_is_printed() {
    let (ttft, gap) = (ms(300), ms(20));
    let (server, clock) = serve_model(Tokens::paced(100, ttft, gap));
    let mut clients: Vec<_> = (0..64).map(|_| Client::new(server.addr(), &clock)).collect();
    let ask = request("POST", "/api/generate", &body(Protocol::OllamaGenerate, "m", 9, true));
    for client in &mut clients {
        client.send(&ask);
        std::thread::sleep(ms(1)); // So that streams are not due at the same time.
    }
    // Nobody reads before the end: what is shown is the server alone.
    while server.records().len() < 64 {
        std::thread::sleep(ms(50));
    }
    let (mut late, mut width) = (Vec::new(), Vec::new());
    for record in server.stop().expect("the truth").records {
        for (i, write) in (0..).zip(record.token_writes()) {
            let due = record.received.after(ttft + gap * i);
            late.push(write.before.since(due).expect("not early"));
            width.push(write.after.since(write.before).expect("in order"));
        }
    }
    assert_eq!(late.len(), 6400);
    for (label, all) in [("late", &mut late), ("width of the stamps", &mut width)] {
        all.sort_unstable();
        println!(
            "64 streams of 50 tokens/s, {label}: p50 {:?}, p99 {:?}, max {:?}",
            all[3200], all[6336], all[6399]
        );
    }
}
