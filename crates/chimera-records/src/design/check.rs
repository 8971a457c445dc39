//! What a design must fulfil, and the words for what does not. Nothing is changed here.

use std::collections::BTreeSet;

use super::{Design, Grid, Profile, SCHEMA};
use crate::DesignError;

impl Design {
    pub(super) fn validate(&self) -> Result<(), DesignError> {
        if self.schema != SCHEMA {
            return Err(DesignError::Schema { found: self.schema, supported: SCHEMA });
        }
        at_least_one("blocks", self.blocks)?;
        not_empty("process.threads", &self.process.threads)?;
        unique("process.threads", self.process.threads.iter().map(u32::to_string))?;
        positive("process.timeout_s", self.process.timeout_s)?;
        for (name, share) in [
            ("limits.cpu_pressure", self.limits.cpu_pressure),
            ("limits.steal", self.limits.steal),
            ("limits.failed_share", self.limits.failed_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(range(name, share, "a share lies in 0 to 1"));
            }
        }
        not_empty("model", &self.model)?;
        not_empty("scenario", &self.scenario)?;
        not_empty("grid", &self.grid)?;
        unique("model", self.model.iter().map(|model| model.id.clone()))?;
        unique("scenario", self.scenario.iter().map(|scenario| scenario.id.clone()))?;
        unique("grid", self.grid.iter().map(|grid| grid.id.clone()))?;
        unique("hypothesis", self.hypothesis.iter().map(|hypothesis| hypothesis.id.clone()))?;
        unique("published", self.published.iter().map(|published| published.id.clone()))?;
        for scenario in &self.scenario {
            let place = format!("scenario `{}`", scenario.id);
            if scenario.text.is_empty() {
                return Err(DesignError::Empty { place: format!("{place}: text") });
            }
            if let Some(tokens) = scenario.tokens {
                at_least_one(&format!("{place}: tokens"), tokens)?;
            }
        }
        for grid in &self.grid {
            self.validate_grid(grid)?;
        }
        if let Some(capacity) = &self.capacity {
            positive("capacity.usd_per_hour", capacity.usd_per_hour)?;
            positive("capacity.output_tokens_per_month", capacity.output_tokens_per_month)?;
            if !(capacity.utilisation > 0.0 && capacity.utilisation <= 1.0) {
                return Err(range("capacity.utilisation", capacity.utilisation, "a share in (0, 1]"));
            }
        }
        if let Some(quality) = &self.quality {
            quality.validate(self)?;
        }
        for (name, profile) in &self.profile {
            self.validate_profile(name, profile)?;
        }
        Ok(())
    }

    fn validate_grid(&self, grid: &Grid) -> Result<(), DesignError> {
        let place = |factor: &str| format!("grid `{}`: {factor}", grid.id);
        not_empty(&place("backend"), &grid.backend)?;
        not_empty(&place("model"), &grid.model)?;
        not_empty(&place("scenario"), &grid.scenario)?;
        not_empty(&place("gen"), &grid.budget)?;
        not_empty(&place("batch"), &grid.batch)?;
        for batch in &grid.batch {
            at_least_one(&place("batch"), *batch)?;
        }
        not_empty(&place("concurrency"), &grid.concurrency)?;
        for concurrency in &grid.concurrency {
            at_least_one(&place("concurrency"), *concurrency)?;
            // Each request has a batch of its own; lanes of both kinds in one trial could not be told apart.
            if *concurrency > 1 && grid.batch.iter().any(|batch| *batch > 1) {
                let rule = "batches and concurrency cannot be crossed: use a grid for each";
                return Err(range(&place("concurrency"), concurrency, rule));
            }
        }
        let models: Vec<&str> = self.model.iter().map(|model| model.id.as_str()).collect();
        known(&place("model"), "model", &grid.model, &models)?;
        let scenarios: Vec<&str> = self.scenario.iter().map(|scenario| scenario.id.as_str()).collect();
        known(&place("scenario"), "scenario", &grid.scenario, &scenarios)
    }

    fn validate_profile(&self, name: &str, profile: &Profile) -> Result<(), DesignError> {
        let place = |factor: &str| format!("profile `{name}`: {factor}");
        if let Some(blocks) = profile.blocks {
            at_least_one(&place("blocks"), blocks)?;
        }
        if let Some(threads) = &profile.threads {
            not_empty(&place("threads"), threads)?;
        }
        if let Some(budget) = &profile.budget {
            not_empty(&place("gen"), budget)?;
        }
        if let Some(chunks) = profile.chunks {
            at_least_one(&place("chunks"), chunks)?;
            if self.quality.is_none() {
                return Err(range(
                    &place("chunks"),
                    chunks,
                    "there is no [quality] table whose text it could cut",
                ));
            }
        }
        let grids: Vec<&str> = self.grid.iter().map(|grid| grid.id.as_str()).collect();
        let models: Vec<&str> = self.model.iter().map(|model| model.id.as_str()).collect();
        let scenarios: Vec<&str> = self.scenario.iter().map(|scenario| scenario.id.as_str()).collect();
        for (kind, names, all) in [
            ("grid", &profile.grids, &grids),
            ("model", &profile.models, &models),
            ("scenario", &profile.scenarios, &scenarios),
        ] {
            if let Some(names) = names {
                not_empty(&place(kind), names)?;
                known(&place(kind), kind, names, all)?;
            }
        }
        Ok(())
    }
}

pub(super) fn key(path: &str, error: impl std::fmt::Display) -> DesignError {
    DesignError::Key { key: path.to_owned(), reason: error.to_string().trim_end().to_owned() }
}

pub(super) fn unknown<'a>(
    place: &str,
    kind: &'static str,
    name: &str,
    all: impl IntoIterator<Item = &'a str>,
) -> DesignError {
    let known = all.into_iter().collect::<Vec<_>>().join(", ");
    DesignError::UnknownName { place: place.to_owned(), kind, name: name.to_owned(), known }
}

pub(super) fn known(
    place: &str,
    kind: &'static str,
    names: &[String],
    all: &[&str],
) -> Result<(), DesignError> {
    match names.iter().find(|name| !all.contains(&name.as_str())) {
        None => unique(place, names.iter().cloned()),
        Some(name) => Err(unknown(place, kind, name, all.iter().copied())),
    }
}

pub(super) fn unique(place: &str, names: impl IntoIterator<Item = String>) -> Result<(), DesignError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(DesignError::Empty { place: format!("a name in {place}") });
        }
        if !seen.insert(name.clone()) {
            return Err(DesignError::Duplicate { place: place.to_owned(), name });
        }
    }
    Ok(())
}

pub(super) fn not_empty<T>(place: &str, values: &[T]) -> Result<(), DesignError> {
    if values.is_empty() { Err(DesignError::Empty { place: place.to_owned() }) } else { Ok(()) }
}

pub(super) fn at_least_one(place: &str, value: u32) -> Result<(), DesignError> {
    if value == 0 { Err(range(place, value, "at least 1 is needed")) } else { Ok(()) }
}

pub(super) fn positive(place: &str, value: f64) -> Result<(), DesignError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(range(place, value, "a positive number is needed"))
    }
}

pub(super) fn range(place: &str, value: impl ToString, rule: &'static str) -> DesignError {
    DesignError::Range { place: place.to_owned(), value: value.to_string(), rule }
}
