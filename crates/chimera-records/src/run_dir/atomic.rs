//! Replaces a whole file so that a crash leaves the old one or the new one. Appending to records is not done here.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use super::RunError;

/// How the names of drafts end.
const DRAFT: &str = ".tmp";

/// Removes the drafts that processes which were killed left of a file.
pub(super) fn remove_drafts(path: &Path) -> Result<(), RunError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let (folder_error, prefix) = (|error| RunError::io("read", folder, error), name.as_encoded_bytes());
    for entry in fs::read_dir(folder).map_err(folder_error)? {
        let entry = entry.map_err(folder_error)?;
        let file = entry.file_name();
        let rest = file.as_encoded_bytes().strip_prefix(prefix);
        if rest.is_some_and(|rest| rest.ends_with(DRAFT.as_bytes())) {
            fs::remove_file(entry.path()).map_err(|error| RunError::io("remove", entry.path(), error))?;
        }
    }
    Ok(())
}

/// Writes beside the file, forces it to disk, renames it over the old one, and forces the folder's entry too.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}{DRAFT}", std::process::id()));
    let draft = path.with_file_name(name);
    let result = (|| {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&draft, path)?;
        sync_folder(path)
    })();
    result.map_err(|error| {
        // The draft is worthless; the error that made it so is what matters.
        let _ = fs::remove_file(&draft);
        RunError::io("write", path, error)
    })
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> std::io::Result<()> {
    Ok(()) // A folder cannot be opened as a file there; the rename itself is journalled.
}
