//! The official Python clients drive the server. The interpreter that has them is named by `CHIMERA_CLIENTS_PYTHON`; a
//! virtual environment from `clients/requirements.txt` is one.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper of tests: a broken expectation is a failure, and a skipped test says so"
)]

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use chimera_serve::{ServeOptions, ServedModel, Server};
use chimera_sim::{Laws, SimBackend, SimModel};

fn drive(script: &str) {
    let Some(python) = std::env::var_os("CHIMERA_CLIENTS_PYTHON") else {
        println!("SKIP: CHIMERA_CLIENTS_PYTHON names no interpreter that has the official clients");
        return;
    };
    let laws = Laws::default().decode(Duration::from_micros(300), Duration::ZERO);
    let backend = SimBackend::builder().model(SimModel::new("tiny").laws(laws)).build();
    let models = vec![ServedModel::named("tiny")];
    let server = Server::start(Arc::new(backend), models, ServeOptions::default()).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = Command::new(python)
        .arg(path)
        .args([server.url().as_str(), "tiny"])
        .env_remove("OLLAMA_API_KEY")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}");
    assert!(said.contains(" checks"), "{said}");
    print!("{said}");
    server.stop();
}

#[test]
fn the_official_ollama_client_works_unchanged() {
    drive("drive_ollama.py");
}

#[test]
fn the_official_openai_client_works_unchanged() {
    drive("drive_openai.py");
}
