//! A real Ollama: found, or built from its published module by Go. The archive's hash is pinned here and the archive
//! pins the hashes of everything it needs (`go.sum`), so that what is built is what was looked at, whether or not the
//! public checksum database can be reached. `docs/real-ollama.md` is the page for users.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    build::{cpu_fingerprint, root},
    server,
};

/// The version that is built. Newer ones do not build from their module archive alone: it lacks vendored C++ headers.
const VERSION: &str = "0.11.4";
const MODULE: &str = "github.com/ollama/ollama";
/// Hash of that version's archive, as Go's checksum database has it.
const SUM: &str = "h1:6xLYLEPTKtw6N20qQecyEL/rrBktPO4o5U05cnvkSmI=";
/// Without these flags the C++ runner is built without optimisation and decodes at a third of its rate.
const C_FLAGS: &str = "-O3 -march=native";

/// `cargo xtask fetch ollama`.
pub(crate) fn fetch() -> Result<()> {
    if let Some(host) = env::var_os("OLLAMA_HOST") {
        let host = host.to_string_lossy().into_owned();
        match server::address(&host).and_then(|address| Ok((server::version(&address)?, address))) {
            Ok((version, address)) => {
                println!("OLLAMA_HOST answers: Ollama {version} at http://{address}");
                return Ok(());
            }
            Err(error) => eprintln!("xtask: OLLAMA_HOST={host} does not answer ({error:#}); looking further"),
        }
    }
    let found = binary()?;
    println!("{}", found.display());
    println!("start it with `{} serve`", found.display());
    Ok(())
}

/// An Ollama binary: one that is there, or one built now. An error says what is missing.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(found) = present() {
        eprintln!("xtask: Ollama is here already: {}", found.display());
        return Ok(found);
    }
    let binary = built();
    if super::wheel::is_forbidden() {
        bail!("there is no `ollama` on PATH, and CHIMERA_NO_FETCH forbids to build one");
    }
    let go = go()?;
    let (folder, stamp) = (folder(), folder().join("stamp"));
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let _ = std::fs::remove_file(&stamp);
    let started = Instant::now();
    eprintln!("xtask: building Ollama {VERSION} with {go}; it takes some minutes, once");
    let source = download()?;
    // Go knows its build cache by the flags, and `native` is another CPU elsewhere: the cache is for this build alone.
    let cache = root().join("target/fetched/go/build");
    let _ = std::fs::remove_dir_all(&cache);
    output(build(&source, &binary).env("GOCACHE", &cache)).context("building Ollama failed")?;
    let _ = std::fs::remove_dir_all(&cache);
    // Written last: a stamp says that everything before it went well.
    std::fs::write(&stamp, recipe(&cpu_fingerprint()))
        .with_context(|| format!("{} cannot be written", stamp.display()))?;
    eprintln!("xtask: Ollama {VERSION} built in {:.0} s", started.elapsed().as_secs_f64());
    Ok(binary)
}

/// The binary on PATH, or the one of a former call.
pub(crate) fn present() -> Option<PathBuf> {
    let made = || is_made(&folder().join("stamp"), &recipe(&cpu_fingerprint())) && built().is_file();
    on_path("ollama").or_else(|| made().then(built))
}

fn folder() -> PathBuf {
    root().join("target/fetched/ollama").join(VERSION)
}

/// Where the binary is that is built here.
fn built() -> PathBuf {
    folder().join("ollama").with_extension(env::consts::EXE_EXTENSION)
}

/// What a binary was made from; another recipe is another binary.
fn recipe(cpu: &str) -> String {
    format!("{MODULE}@v{VERSION} {SUM}\nflags {C_FLAGS}\ncpu {cpu}\n")
}

fn is_made(stamp: &Path, recipe: &str) -> bool {
    std::fs::read_to_string(stamp).is_ok_and(|made| made == recipe)
}

/// The version of Go, if it and the compilers it needs are here.
fn go() -> Result<String> {
    let Ok(said) = output(Command::new("go").arg("version")) else {
        bail!(
            "there is no Ollama and no Go to build it: install Ollama (https://ollama.com/download) or Go 1.24 or \
             newer (https://go.dev/dl)"
        );
    };
    for variable in ["CC", "CXX"] {
        let compiler = output(Command::new("go").args(["env", variable]))?;
        let program = compiler.split_whitespace().next().unwrap_or_default();
        ensure!(
            !program.is_empty() && output(Command::new(program).arg("--version")).is_ok(),
            "Go needs a C and a C++ compiler to build Ollama and `{program}` does not start: install one (`apt \
             install g++`, `xcode-select --install`) or Ollama itself (https://ollama.com/download)"
        );
    }
    Ok(go_version(&said).map_or_else(|| "Go".to_owned(), |version| format!("Go {version}")))
}

/// `go version go1.24.2 linux/amd64` gives `1.24.2`.
fn go_version(said: &str) -> Option<&str> {
    let version = said.split_whitespace().nth(2)?.strip_prefix("go")?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// `go` with folders of its own; whoever has set a module cache keeps it.
fn go_command() -> Command {
    let mut command = Command::new("go");
    if env::var_os("GOPATH").is_none() && env::var_os("GOMODCACHE").is_none() {
        command.env("GOPATH", root().join("target/fetched/go/path"));
    }
    // `-modcacherw`: a module cache that `cargo clean` can remove.
    command.env("GOFLAGS", "-mod=readonly -modcacherw -buildvcs=false");
    command.env("GOCACHE", root().join("target/fetched/go/cache"));
    command.current_dir(root()).env("GOWORK", "off");
    command
}

fn go_download(checked: bool) -> Result<String> {
    let mut command = go_command();
    if !checked {
        command.env("GOSUMDB", "off");
    }
    output(command.args(["mod", "download", "-json"]).arg(format!("{MODULE}@v{VERSION}")))
}

/// Downloads the module and says where its sources are.
fn download() -> Result<PathBuf> {
    let said = match go_download(true) {
        Ok(said) => said,
        Err(error) if is_database_away(&format!("{error:#}")) => {
            eprintln!("xtask: Go's checksum database cannot be reached; the hash pinned here decides alone");
            go_download(false)?
        }
        Err(error) => return Err(error.context("downloading the sources of Ollama failed")),
    };
    let sum = field(&said, "Sum").context("Go named no hash of the module")?;
    ensure!(
        sum == SUM,
        "the sources of Ollama {VERSION} hash to {sum}, and {SUM} was expected: nothing is built"
    );
    let folder = PathBuf::from(field(&said, "Dir").context("Go named no folder of the module")?);
    ensure!(folder.join("go.sum").is_file(), "the sources of Ollama pin no hashes of what they need");
    Ok(folder)
}

/// Whether a failed download is one of the checksum database and not of a wrong checksum.
fn is_database_away(error: &str) -> bool {
    error.contains("verifying") && !error.contains("mismatch") && !error.contains("SECURITY ERROR")
}

/// A field of `go mod download -json`, whose values hold no escapes here but backslashes of Windows.
fn field(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let value = rest.trim_start().strip_prefix('"')?.split('"').next()?;
    Some(value.replace("\\\\", "\\"))
}

/// Builds in the folder of the sources, where their own `go.sum` checks everything else that is downloaded.
fn build(source: &Path, binary: &Path) -> Command {
    let mut command = go_command();
    command
        .args(["build", "-ldflags", &format!("-X={MODULE}/version.Version={VERSION}"), "-o"])
        .arg(binary)
        .arg(".")
        .current_dir(source)
        .envs([("CGO_ENABLED", "1"), ("CGO_CFLAGS", C_FLAGS), ("CGO_CXXFLAGS", C_FLAGS)]);
    command
}

/// Runs a command and returns what it wrote; an error is the end of what it complained about.
fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{:?}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("go: downloading")).collect();
        // `go mod download -json` complains in its JSON.
        let told = field(&String::from_utf8_lossy(&output.stdout), "Error").unwrap_or_default();
        bail!("{}{told}", lines[lines.len().saturating_sub(5)..].join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program on PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name).with_extension(env::consts::EXE_EXTENSION))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_read() {
        assert_eq!(go_version("go version go1.24.2 linux/amd64\n"), Some("1.24.2"));
        assert_eq!(go_version("go version devel +abc linux/amd64"), None);
        assert_eq!(go_version(""), None);
    }

    #[test]
    fn answers_of_go_are_read() {
        let json = "{\n\t\"Path\": \"x\",\n\t\"Dir\": \"C:\\\\go\\\\x@v1\",\n\t\"Sum\": \"h1:a/b=\",\n\t\"GoModSum\": \"h1:c=\"\n}";
        assert_eq!(field(json, "Sum").as_deref(), Some("h1:a/b="));
        assert_eq!(field(json, "Dir").as_deref(), Some("C:\\go\\x@v1"));
        assert_eq!(field(json, "Zip"), None);
    }

    #[test]
    fn a_wrong_checksum_is_never_taken_for_an_unreachable_database() {
        assert!(is_database_away(
            "x@v1: verifying module: Get \"https://db/lookup\": dial tcp: no route to host"
        ));
        assert!(!is_database_away("x@v1: verifying module: checksum mismatch"));
        assert!(!is_database_away("verifying x: SECURITY ERROR"));
        assert!(!is_database_away("dial tcp: no route to host"));
    }

    #[test]
    fn the_build_has_its_flags_and_its_version() {
        let command = build(Path::new("sources"), Path::new("out/ollama"));
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!(
            args,
            [
                "build",
                "-ldflags",
                "-X=github.com/ollama/ollama/version.Version=0.11.4",
                "-o",
                "out/ollama",
                "."
            ]
        );
        assert_eq!(command.get_current_dir(), Some(Path::new("sources")));
        for (name, wanted) in [("CGO_ENABLED", "1"), ("CGO_CFLAGS", C_FLAGS), ("CGO_CXXFLAGS", C_FLAGS)] {
            let set = command.get_envs().find(|(known, _)| *known == name).and_then(|(_, value)| value);
            assert_eq!(set, Some(wanted.as_ref()), "{name}");
        }
    }

    #[test]
    fn a_stamp_of_another_cpu_or_none_means_building_again() {
        let folder = env::temp_dir().join(format!("chimera-xtask-stamp-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let stamp = folder.join("stamp");
        assert!(!is_made(&stamp, &recipe("a")));
        std::fs::write(&stamp, recipe("a")).expect("a stamp");
        assert!(is_made(&stamp, &recipe("a")));
        assert!(!is_made(&stamp, &recipe("b")));
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_failed_command_says_why() {
        let error = output(Command::new("go-that-is-nowhere").arg("version")).expect_err("there is none");
        assert!(format!("{error:#}").contains("go-that-is-nowhere"), "{error:#}");
    }
}
