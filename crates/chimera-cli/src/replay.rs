//! `chimera replay` and `chimera claims`: published reports again from their published data, and the ledger of claims.
//! What is computed is the business of `chimera-replay`; here are folders, files and exit codes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chimera_replay::{Artifacts, Judged, Ledger, Replay, Replayed, Totals};

use crate::out::{say, say_text};
use crate::{
    exit::{FILES, USAGE, WithExit},
    places,
};

/// A status of a claim differs from the ledger's, or a value drifted.
pub const LEDGER: u8 = 1;

/// Arguments of `replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// Report: tr114, or an older version: tr114-v1. Without one they are listed.
    pub report: Option<String>,
    /// Folder of the artefacts: the tidy layout, as `artifacts import` writes it.
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,
    /// Where the report's folder is made [default: runs/replay].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Folder of the ledger [default: fixtures/claims of the checkout].
    #[arg(long, value_name = "DIR")]
    pub ledger: Option<PathBuf>,
    /// Print every quantity as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `claims`.
#[derive(Debug, Clone, clap::Args)]
pub struct ClaimsArgs {
    /// Folder of the artefacts: the tidy layout, as `artifacts import` writes it.
    #[arg(long, value_name = "DIR")]
    pub artifacts: PathBuf,
    /// Only these reports; repeatable.
    #[arg(long, value_name = "ID")]
    pub report: Vec<String>,
    /// Where claims.md, claims.html and claims.json are written [default: runs/claims].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Folder of the ledger [default: fixtures/claims of the checkout].
    #[arg(long, value_name = "DIR")]
    pub ledger: Option<PathBuf>,
    /// As JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Replays one report, with all of its versions when the plain number is asked for.
///
/// # Errors
/// An unknown report, data that are not there or not what they say.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<u8> {
    let all = chimera_replay::all();
    let Some(report) = &args.report else {
        for study in all {
            say!("{:10} {}", study.id(), study.title());
        }
        return Ok(0);
    };
    let id = report.to_lowercase();
    let chosen: Vec<&dyn Replay> =
        all.iter().copied().filter(|study| study.id() == id || versions_of(study.id(), &id)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|study| study.id()).collect();
        return Err(anyhow::anyhow!("there is no report `{report}`; there are: {}", names.join(", ")))
            .exit(USAGE);
    }
    let Some(folder) = &args.artifacts else {
        return Err(anyhow::anyhow!(
            "{id} is computed from its published data: name their folder with --artifacts DIR (`artifacts import CLONE` \
             makes one)"
        ))
        .exit(USAGE);
    };
    let data = Artifacts::open(folder).exit(FILES)?;
    let ledger = ledger(args.ledger.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| places::runs("replay"));
    let mut quantities = BTreeMap::new();
    for study in chosen {
        data.forget();
        let replayed = study.replay(&data).exit(FILES)?;
        let files = data.files();
        let replays = BTreeMap::from([(study.id(), replayed)]);
        let judged = ledger.judge(&replays);
        for (_, replayed) in replays {
            let findings = chimera_replay::findings(study, &replayed, &files, &judged).exit(FILES)?;
            let folder = out.join(study.id());
            chimera_report::write_all(&findings, &folder).exit(FILES)?;
            if !args.json {
                say!("{}", chimera_report::headline_text(&findings));
            }
            eprintln!("report: {}", shown(&folder.join("report.html")));
            quantities.insert(study.id(), replayed.values);
        }
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&quantities).exit(FILES)?);
    }
    Ok(0)
}

/// Whether `study` is a version of the report that `id` numbers: `tr114-v1` of `tr114`, but not `tr117-ma` of `tr117`.
fn versions_of(study: &str, id: &str) -> bool {
    study.strip_prefix(id).and_then(|rest| rest.strip_prefix("-v")).is_some_and(|rest| !rest.is_empty())
}

/// Recomputes every claim.
///
/// # Errors
/// Data or a ledger that cannot be read. Claims that differ are exit code [`LEDGER`], not an error.
pub fn claims(args: &ClaimsArgs) -> anyhow::Result<u8> {
    let data = Artifacts::open(&args.artifacts).exit(FILES)?;
    let ledger = ledger(args.ledger.as_deref())?;
    let all = chimera_replay::all();
    let known = |id: &str| all.iter().any(|study| study.id() == id);
    if let Some(unknown) = args.report.iter().find(|id| !known(id)) {
        let names: Vec<&str> = all.iter().map(|study| study.id()).collect();
        return Err(anyhow::anyhow!("there is no report `{unknown}`; there are: {}", names.join(", ")))
            .exit(USAGE);
    }
    let orphans: Vec<&str> =
        ledger.claims.iter().filter(|claim| !known(&claim.report)).map(|claim| claim.id.as_str()).collect();
    let wanted = |id: &str| args.report.is_empty() || args.report.iter().any(|report| report == id);
    let mut replayed: BTreeMap<&str, Replayed> = BTreeMap::new();
    let mut failed = Vec::new();
    for study in all.iter().filter(|study| wanted(study.id())) {
        match study.replay(&data) {
            Ok(done) => drop(replayed.insert(study.id(), done)),
            // Its claims cannot be judged; those of the others can.
            Err(error) => failed.push(format!("{}: {error}", study.id())),
        }
    }
    let judged = ledger.judge(&replayed);
    let totals = Totals::of(&judged);
    let findings = chimera_replay::claims_findings(&judged, &all).exit(FILES)?;
    let out = args.out.clone().unwrap_or_else(|| places::runs("claims"));
    let json = serde_json::to_string_pretty(&judged).exit(FILES)?;
    std::fs::create_dir_all(&out).exit(FILES)?;
    for (name, text) in [
        ("claims.json", &json),
        ("claims.md", &chimera_report::markdown(&findings)),
        ("claims.html", &chimera_report::html(&findings)),
    ] {
        std::fs::write(out.join(name), text).exit(FILES)?;
    }
    if args.json {
        say!("{json}");
    } else {
        say_text!("{}", table(&judged, &all));
        say!(
            "\n{} claims: {} reproduced, {} reproduced but mislabelled, {} contradicted, {} not recomputable",
            totals.claims,
            totals.reproduced,
            totals.mislabelled,
            totals.contradicted,
            totals.not_recomputable
        );
    }
    for one in judged.iter().filter(|one| one.trouble.is_some()) {
        eprintln!("{}: {}", one.claim.id, one.trouble.as_deref().unwrap_or_default());
    }
    for claim in &orphans {
        eprintln!("{claim}: no study computes its report");
    }
    for error in &failed {
        eprintln!("{error}");
    }
    eprintln!("claims: {}", shown(&out.join("claims.html")));
    let clean = totals.trouble == 0 && orphans.is_empty() && failed.is_empty();
    Ok(if clean { 0 } else { LEDGER })
}

fn ledger(folder: Option<&Path>) -> anyhow::Result<Ledger> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => places::checkout().unwrap_or_default().join("fixtures").join("claims"),
    };
    Ledger::read(&folder).exit(FILES)
}

fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Claims one by one, then totals per report.
fn table(judged: &[Judged], studies: &[&dyn Replay]) -> String {
    let number = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| chimera_report::show_number(value, "").to_string())
    };
    let mut lines = vec![["claim", "status", "unit", "published", "recomputed"].map(str::to_owned).to_vec()];
    for one in judged {
        lines.push(vec![
            one.claim.id.clone(),
            one.found.label().to_owned(),
            one.claim.unit.clone(),
            one.claim.published.map_or_else(|| "–".to_owned(), |value| value.to_string()),
            number(one.value),
        ]);
    }
    let mut totals = vec![
        ["report", "claims", "reproduced", "mislabelled", "contradicted", "not recomputable"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for study in studies {
        let own = Totals::of(judged.iter().filter(|one| one.claim.report == study.id()));
        if own.claims > 0 {
            let counts =
                [own.claims, own.reproduced, own.mislabelled, own.contradicted, own.not_recomputable];
            totals
                .push(std::iter::once(study.id().to_owned()).chain(counts.map(|n| n.to_string())).collect());
        }
    }
    format!("{}\n{}", chimera_report::aligned(&lines, 3), chimera_report::aligned(&totals, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_all_its_versions_and_no_other_report() {
        assert!(versions_of("tr114-v1", "tr114") && versions_of("tr118-v21", "tr118"));
        assert!(!versions_of("tr117-ma", "tr117") && !versions_of("tr114", "tr114"));
    }
}
