//! Writing a report to a directory. Each file appears whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::ReportError;
use crate::model::Findings;
use crate::{csv, html, markdown, svg};

/// Writes `findings.json`, `tables/<id>.csv`, `plots/<id>.svg`, `report.md` and `report.html` under `dir`, which is made
/// if need be, and returns their paths in that order. Files of the same name are replaced; others are left alone.
///
/// # Errors
/// [`ReportError::Write`] with the file that could not be written. `findings.json` is written first and flushed to the
/// disk: whatever else fails can be rendered again from it.
pub fn write_all(findings: &Findings, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let mut written = Vec::new();
    let mut put = |name: &str, content: &str, durable: bool| -> Result<(), ReportError> {
        let path = dir.join(name);
        replace(&path, content.as_bytes(), durable)
            .map_err(|source| ReportError::Write { path: path.clone(), source })?;
        written.push(path);
        Ok(())
    };
    for folder in [dir.to_path_buf(), dir.join("tables"), dir.join("plots")] {
        fs::create_dir_all(&folder).map_err(|source| ReportError::Write { path: folder, source })?;
    }
    put("findings.json", &findings.to_json()?, true)?;
    for table in findings.tables() {
        put(&format!("tables/{}.csv", table.id), &csv(table), false)?;
    }
    for plot in findings.plots() {
        put(&format!("plots/{}.svg", plot.id), &svg(plot), false)?;
    }
    put("report.md", &markdown(findings), false)?;
    put("report.html", &html(findings), false)?;
    Ok(written)
}

/// Writes beside the target and renames over it.
fn replace(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // The first error is the one worth reporting; a left-over temporary file harms nothing.
        let _ = fs::remove_file(&temporary);
    })
}
