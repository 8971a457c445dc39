//! Makes everything ready before a run: models are made from their seeds or fetched, so that no trial pays for it. An
//! optional model that cannot be had is a gap in the report, not an error.

use std::collections::BTreeSet;

use chimera_harness::Registry;
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
    let needed: BTreeSet<(&str, &str)> = design
        .grid
        .iter()
        .flat_map(|grid| grid.backend.iter().map(move |backend| (grid, backend.as_str())))
        .filter(|(_, backend)| *backend != "sim")
        .flat_map(|(grid, backend)| grid.model.iter().map(move |model| (model.as_str(), backend)))
        .collect();
    let mut needed = needed;
    // The reference of the checks is needed also where no grid asks for it.
    if let Some(quality) = design.quality.as_ref().filter(|quality| quality.reference != "sim") {
        let asked: Vec<&str> = needed.iter().map(|(model, _)| *model).collect();
        let references = asked
            .into_iter()
            .filter_map(|model| quality.reference_of(design, design.model(model)?))
            .map(|reference| (reference.id.as_str(), quality.reference.as_str()));
        needed.extend(references.collect::<Vec<_>>());
    }
    for entry in &design.model {
        for (_, backend) in needed.iter().filter(|(id, _)| *id == entry.id) {
            match model(lab, entry, backend, offline) {
                Ok(()) => {}
                Err(reason) if entry.optional => eprintln!("model {}: left out: {reason}", entry.id),
                Err(reason) => {
                    return Err(anyhow::anyhow!("model {}: {reason}", entry.id)).exit(FILES);
                }
            }
        }
    }
    Ok(())
}

/// Makes or fetches one model for one backend, and compares its files with their recorded SHA-256.
///
/// # Errors
/// Why it cannot be had, in words.
pub fn model(lab: &Lab, entry: &ModelEntry, backend: &str, offline: bool) -> Result<(), String> {
    if chimera_zoo::real_model(&entry.source).is_some() {
        let options = FetchOptions { offline, ..FetchOptions::default() };
        lab.zoo().fetch(&entry.source, &options, &mut tell).map_err(|error| error.to_string())?;
    }
    let found = lab.model(entry, backend).map_err(|missing| missing.reason)?;
    if found.reference.path.is_none() {
        return Ok(());
    }
    lab.verify(entry, backend)
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
