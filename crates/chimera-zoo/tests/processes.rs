//! What needs other processes: two that fill one folder at once, and the reference packages' view of what is written.

use std::path::Path;
use std::process::Command;

use chimera_zoo::{ModelFiles, Variant, Zoo, ZooError};

/// Where the child puts its models.
const FOLDER: &str = "CHIMERA_ZOO_TEST_FOLDER";

fn child_work(root: &Path) -> Result<ModelFiles, ZooError> {
    Zoo::open(root)?.ensure("llama-10m", Variant::F32Safetensors)
}

#[test]
#[ignore = "the process of another test: processes_that_ask_at_once_share_one_folder"]
fn child() {
    let own = tempfile::tempdir().unwrap();
    let root = std::env::var_os(FOLDER).map_or_else(|| own.path().to_path_buf(), Into::into);
    child_work(&root).unwrap().verify().unwrap();
}

#[test]
fn processes_that_ask_at_once_share_one_folder() {
    let root = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--ignored"])
                .env(FOLDER, root.path())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    child_work(root.path()).unwrap().verify().unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "one model, no temporary folder");
}

#[test]
fn the_reference_packages_see_what_was_meant() {
    let Some(python) = std::env::var_os("CHIMERA_ORACLE_PYTHON") else {
        println!(
            "SKIP: no Python with the reference packages (CHIMERA_ORACLE_PYTHON names it; `cargo xtask test` makes one)"
        );
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(root.path()).unwrap();
    for name in ["tiny-gpt2", "gpt2-5m", "llama-0.1m", "llama-1m", "gemma3-1m"] {
        for variant in Variant::ALL {
            let made = zoo.ensure(name, variant);
            assert!(made.as_ref().is_ok_and(|f| f.manifest.tokenizer) || made.is_err_and(|e| e.is_skip()));
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/check.py");
    let output = Command::new(python).arg(script).arg(root.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("checked 18 GGUF files"), "{text}");
}
