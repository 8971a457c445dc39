//! Joins run directories of one plan into a new one: shards that ran on several hosts, or the parts of an interrupted
//! campaign. Runs of different plans, designs or weights are refused; nothing is averaged and nothing is dropped in
//! silence.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{NewRun, QUALITY, RunDir, RunError, TRIALS, Tally};
use crate::{Manifest, QualityKey, QualityRecord, RunStatus, Trial};

/// Joins `runs` into a new run at `out`, which must not exist.
///
/// A block that is in several runs must be the same in all of them, and is then kept once. Figures of the host as a
/// whole (noise, clocks) become the worst of the parts; each process keeps the name of its host, and the machines are
/// listed in [`Manifest::hosts`].
///
/// # Errors
/// [`RunError::Unmergeable`] with what differs, [`RunError::Exists`], and those of reading and writing.
pub fn merge(runs: &[PathBuf], out: &Path) -> Result<RunDir, RunError> {
    let parts = runs.iter().map(|path| RunDir::open(path)).collect::<Result<Vec<_>, _>>()?;
    let Some((first, others)) = parts.split_first() else {
        return Err(RunError::NotARun { path: out.into(), reason: "no runs were named".into() });
    };
    if out.exists() {
        return Err(RunError::Exists { path: out.into() });
    }
    for other in others {
        if let Some(reason) = difference(first.manifest(), other.manifest()) {
            return Err(unmergeable(first, other, reason));
        }
    }
    let kept = join(&parts)?;

    let design = first.design()?;
    // A directory that appears is whole: it is made beside its place and moved.
    let mut draft = out.file_name().unwrap_or_default().to_os_string();
    draft.push(format!(".{}.partial", std::process::id()));
    let draft = out.with_file_name(draft);
    let result = write(&parts, &kept, &design, &draft).and_then(|()| {
        fs::rename(&draft, out).map_err(|error| RunError::io("make", out, error))?;
        RunDir::open(out)
    });
    if result.is_err() {
        // Nothing was promised yet; the error says what happened.
        let _ = fs::remove_dir_all(&draft);
    }
    result
}

/// What keeps two runs from being one.
fn difference(a: &Manifest, b: &Manifest) -> Option<String> {
    let digests = [
        ("study", &a.study, &b.study),
        ("design", &a.design_sha256, &b.design_sha256),
        ("plan", &a.plan_digest, &b.plan_digest),
    ];
    if let Some((what, a, b)) = digests.into_iter().find(|(_, a, b)| a != b) {
        return Some(format!("the {what} differs ({a} and {b}); only runs of one plan can be merged"));
    }
    for (id, model) in &a.models {
        let Some(other) = b.models.get(id) else { continue };
        for file in &model.files {
            let twin = other.files.iter().find(|twin| twin.name == file.name);
            if let Some(twin) = twin
                && (twin.bytes != file.bytes
                    || file.sha256.as_ref().zip(twin.sha256.as_ref()).is_some_and(|(a, b)| a != b))
            {
                return Some(format!("the weights of model {id} differ in {}", file.name));
            }
        }
    }
    None
}

fn unmergeable(first: &RunDir, other: &RunDir, reason: String) -> RunError {
    RunError::Unmergeable { first: first.path().into(), other: other.path().into(), reason }
}

/// Trials of each block, and the part that they come from.
type Kept = BTreeMap<u32, (usize, Vec<Trial>)>;

fn join(parts: &[RunDir]) -> Result<Kept, RunError> {
    let mut kept = Kept::new();
    for (index, part) in parts.iter().enumerate() {
        let read = part.read_trials()?;
        if read.damage.is_some() {
            return Err(RunError::Unrepaired { path: part.path().join(TRIALS) });
        }
        let mut blocks: BTreeMap<u32, Vec<Trial>> = BTreeMap::new();
        for trial in read.trials {
            blocks.entry(trial.block).or_default().push(trial);
        }
        for (block, trials) in blocks {
            match kept.get(&block) {
                None => {
                    kept.insert(block, (index, trials));
                }
                Some((_, before)) if *before == trials => {}
                Some((other, _)) => {
                    let reason = format!("both ran block {block}, with different records");
                    let other = parts.get(*other).unwrap_or(part);
                    return Err(unmergeable(other, part, reason));
                }
            }
        }
    }
    Ok(kept)
}

fn write(parts: &[RunDir], kept: &Kept, design: &str, draft: &Path) -> Result<(), RunError> {
    let Some(first) = parts.first() else { return Ok(()) };
    let new = NewRun {
        design,
        overrides: &first.manifest().overrides,
        shard: None,
        program: first.manifest().program.clone(),
        host: first.manifest().host.clone(),
    };
    let mut run = RunDir::create_at(draft, &new)?;
    if run.manifest().plan_digest != first.manifest().plan_digest {
        // Another release made the parts; its plan is theirs, and the records name their trials in full.
        let (expected, found) = (first.manifest().plan_digest.clone(), run.manifest().plan_digest.clone());
        return Err(RunError::Changed {
            path: first.path().into(),
            what: "the plan",
            expected,
            found,
            remedy: "merge the runs with the release that made them",
        });
    }
    let mut writer = run.writer()?;
    for (_, trials) in kept.values() {
        for trial in trials {
            writer.append(trial, &[])?;
        }
    }
    for (index, part) in parts.iter().enumerate() {
        // Token stamps are copied one by one, those of dropped twins and of trials without a record excepted.
        let ours: BTreeSet<(u32, u32)> = kept
            .values()
            .filter(|(from, _)| *from == index)
            .flat_map(|(_, trials)| trials.iter().map(|trial| (trial.id, trial.attempt)))
            .collect();
        for stamps in part.events()? {
            let stamps = stamps?;
            if ours.contains(&(stamps.trial, stamps.attempt)) {
                writer.append_stamps(&stamps)?;
            }
        }
    }
    writer.sync()?;
    drop(writer);
    let differing = join_quality(parts, &run)?;
    let tally = Tally::of(kept.values().flat_map(|(_, trials)| trials));
    run.update(|manifest| {
        join_manifests(manifest, parts, kept, &tally);
        manifest.repairs.extend(differing);
    })
}

/// Joins what the parts found out about their arms: of several answers the first that holds figures, else the first. Says
/// which figures differ.
fn join_quality(parts: &[RunDir], run: &RunDir) -> Result<Vec<String>, RunError> {
    let mut order: Vec<QualityKey> = Vec::new();
    let mut answers: BTreeMap<QualityKey, QualityRecord> = BTreeMap::new();
    let mut differing = Vec::new();
    for part in parts {
        let read = part.read_quality()?;
        if read.damage.is_some() {
            return Err(RunError::Unrepaired { path: part.path().join(QUALITY) });
        }
        for record in read.records {
            let key = record.key();
            match answers.get_mut(&key) {
                None => {
                    order.push(key.clone());
                    answers.insert(key, record);
                }
                Some(before) if !before.is_measured() => *before = record,
                // Times of builds differ from host to host; what is left must not.
                Some(before) if record.is_measured() && !before.says_the_same(&record) => {
                    let QualityKey { backend, model, check, detail } = key;
                    let run = &part.manifest().run_id;
                    differing
                        .push(format!("{check:?} {detail} of {model} on {backend} differs in run {run}"));
                }
                Some(_) => {}
            }
        }
    }
    if !order.is_empty() {
        let mut writer = run.quality_writer()?;
        for key in &order {
            if let Some(record) = answers.get(key) {
                writer.append(record)?;
            }
        }
        writer.sync()?;
    }
    Ok(differing)
}

fn join_manifests(manifest: &mut Manifest, parts: &[RunDir], kept: &Kept, tally: &Tally) {
    for (index, part) in parts.iter().enumerate() {
        let theirs = part.manifest();
        manifest.merged_from.push(theirs.run_id.clone());
        manifest.merged_from.extend(theirs.merged_from.iter().cloned());
        manifest.created_unix_ms = manifest.created_unix_ms.min(theirs.created_unix_ms);
        manifest.ended_unix_ms = manifest.ended_unix_ms.max(theirs.ended_unix_ms);
        worst(&mut manifest.noise.cpu_pressure, theirs.noise.cpu_pressure);
        worst(&mut manifest.noise.memory_pressure, theirs.noise.memory_pressure);
        worst(&mut manifest.noise.steal, theirs.noise.steal);
        worst(&mut manifest.clocks.reading_ns, theirs.clocks.reading_ns);
        worst(&mut manifest.clocks.per_event_ns, theirs.clocks.per_event_ns);
        manifest.clocks.resolution_ns = manifest.clocks.resolution_ns.max(theirs.clocks.resolution_ns);
        for (name, probe) in &theirs.backends {
            match manifest.backends.get(name) {
                None => {
                    manifest.backends.insert(name.clone(), probe.clone());
                }
                Some(before) if before == probe => {}
                Some(_) => {
                    let note = format!("backend {name} answers differently in run {}", theirs.run_id);
                    manifest.repairs.push(note);
                }
            }
        }
        for (id, model) in &theirs.models {
            let ours = manifest.models.entry(id.clone()).or_insert_with(|| model.clone());
            for (backend, info) in &model.info {
                ours.info.entry(backend.clone()).or_insert_with(|| info.clone());
            }
            if ours.files.is_empty() {
                ours.files.clone_from(&model.files);
            }
            // A model that one host had is not missing.
            if model.obstacle.is_none() {
                ours.obstacle = None;
                ours.provenance = ours.provenance.take().or_else(|| model.provenance.clone());
            }
        }
        let from_here = |block: u32| kept.get(&block).is_none_or(|(from, _)| *from == index);
        manifest.processes.extend(theirs.processes.iter().filter(|p| from_here(p.block)).cloned());
        manifest.repairs.extend(theirs.repairs.iter().cloned());
        let machines = theirs
            .processes
            .iter()
            .filter_map(|process| process.host.clone())
            .map(|name| (name, theirs.host.clone()));
        for (name, host) in theirs.hosts.clone().into_iter().chain(machines) {
            manifest.hosts.entry(name).or_insert(host);
        }
    }
    manifest.counts = tally.counts(manifest.counts.planned);
    let failed: Vec<&RunDir> =
        parts.iter().filter(|part| part.manifest().status == RunStatus::Failed).collect();
    manifest.status = if tally.done() >= manifest.counts.planned && failed.is_empty() {
        RunStatus::Complete
    } else if failed.is_empty() {
        RunStatus::Cancelled
    } else {
        RunStatus::Failed
    };
    manifest.failure = failed.iter().find_map(|part| part.manifest().failure.clone());
}

fn worst(ours: &mut Option<f64>, theirs: Option<f64>) {
    if let Some(theirs) = theirs {
        *ours = Some(ours.map_or(theirs, |ours| ours.max(theirs)));
    }
}
