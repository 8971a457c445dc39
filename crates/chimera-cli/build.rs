//! Hands the facts of the build to the program, so that every run can record what made it.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=CHIMERA_RUSTC={}", version.trim());
    // PROFILE says `release` for every profile that inherits it; the folder has the real name:
    // <target>/<profile>/build/<crate>/out.
    let out = env::var("OUT_DIR").unwrap_or_default();
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name).and_then(|name| name.to_str());
    println!("cargo::rustc-env=CHIMERA_BUILD_PROFILE={}", profile.unwrap_or_default());
    println!(
        "cargo::rustc-env=CHIMERA_TARGET_FEATURES={}",
        env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default()
    );
}
