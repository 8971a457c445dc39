//! What a user gets who points at a server that is silent, wants a key, or has a password in its address; and who reads no
//! more than the first line.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const SCALING: &str = env!("CARGO_BIN_EXE_phase-scaling");
const CHIMERA: &str = env!("CARGO_BIN_EXE_chimera");

/// Longest wait for a program: it guards against hanging and is no claim about speed.
const PATIENCE: Duration = Duration::from_secs(240);

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in ["OLLAMA_HOST", "OPENAI_BASE_URL", "OLLAMA_API_KEY", "OPENAI_API_KEY", "CHIMERA_TOKEN"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a program to its end, which has to come.
fn ended(mut command: Command) -> Output {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let until = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it hangs: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn run(program: &str, args: &[&str]) -> Output {
    let mut command = command(program);
    command.args(args);
    ended(command)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A server that answers each request with what `answer` says, and holds the connection open where that is nothing.
fn server(answer: impl Fn(&str) -> Option<String> + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || answering(stream.unwrap(), &answer));
        }
    });
    address
}

fn answering(mut stream: TcpStream, answer: &dyn Fn(&str) -> Option<String>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if lines.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).unwrap();
        let Some(answer) = answer(first.split(' ').nth(1).unwrap()) else { continue };
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn json(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_silent_server_does_not_keep_a_probe_waiting() {
    let silent = server(|_| None);
    let mut probe = command(CHIMERA);
    probe
        .arg("probe")
        .env("OLLAMA_HOST", silent.to_string())
        .env("OPENAI_BASE_URL", format!("http://{silent}/v1"));
    let output = ended(probe);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let late = said.lines().filter(|line| line.contains(&silent.to_string()) && line.contains("10 s"));
    assert!(late.count() >= 2, "{said}");
}

#[test]
fn a_load_that_never_ends_is_bounded_by_the_timeout() {
    let stuck = server(|path| (path == "/api/version").then(|| json("200 OK", r#"{"version":"0.12.0"}"#)));
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let output =
        run(CHIMERA, &["bench", &format!("http://{stuck}"), "--model", "m", "--timeout", "1", "--out", out]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        said(&output).contains("loading the model") && said(&output).contains("--timeout"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_password_in_an_address_is_refused_and_recorded_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("runs");
    let study = ["tr121", "--profile", "smoke", "--alone", "--model", "gpt2-5m", "--offline", "--out"];
    let address = "http://me:sekret@127.0.0.1:9";
    let named = format!("ollama@{address}");
    let config = dir.path().join("load.toml");
    std::fs::write(
        &config,
        format!("backend = \"{named}\"\nmodel = \"m\"\nlength = {{ requests = 1 }}\narrivals = {{ law = \"closed\", concurrency = [1] }}\n"),
    )
    .unwrap();
    let out = out.to_str().unwrap();
    let cases: Vec<(&str, Vec<&str>)> = vec![
        (SCALING, [&study[..], &[out, "--backend", "ollama", "--ollama", address]].concat()),
        (SCALING, [&study[..], &[out, "--backend", &named, "--dry-run"]].concat()),
        (SCALING, [&study[..], &[out, "--backend", "nobody@http://me:sekret@127.0.0.1:9"]].concat()),
        (CHIMERA, vec!["bench", &named, "--model", "m", "--out", out]),
        (CHIMERA, vec!["bench", address, "--model", "m", "--out", out]),
        (CHIMERA, vec!["bench", "--config", config.to_str().unwrap(), "--dry-run"]),
        (CHIMERA, vec!["serve", "--backend", &named, "--model", "m", "--port", "0"]),
    ];
    for (program, args) in cases {
        let output = run(program, &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(!said(&output).contains("sekret"), "{args:?}: {}", said(&output));
    }
    assert!(!Path::new(out).exists() || std::fs::read_dir(out).unwrap().next().is_none(), "a run was made");
}

#[test]
fn a_name_with_an_address_is_taken_as_runs_record_it() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for kind in ["ollama", "openai"] {
        let name = format!("{kind}@http://{silent}");
        let output = run(CHIMERA, &["bench", &name, "--model", "m"]);
        // Nobody listens: that is what it says, not that it knows no such backend.
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(&format!("{name} is not ready")), "{}", said(&output));
    }
}

#[test]
fn a_server_that_wants_a_key_before_it_says_what_it_is() {
    let closed = server(|_| Some(json("401 Unauthorized", r#"{"error":"unauthorized"}"#)));
    let output = run(CHIMERA, &["bench", &format!("http://{closed}"), "--model", "m"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    for needle in ["OLLAMA_API_KEY", "OPENAI_API_KEY"] {
        assert!(said(&output).contains(needle), "{}", said(&output));
    }
    assert!(!said(&output).contains("openai@"), "{}", said(&output));
}

#[test]
fn a_named_token_that_is_not_there_is_an_error() {
    let serve = |value: Option<&str>| {
        let mut command = command(CHIMERA);
        command.args([
            "serve",
            "--backend",
            "sim",
            "--model",
            "gpt2-5m",
            "--port",
            "0",
            "--token-from",
            "A_TOKEN",
        ]);
        match value {
            Some(value) => command.env("A_TOKEN", value),
            None => command.env_remove("A_TOKEN"),
        };
        ended(command)
    };
    for value in [None, Some(""), Some("  ")] {
        let output = serve(value);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("--token-from A_TOKEN"), "{}", said(&output));
    }
}

#[test]
fn a_model_that_the_simulator_has_not_is_an_error() {
    let output = run(CHIMERA, &["serve", "--backend", "sim", "--model", "nosuch", "--port", "0"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("nosuch"), "{}", said(&output));
}

#[test]
fn who_reads_only_the_first_line_breaks_nothing() {
    let listing: &[&str] = &["models", "list"];
    let plan: &[&str] = &["tr121", "--profile", "smoke", "--dry-run"];
    for (program, args) in [(CHIMERA, listing), (SCALING, plan)] {
        let mut child =
            command(program).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Nobody reads at all, and the pipe is gone before the program is done.
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(child.wait().unwrap().success(), "{args:?}: {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
}

#[test]
fn what_is_beyond_reason_is_refused() {
    for args in [["prove", "--streams", "100000"], ["prove", "--streams", "0"], ["prove", "--seconds", "inf"]]
    {
        let output = run(CHIMERA, &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
    }
    assert!(said(&run(SCALING, &["tr121", "--help"])).contains("gate"));
}
