//! As fast as it goes: how many tokens does the whole client take per second of one core? The server has to be at least
//! twice as fast in the same run, or the figure is void: then it was the server's.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use chimera_core::Clock;
use chimera_serve::script::{ScriptModel, Tokens};

use super::{
    bench_client::{Adapter, load, server, stream, truth},
    figures::thread_time,
};

/// What an unpaced run showed.
#[derive(Debug)]
pub(super) struct Unpaced {
    pub(super) adapter: Adapter,
    pub(super) tokens: u64,
    /// Tokens per second of processor time of the client's thread.
    pub(super) per_core: Option<f64>,
    /// Tokens per second by the clock on the wall.
    pub(super) by_wall: f64,
    /// Tokens per second that a reader took which only reads.
    pub(super) server: f64,
    /// The tokens that were reported were the tokens that were written.
    pub(super) exact: bool,
}

impl Unpaced {
    /// Whether the server was fast enough for the figure to be the client's.
    pub(super) fn is_void(&self) -> bool {
        self.server < 2.0 * self.by_wall
    }
}

/// Reads `tokens` tokens as fast as it goes, several times in turns with a bare reader; the best of each counts.
pub(super) fn run(
    adapter: Adapter,
    clock: &Arc<dyn Clock>,
    tokens: u32,
    turns: u32,
) -> anyhow::Result<Unpaced> {
    let server = server(vec![ScriptModel::new("fast", Tokens::unpaced(tokens))], clock)?;
    let (backend, _) = adapter.client(&server.url(), Arc::clone(clock))?;
    let session = async_io::block_on(load(&*backend, "fast"))?;
    let mut found = Unpaced {
        adapter,
        tokens: u64::from(tokens),
        per_core: None,
        by_wall: 0.0,
        server: 0.0,
        exact: true,
    };
    for _ in 0..turns {
        let (start, before) = (Instant::now(), thread_time());
        let seen = async_io::block_on(stream(
            Arc::clone(&session),
            Arc::clone(clock),
            Duration::ZERO,
            tokens,
            false,
        ))?;
        let cpu = before.zip(thread_time()).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        found.by_wall = found.by_wall.max(f64::from(tokens) / start.elapsed().as_secs_f64());
        let rate = cpu.filter(|cpu| *cpu > 0.0).map(|cpu| f64::from(tokens) / cpu);
        found.per_core = found.per_core.into_iter().chain(rate).reduce(f64::max);
        found.exact &= seen.generated == Some(tokens) && seen.chunks.len() == tokens as usize;
        let took = drain(server.addr(), adapter)?;
        found.server = found.server.max(f64::from(tokens) / took.as_secs_f64());
    }
    drop(truth(server)?);
    Ok(found)
}

/// Reads the same answer without looking at it.
fn drain(address: std::net::SocketAddr, adapter: Adapter) -> anyhow::Result<Duration> {
    let (path, body) = match adapter {
        Adapter::Ollama => ("/api/generate", r#"{"model":"fast","prompt":"x","raw":true}"#),
        Adapter::OpenAi => {
            let body =
                r#"{"model":"fast","prompt":"x","stream":true,"stream_options":{"include_usage":true}}"#;
            ("/v1/completions", body)
        }
    };
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let start = Instant::now();
    socket.write_all(request.as_bytes())?;
    let mut buffer = vec![0; 1 << 16];
    let mut all = 0_u64;
    loop {
        match socket.read(&mut buffer).context("the bare reader")? {
            0 => break,
            n => all += n as u64,
        }
    }
    anyhow::ensure!(all > 10_000, "the scripted server answered a bare reader with {all} bytes");
    Ok(start.elapsed())
}
