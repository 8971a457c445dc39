//! What made a run: version, source, toolchain and build of this program.

use std::process::Command;

use chimera_records::ProgramRecord;

use crate::places;

/// The record for a run's manifest.
#[must_use]
pub fn record() -> ProgramRecord {
    let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
    let revision = git(&["rev-parse", "HEAD"]);
    let dirty = revision.as_ref().and_then(|_| git(&["status", "--porcelain", "--untracked-files=no"]));
    ProgramRecord {
        version: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        git_revision: revision,
        git_dirty: dirty.map(|status| !status.is_empty()),
        toolchain: text(env!("CHIMERA_RUSTC")),
        profile: text(env!("CHIMERA_BUILD_PROFILE")),
        target_features: text(env!("CHIMERA_TARGET_FEATURES")),
        arguments: std::env::args().skip(1).collect(),
    }
}

/// Output of git in the checkout; `None` where there is no checkout or no git.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(places::checkout()?).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
