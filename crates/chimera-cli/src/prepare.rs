//! Makes everything ready before a run: models are made from their seeds or fetched, so that no trial pays for it. An
//! optional model that cannot be had is a gap in the report, not an error.

use std::collections::BTreeSet;

use chimera_records::{ModelEntry, Settings};
use chimera_zoo::{FetchEvent, FetchOptions};

use crate::{
    exit::{FILES, WithExit},
    registry::Lab,
};

/// Makes or fetches every model that the settings ask for on a backend that needs files, and compares every file with its
/// recorded SHA-256: a digest in a manifest must be that of the weights that ran.
///
/// # Errors
/// A model that is not optional and cannot be had, or a file that is not what it was.
pub fn models(lab: &Lab, settings: &Settings, offline: bool) -> anyhow::Result<()> {
    let design = &settings.design;
    let needed: BTreeSet<&str> = design
        .grid
        .iter()
        .filter(|grid| grid.backend.iter().any(|backend| backend != "sim"))
        .flat_map(|grid| grid.model.iter().map(String::as_str))
        .collect();
    for entry in design.model.iter().filter(|entry| needed.contains(entry.id.as_str())) {
        match model(lab, entry, offline) {
            Ok(()) => {}
            Err(reason) if entry.optional => eprintln!("model {}: left out: {reason}", entry.id),
            Err(reason) => {
                return Err(anyhow::anyhow!("model {}: {reason}", entry.id)).exit(FILES);
            }
        }
    }
    Ok(())
}

fn model(lab: &Lab, entry: &ModelEntry, offline: bool) -> Result<(), String> {
    if chimera_zoo::real_model(&entry.source).is_some() {
        let options = FetchOptions { offline, ..FetchOptions::default() };
        lab.zoo().fetch(&entry.source, &options, &mut tell).map_err(|error| error.to_string())?;
    }
    let files = lab.files(&entry.source, &entry.variant).map_err(|missing| missing.reason)?;
    files.verify().map_err(|error| error.to_string())
}

/// Says what a fetch is about to do: licence and size come before the download.
pub fn tell(event: FetchEvent) {
    match event {
        FetchEvent::Offer { name, licence, bytes, publisher } => {
            let size = bytes.map_or_else(
                || "size unknown".to_owned(),
                |bytes| chimera_report::show_number(bytes as f64, "B").to_string(),
            );
            eprintln!("fetching {name}: licence {licence}, {size}, from {publisher}");
        }
        FetchEvent::Running(command) => eprintln!("  {command}"),
        FetchEvent::Verifying => eprintln!("  comparing its SHA-256"),
        other => eprintln!("  {other:?}"),
    }
}
