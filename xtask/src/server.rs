//! The Ollama server of the tests: on loopback, on a free port, with a models folder and a home of its own, stopped with
//! all its runners when the tests are over. A server of the user is never used: tests make and remove models.

use std::{
    env, fmt,
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{build::root, fetch, group::Group};

/// How long a server may take to answer its first request.
const START: Duration = Duration::from_secs(30);
/// How long one request for the version may take.
const REQUEST: Duration = Duration::from_secs(5);
/// An answer to it is some hundred bytes; who says more is no Ollama.
const ANSWER: u64 = 64 * 1024;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

/// Reads `OLLAMA_HOST` as Ollama does: scheme, host and port may each be missing.
pub(crate) fn address(text: &str) -> Result<Address> {
    let text = text.trim().trim_matches(['"', '\'']);
    let (rest, default) = match text.split_once("://") {
        None => (text, 11_434),
        Some(("http", rest)) => (rest, 80),
        Some((scheme, _)) => bail!("`{scheme}` is not looked at here, http is"),
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of a bare IPv6 address are no port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().with_context(|| format!("`{port}` is no port"))?)
        }
        _ => (rest, default),
    };
    let host = match host.trim_matches(['[', ']']) {
        "" | "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Ok(Address { host, port })
}

/// Asks a server for its version.
pub(crate) fn version(address: &Address) -> Result<String> {
    let place = address.to_string().to_socket_addrs()?.next().context("the name means no address")?;
    let mut stream = TcpStream::connect_timeout(&place, REQUEST)?;
    stream.set_read_timeout(Some(REQUEST))?;
    stream.set_write_timeout(Some(REQUEST))?;
    write!(stream, "GET /api/version HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    read_version(&String::from_utf8_lossy(&answer)).context("the answer is not Ollama's")
}

/// The version in an answer to `GET /api/version`.
fn read_version(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split_whitespace().nth(1) != Some("200") {
        return None;
    }
    let (_, rest) = body.split_once("\"version\"")?;
    let version = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split('"').next()?;
    let known = |c: char| c.is_ascii_alphanumeric() || ".-+_".contains(c);
    (!version.is_empty() && version.chars().all(known)).then(|| version.to_owned())
}

/// A running server; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    pub(crate) version: String,
    _group: Group,
}

/// Starts the server of the tests.
pub(crate) fn start() -> Result<Server> {
    let binary = fetch::ollama::binary()?;
    let home = root().join("target/ollama-test");
    // Models of a former run would let a test pass that makes none.
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(home.join("home")).with_context(|| format!("{} cannot be made", home.display()))?;
    // Another program may take the free port before the server does.
    let mut last = None;
    for _ in 0..3 {
        match try_start(&binary, &home) {
            Ok(server) => return Ok(server),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("it was not tried")))
}

fn try_start(binary: &Path, home: &Path) -> Result<Server> {
    let free = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port on loopback")?;
    let address = Address { host: "127.0.0.1".to_owned(), port: free.local_addr()?.port() };
    drop(free);
    let log = home.join("serve.log");
    let file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
    let started = Instant::now();
    let mut group = Group::start(&command(binary, home, &address), file)?;
    while started.elapsed() < START {
        if let Ok(version) = version(&address) {
            eprintln!(
                "xtask: Ollama {version} for the tests at http://{address}, up after {:.1} s",
                started.elapsed().as_secs_f64()
            );
            return Ok(Server { url: format!("http://{address}"), version, _group: group });
        }
        ensure!(!group.has_ended(), "it ended at once: {}", last_line(&log));
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("it did not answer in {} s: {}", START.as_secs(), last_line(&log))
}

/// How the server is called. Settings of the user's own server do not reach it.
fn command(binary: &Path, home: &Path, address: &Address) -> Command {
    let mut command = Command::new(binary);
    command.arg("serve");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("OLLAMA_") {
            command.env_remove(name);
        }
    }
    command
        .env("OLLAMA_HOST", address.to_string())
        .env("OLLAMA_MODELS", home.join("models"))
        .env("OLLAMA_NUM_PARALLEL", "1")
        .env("HOME", home.join("home"));
    command
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("its log is empty").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_ollama_reads_them() {
        for (text, wanted) in [
            ("localhost", "localhost:11434"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":9000", "127.0.0.1:9000"),
            ("0.0.0.0", "127.0.0.1:11434"),
            ("http://example.org", "example.org:80"),
            ("http://example.org:1234/", "example.org:1234"),
            ("[::1]:5000", "[::1]:5000"),
            ("::1", "[::1]:11434"),
            ("", "127.0.0.1:11434"),
        ] {
            assert_eq!(address(text).expect(text).to_string(), wanted, "{text}");
        }
        assert!(address("https://example.org").is_err());
        assert!(address("localhost:port").is_err());
    }

    #[test]
    fn versions_are_read_and_strangers_refused() {
        let ok = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n";
        assert_eq!(read_version(&format!("{ok}{{\"version\":\"0.11.4\"}}")).as_deref(), Some("0.11.4"));
        assert_eq!(
            read_version(&format!("{ok}{{ \"version\" : \"0.13.0-rc1\" }}")).as_deref(),
            Some("0.13.0-rc1")
        );
        assert_eq!(read_version(&format!("{ok}{{\"version\":\"\"}}")), None);
        assert_eq!(read_version(&format!("{ok}<html>")), None);
        assert_eq!(read_version("HTTP/1.1 404 Not Found\r\n\r\n{\"version\":\"1\"}"), None);
        assert_eq!(read_version(""), None);
    }

    #[test]
    fn a_stranger_on_the_port_is_no_server() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut request = [0; 512];
            let length = stream.read(&mut request).expect("a request");
            stream.write_all(b"SSH-2.0-stranger\r\n").expect("an answer");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let address = Address { host: "127.0.0.1".to_owned(), port };
        assert!(version(&address).is_err());
        assert!(stranger.join().expect("it ends").starts_with("GET /api/version HTTP/1.0\r\n"));
        // Nobody listens any more.
        assert!(version(&address).is_err());
    }

    #[test]
    fn the_server_is_on_loopback_with_folders_of_its_own() {
        let address = Address { host: "127.0.0.1".to_owned(), port: 5 };
        let command = command(Path::new("ollama"), Path::new("place"), &address);
        let set = |name: &str| {
            let found = command.get_envs().find(|(known, _)| *known == name).and_then(|(_, value)| value);
            found.map(|value| value.to_string_lossy().replace('\\', "/"))
        };
        assert_eq!(set("OLLAMA_HOST").as_deref(), Some("127.0.0.1:5"));
        assert_eq!(set("OLLAMA_MODELS").as_deref(), Some("place/models"));
        assert_eq!(set("HOME").as_deref(), Some("place/home"));
        assert_eq!(set("OLLAMA_NUM_PARALLEL").as_deref(), Some("1"));
    }

    #[test]
    fn a_real_server_answers_and_ends() {
        let Some(binary) = fetch::ollama::present() else {
            println!("SKIP: no Ollama here; `cargo xtask fetch ollama` brings one");
            return;
        };
        let home = env::temp_dir().join(format!("chimera-xtask-ollama-{}", std::process::id()));
        fs::create_dir_all(home.join("home")).expect("a folder");
        let server = try_start(&binary, &home).expect("it starts");
        let address = address(&server.url).expect("its address");
        assert_eq!(version(&address).expect("it answers"), server.version);
        drop(server);
        assert!(version(&address).is_err(), "it is gone");
        fs::remove_dir_all(&home).expect("removed");
    }
}
