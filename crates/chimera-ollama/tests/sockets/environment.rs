//! What the environment says. Variables are those of a child, since a process's own cannot be changed safely.

use std::{process::Command, sync::Arc};

use chimera_core::{InferenceBackend, SystemClock};
use chimera_ollama::OllamaBackend;

#[test]
fn shown_in_a_child() {
    if std::env::var_os("CHIMERA_OLLAMA_SHOW").is_none() {
        return;
    }
    match OllamaBackend::from_env(Arc::new(SystemClock::new())) {
        Ok(backend) => println!("<{} {}> {backend:?}", backend.id(), backend.endpoint()),
        Err(error) => println!("<{}> {error}", error.code()),
    }
}

fn shown(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "environment::shown_in_a_child", "--nocapture"]);
    for name in
        ["OLLAMA_HOST", "OLLAMA_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy"]
    {
        child.env_remove(name);
    }
    child.env("CHIMERA_OLLAMA_SHOW", "1").envs(variables.iter().copied());
    String::from_utf8(child.output().unwrap().stdout).unwrap()
}

#[test]
fn the_environment_names_the_server() {
    assert!(shown(&[]).contains("<ollama@127.0.0.1:11434 http://127.0.0.1:11434>"));
    assert!(shown(&[("OLLAMA_HOST", "0.0.0.0:7")]).contains("<ollama@127.0.0.1:7 http://127.0.0.1:7>"));
    let secure = shown(&[("OLLAMA_HOST", "https://models.example"), ("OLLAMA_API_KEY", "sekret")]);
    assert!(secure.contains("https://models.example:443>") && !secure.contains("sekret"), "{secure}");
    assert!(shown(&[("OLLAMA_HOST", "ftp://x")]).contains("<address>"));
    // A proxy that cannot be used is told, not gone around.
    let proxied = [("OLLAMA_HOST", "http://models.example"), ("http_proxy", "https://p")];
    assert!(shown(&proxied).contains("<address>"));
}
