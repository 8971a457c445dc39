//! What the environment says. Variables are those of a child, since a process's own cannot be changed safely.

use std::{process::Command, sync::Arc};

use chimera_core::{InferenceBackend, SystemClock};
use chimera_openai::OpenAiBackend;

#[test]
fn shown_in_a_child() {
    if std::env::var_os("CHIMERA_OPENAI_SHOW").is_none() {
        return;
    }
    match OpenAiBackend::from_env(Arc::new(SystemClock::new())) {
        Ok(backend) => println!("<{} {}> {backend:?}", backend.id(), backend.endpoint()),
        Err(error) => println!("<{}> {error}", error.code()),
    }
}

fn shown(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "environment::shown_in_a_child", "--nocapture"]);
    for name in [
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
    ] {
        child.env_remove(name);
    }
    child.env("CHIMERA_OPENAI_SHOW", "1").envs(variables.iter().copied());
    String::from_utf8(child.output().unwrap().stdout).unwrap()
}

#[test]
fn the_environment_names_the_server() {
    assert!(shown(&[]).contains("<openai@127.0.0.1:8080 http://127.0.0.1:8080>"));
    assert!(shown(&[("OPENAI_BASE_URL", "0.0.0.0:7")]).contains("<openai@127.0.0.1:7 http://127.0.0.1:7>"));
    let secure = shown(&[("OPENAI_BASE_URL", "https://models.example/v1/"), ("OPENAI_API_KEY", "sekret")]);
    assert!(secure.contains("https://models.example:443>") && !secure.contains("sekret"), "{secure}");
    assert!(shown(&[("OPENAI_BASE_URL", "ftp://x")]).contains("<address>"));
    // A proxy that cannot be used is told, not gone around.
    let proxied = [("OPENAI_BASE_URL", "http://models.example"), ("http_proxy", "https://p")];
    assert!(shown(&proxied).contains("<address>"));
}
