//! The walls of the house as tests: who may depend on whom, who may do I/O, what every crate and file must have. A rule
//! that is only written down is a hope.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

/// Which crates of ours each crate may use. A crate without an entry fails: decide where it stands before adding it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("chimera-core", &[]),
    ("chimera-conformance", &["chimera-core"]),
    ("chimera-sim", &["chimera-core"]),
    ("chimera-engine", &["chimera-core"]),
    ("chimera-candle", &["chimera-core", "chimera-engine"]),
    ("chimera-llamacpp", &["chimera-core", "chimera-engine"]),
    ("chimera-onnxruntime", &["chimera-core", "chimera-engine", "chimera-onnx"]),
    ("chimera-tensorrt", &["chimera-core", "chimera-engine", "chimera-onnx"]),
    ("chimera-onnx", &[]),
    ("chimera-zoo", &["chimera-onnx"]),
    ("chimera-stats", &[]),
    ("chimera-telemetry", &[]),
    ("chimera-records", &["chimera-core"]),
    ("chimera-harness", &["chimera-core", "chimera-records", "chimera-telemetry"]),
    ("chimera-report", &["chimera-stats", "chimera-records"]),
    ("chimera-studies", &["chimera-core", "chimera-records", "chimera-report", "chimera-stats"]),
    (
        "chimera-replay",
        &["chimera-core", "chimera-records", "chimera-report", "chimera-stats", "chimera-studies"],
    ),
    ("chimera-artifacts", &[]),
    ("chimera-wire", &["chimera-core"]),
    ("chimera-ollama", &["chimera-core", "chimera-wire"]),
    ("chimera-openai", &["chimera-core", "chimera-wire"]),
    ("chimera-serve", &["chimera-core"]),
    ("chimera-load", &["chimera-core", "chimera-records"]),
    ("chimera-cli", &["*"]),
    ("chimera-benches", &["*"]),
    ("xtask", &[]),
];

/// Crates that run models. Each has a conformance suite, and only `chimera-cli` names them.
const ADAPTERS: &[&str] = &[
    "chimera-sim",
    "chimera-candle",
    "chimera-llamacpp",
    "chimera-onnxruntime",
    "chimera-tensorrt",
    "chimera-ollama",
    "chimera-openai",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        // Of this platform alone: the crates of others need not be on this machine.
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host()])
            .current_dir(root())
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
    })
}

/// The platform that this is built on.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().expect("rustc starts");
    let about = String::from_utf8(output.stdout).expect("text");
    about.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn items(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Packages of this workspace.
fn ours() -> Vec<&'static Value> {
    let members: BTreeSet<&str> = items(&metadata()["workspace_members"]).iter().map(text).collect();
    items(&metadata()["packages"]).iter().filter(|package| members.contains(text(&package["id"]))).collect()
}

/// Names of everything that a crate needs in its default build, itself excepted.
fn needs(name: &str) -> BTreeSet<String> {
    let nodes: BTreeMap<&str, &Value> =
        items(&metadata()["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
    let names: BTreeMap<&str, &str> =
        items(&metadata()["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let start =
        ours().into_iter().find(|p| text(&p["name"]) == name).map(|p| text(&p["id"])).expect("a member");
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(id) = open.pop() {
        for dependency in items(&nodes[id]["deps"]) {
            // `kind: null` is a normal dependency; dev-dependencies are of no concern to users.
            let used = items(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            let package = text(&dependency["pkg"]);
            if used && seen.insert(package) {
                open.push(package);
            }
        }
    }
    seen.into_iter().map(|id| names[id].to_owned()).collect()
}

/// Names of everything that is compiled for a crate here. `cargo metadata` also lists optional dependencies that a feature
/// would only change if something else enabled them; `cargo tree` lists what is built.
fn built(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", name, "--edges", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names in UTF-8");
    let names: BTreeSet<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(name), "the tree of {name} lacks {name}");
    names
}

fn direct(package: &Value) -> BTreeSet<&str> {
    items(&package["dependencies"])
        .iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| text(&dependency["name"]))
        .filter(|name| name.starts_with("chimera-"))
        .collect()
}

/// Rust sources under a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn crates_use_only_what_their_place_allows() {
    for package in ours() {
        let name = text(&package["name"]);
        let allowed = MAY_USE.iter().find(|(crate_name, _)| *crate_name == name);
        let (_, allowed) =
            allowed.unwrap_or_else(|| panic!("{name} has no place in MAY_USE: decide where it stands"));
        if *allowed == ["*"] {
            continue;
        }
        for dependency in direct(package) {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
    for (name, _) in MAY_USE {
        assert!(
            ours().iter().any(|package| text(&package["name"]) == *name),
            "{name} is in MAY_USE and does not exist"
        );
    }
}

#[test]
fn only_the_command_line_names_adapters() {
    for package in ours() {
        let name = text(&package["name"]);
        if matches!(name, "chimera-cli" | "chimera-benches") {
            continue;
        }
        for dependency in direct(package) {
            assert!(!ADAPTERS.contains(&dependency), "{name} names the adapter {dependency}");
        }
    }
}

#[test]
fn the_contract_is_free_of_runtimes_transports_and_native_code() {
    let forbidden = [
        "tokio",
        "async-std",
        "smol",
        "hyper",
        "reqwest",
        "ureq",
        "rustls",
        "libloading",
        "candle-core",
        "ort",
        "rayon",
    ];
    for name in ["chimera-core", "chimera-records", "chimera-conformance", "chimera-sim", "chimera-harness"] {
        let needed = needs(name);
        for wrong in forbidden {
            assert!(!needed.contains(wrong), "{name} needs {wrong}");
        }
    }
}

#[test]
fn the_default_build_needs_a_rust_toolchain_and_nothing_else() {
    for name in ["chimera-cli", "xtask"] {
        let needed = built(name);
        for wrong in ["cc", "cmake", "bindgen", "pkg-config", "prost-build", "openssl-sys"] {
            assert!(!needed.contains(wrong), "{name} needs {wrong}, which needs tools that a user may lack");
        }
    }
}

#[test]
fn xtask_is_light() {
    let needed = needs("xtask");
    assert!(needed.len() <= 5, "xtask must start in seconds, it needs {needed:?}");
}

#[test]
fn statistics_do_no_input_or_output() {
    for source in sources(&root().join("crates/chimera-stats/src")) {
        let code = fs::read_to_string(&source).expect("a source");
        // Tests may read fixtures.
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for wrong in ["std::fs", "std::net", "std::io", "std::env", "std::process", "std::time"] {
            assert!(!code.contains(wrong), "{} uses {wrong}", source.display());
        }
    }
}

#[test]
fn every_adapter_has_a_conformance_suite() {
    for adapter in ADAPTERS {
        let suite = root().join("crates").join(adapter).join("tests/conformance.rs");
        let code = fs::read_to_string(&suite).unwrap_or_else(|error| panic!("{}: {error}", suite.display()));
        assert!(code.contains("conformance_suite!"), "{} runs no suite", suite.display());
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in ours() {
        let manifest = fs::read_to_string(text(&package["manifest_path"])).expect("a manifest");
        let name = text(&package["name"]);
        // xtask prints for a living and denies unsafe code by itself.
        assert!(
            manifest.contains("[lints]\nworkspace = true") || name == "xtask",
            "{name} does not take the lints of the workspace"
        );
        assert!(!text(&package["description"]).is_empty(), "{name} says nothing of itself");
    }
}

#[test]
fn every_file_says_what_it_is_and_has_one_subject() {
    let root = root();
    let mut files = sources(&root.join("crates"));
    files.extend(sources(&root.join("xtask")));
    files.extend(sources(&root.join("benches")));
    assert!(files.len() > 50, "the search found only {} files", files.len());
    for file in files {
        let code = fs::read_to_string(&file).expect("a source");
        let name = file.strip_prefix(&root).expect("below the root").display().to_string();
        assert!(code.starts_with("//!"), "{name} does not begin with a paragraph on what it is");
        let lines = code.lines().count();
        assert!(lines <= 700, "{name} has {lines} lines: look for its second subject");
        // Entry points of child processes are no tests; everything else skips at run time and says why.
        // (Put together here, so that this file does not count itself.)
        let mark = ["#[", "ignore"].concat();
        let ignored = code.matches(&mark).count();
        let children = code.matches(&format!("{mark} = \"the process of ")).count();
        assert_eq!(
            ignored, children,
            "{name} ignores a test: skip at run time, print `SKIP: reason` and return"
        );
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("SKIP: not a git checkout, so there is no list of files to look through");
        return;
    };
    let listing = String::from_utf8(output.stdout).expect("names in UTF-8");
    // Built from pieces, so that this file does not contain what it forbids.
    let forbidden = [
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["/ho", "me/"].concat(),
        ["C:\\Us", "ers"].concat(),
    ];
    let mut looked_at = 0;
    for name in listing.split('\0').filter(|name| !name.is_empty()) {
        let Ok(text) = fs::read_to_string(root().join(name)) else { continue };
        looked_at += 1;
        for wrong in &forbidden {
            assert!(!text.contains(wrong.as_str()), "{name} holds a path of some machine: {wrong}");
        }
    }
    assert!(looked_at > 50, "only {looked_at} files were looked at");
}
