//! The ledger of published claims: each names the study and the quantity that recompute it, the value that was published,
//! the value that we recorded, and the status that follows. Judging computes everything anew; the ledger only says what is
//! expected, so that a change of data, formula or claim is noticed.

use std::{collections::BTreeMap, fs, path::Path};

use chimera_report::{Cell, ClaimStatus, Column, Draft, Findings, Section, Table, literal};
use serde::{Deserialize, Serialize};

use crate::{Replay, ReplayError, Replayed};

/// Largest relative difference between a recomputed value and the one that the ledger recorded.
const DRIFT: f64 = 1e-6;

/// One claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Unique id, beginning with the report's.
    pub id: String,
    /// Study that recomputes it.
    pub report: String,
    /// Where it is claimed: document and section.
    #[serde(rename = "where")]
    pub place: String,
    /// The claim in our words.
    pub claim: String,
    /// Published value; absent for a claim in words.
    pub published: Option<f64>,
    /// Its unit.
    #[serde(default)]
    pub unit: String,
    /// Quantity of the study by which it is recomputed; absent when nothing can.
    pub query: Option<String>,
    /// File that the quantity comes from, below the artefacts.
    pub dataset: Option<String>,
    /// Largest absolute difference at which the published value counts as reproduced: half a unit of its last digit.
    pub tolerance: Option<f64>,
    /// For a claim in words: the quantity must lie above or below `threshold` for the claim to hold.
    pub relation: Option<Relation>,
    /// See `relation`.
    pub threshold: Option<f64>,
    /// The value recomputed when the claim was entered, at full precision.
    pub recomputed: Option<f64>,
    /// The status that must come out.
    pub status: ClaimStatus,
    /// Why the quantity is not what it is called; makes a reproduced value a mislabelled one.
    pub mislabelled: Option<String>,
    /// Why nothing can be recomputed.
    pub reason: Option<String>,
    /// Quantity of the study that answers the question properly.
    pub lab: Option<String>,
    /// What we say instead, in words.
    pub instead: Option<String>,
}

/// On which side of its threshold a quantity must lie for a claim in words to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Above it.
    Above,
    /// Below it.
    Below,
}

/// Claims of one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    claim: Vec<Claim>,
}

/// All claims.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// In the order of the files.
    pub claims: Vec<Claim>,
}

/// A claim with what came out.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// The claim.
    #[serde(flatten)]
    pub claim: Claim,
    /// The value now.
    pub value: Option<f64>,
    /// The status now.
    pub found: ClaimStatus,
    /// The quantity that answers the question properly, for print.
    pub lab_value: Option<String>,
    /// What is wrong with the ledger's entry; none when all is as expected.
    pub trouble: Option<String>,
}

/// Statuses counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All claims.
    pub claims: usize,
    /// Reproduced.
    pub reproduced: usize,
    /// Reproduced, but not what it is called.
    pub mislabelled: usize,
    /// The data say otherwise.
    pub contradicted: usize,
    /// No data.
    pub not_recomputable: usize,
    /// Entries with trouble.
    pub trouble: usize,
}

impl Ledger {
    /// Reads every `*.toml` of a folder.
    ///
    /// # Errors
    /// [`ReplayError::Io`]; [`ReplayError::Ledger`] for a file that does not parse, an id that comes twice, a claim with
    /// neither query nor reason.
    pub fn read(folder: &Path) -> Result<Ledger, ReplayError> {
        let io = |source| ReplayError::Io { path: folder.to_owned(), source };
        let entries: Vec<fs::DirEntry> =
            fs::read_dir(folder).map_err(io)?.collect::<Result<_, _>>().map_err(io)?;
        let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let mut ledger = Ledger::default();
        for path in paths {
            let text =
                fs::read_to_string(&path).map_err(|source| ReplayError::Io { path: path.clone(), source })?;
            ledger.add(&path.display().to_string(), &text)?;
        }
        Ok(ledger)
    }

    /// Adds the claims of one file's text.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ReplayError> {
        let wrong = |claim: &str, reason: String| ReplayError::Ledger { claim: claim.to_owned(), reason };
        let file: File = toml::from_str(text).map_err(|error| wrong(name, error.to_string()))?;
        for claim in file.claim {
            if self.claims.iter().any(|known| known.id == claim.id) {
                return Err(wrong(&claim.id, "the id comes twice".to_owned()));
            }
            check(&claim).map_err(|reason| wrong(&claim.id, reason))?;
            self.claims.push(claim);
        }
        Ok(())
    }

    /// Judges the claims by what the studies computed; claims of studies that are not in `replayed` are left out.
    #[must_use]
    pub fn judge(&self, replayed: &BTreeMap<&str, Replayed>) -> Vec<Judged> {
        self.claims
            .iter()
            .filter_map(|claim| Some(judge(claim, replayed.get(claim.report.as_str())?)))
            .collect()
    }
}

/// What a claim must have to be judged.
fn check(claim: &Claim) -> Result<(), String> {
    let recomputable = claim.status != ClaimStatus::NotRecomputable;
    match (&claim.query, &claim.reason) {
        (None, None) => return Err("it has neither a query nor a reason why there is none".to_owned()),
        (None, Some(_)) if recomputable => return Err("without a query it is not recomputable".to_owned()),
        _ => {}
    }
    if claim.query.is_some() && recomputable {
        if claim.published.is_some() != claim.tolerance.is_some() {
            return Err("a published value needs a tolerance, and a tolerance a published value".to_owned());
        }
        if claim.published.is_none() && (claim.relation.is_none() || claim.threshold.is_none()) {
            return Err("a claim in words needs a relation and a threshold, by which the data can refute it"
                .to_owned());
        }
        if claim.recomputed.is_none() {
            return Err("the value recomputed when it was entered is missing".to_owned());
        }
    }
    let finite =
        [claim.published, claim.tolerance, claim.recomputed].into_iter().flatten().all(f64::is_finite);
    if !finite || claim.tolerance.is_some_and(|tolerance| tolerance < 0.0) {
        return Err("a number is not finite, or the tolerance is negative".to_owned());
    }
    if claim.status == ClaimStatus::ReproducedMislabelled && claim.mislabelled.is_none() {
        return Err("it is called mislabelled and does not say why".to_owned());
    }
    Ok(())
}

/// Whether a claim holds of the recomputed value; none for a claim that no value can decide.
fn holds(claim: &Claim, value: f64) -> Option<bool> {
    if let Some(published) = claim.published {
        // A hair more than the tolerance: the published value is a decimal, ours is not.
        let slack = claim.tolerance.unwrap_or(0.0) * (1.0 + 1e-9) + 1e-12 * published.abs();
        return Some((value - published).abs() <= slack);
    }
    let threshold = claim.threshold?;
    Some(match claim.relation? {
        Relation::Above => value > threshold,
        Relation::Below => value < threshold,
    })
}

fn judge(claim: &Claim, replayed: &Replayed) -> Judged {
    let value = claim.query.as_ref().and_then(|query| replayed.values.point(query));
    let holds = value.and_then(|value| holds(claim, value));
    let found = match (holds, &claim.mislabelled) {
        (None, _) => ClaimStatus::NotRecomputable,
        (Some(true), None) => ClaimStatus::Reproduced,
        (Some(true), Some(_)) => ClaimStatus::ReproducedMislabelled,
        (Some(false), _) => ClaimStatus::Contradicted,
    };
    let unknown = |name: &String| replayed.values.get(name).is_none();
    let trouble = if let Some(query) = claim.query.as_ref().filter(|query| unknown(query)) {
        Some(format!("the study has no quantity `{query}`"))
    } else if let Some(lab) = claim.lab.as_ref().filter(|lab| unknown(lab)) {
        Some(format!("the study has no quantity `{lab}`"))
    } else if found != claim.status {
        Some(format!("the ledger says {}, the data say {}", claim.status.label(), found.label()))
    } else {
        claim.recomputed.zip(value).and_then(|(recorded, now)| {
            let drift = (recorded - now).abs();
            (drift > DRIFT * recorded.abs().max(1e-9))
                .then(|| format!("recomputed to {now:?}, the ledger recorded {recorded:?}"))
        })
    };
    let lab_value = claim.lab.as_ref().and_then(|lab| replayed.values.get(lab)).map(crate::Value::shown);
    Judged { claim: claim.clone(), value, found, lab_value, trouble }
}

impl Totals {
    /// Counts.
    #[must_use]
    pub fn of<'j>(judged: impl IntoIterator<Item = &'j Judged>) -> Totals {
        let mut totals = Totals::default();
        for one in judged {
            totals.claims += 1;
            totals.trouble += usize::from(one.trouble.is_some());
            *match one.found {
                ClaimStatus::Reproduced => &mut totals.reproduced,
                ClaimStatus::ReproducedMislabelled => &mut totals.mislabelled,
                ClaimStatus::Contradicted => &mut totals.contradicted,
                ClaimStatus::NotRecomputable => &mut totals.not_recomputable,
            } += 1;
        }
        totals
    }
}

/// A table of judged claims.
pub(crate) fn table(id: &str, title: &str, judged: &[&Judged]) -> Table {
    let mut table = Table::new(id, title)
        .caption(
            "Published value against the same formula on the published data; *instead* is what our definition says of the \
             question.",
        )
        .column(Column::text("status", "Status"))
        .column(Column::text("claim", "Claim"))
        .column(Column::text("where", "Where"))
        .column(Column::number("published", "Published", ""))
        .column(Column::number("recomputed", "Recomputed", ""))
        .column(Column::text("unit", "Unit"))
        .column(Column::text("instead", "Instead"));
    for one in judged {
        let claim = &one.claim;
        let why = claim.reason.as_deref().unwrap_or("the data give no value");
        let mut instead: Vec<String> = Vec::new();
        instead.extend(
            one.lab_value.as_ref().zip(claim.lab.as_ref()).map(|(value, lab)| format!("{lab}: {value}")),
        );
        instead.extend(claim.mislabelled.clone());
        instead.extend(claim.instead.clone());
        instead.extend(one.trouble.as_ref().map(|trouble| format!("LEDGER: {trouble}")));
        table.push_row([
            Cell::Claim(one.found),
            claim.claim.as_str().into(),
            claim.place.as_str().into(),
            // As it was published, not rounded again.
            Cell::or_missing(claim.published.map(|value| value.to_string()), "a claim in words"),
            Cell::or_missing(one.value, why),
            claim.unit.as_str().into(),
            instead.join("; ").into(),
        ]);
    }
    table
}

/// The ledger as a report: totals, then the claims of each study.
///
/// # Errors
/// [`ReplayError::Findings`]: a defect.
pub fn claims_findings(judged: &[Judged], studies: &[&dyn Replay]) -> Result<Findings, ReplayError> {
    let totals = Totals::of(judged);
    let mut draft = Draft::new("claims", "Published claims, computed again").summary(format!(
        "{} claims: {} reproduced, {} reproduced but not what they are called, {} contradicted by the published data, {} not \
         recomputable.",
        totals.claims, totals.reproduced, totals.mislabelled, totals.contradicted, totals.not_recomputable
    ));
    let mut overview = Table::new("totals", "Claims by report")
        .caption("One row per report of the series.")
        .column(Column::text("report", "Report"))
        .column(Column::number("claims", "Claims", ""))
        .column(Column::number("reproduced", "Reproduced", ""))
        .column(Column::number("mislabelled", "Mislabelled", ""))
        .column(Column::number("contradicted", "Contradicted", ""))
        .column(Column::number("not-recomputable", "Not recomputable", ""));
    let mut sections = Vec::new();
    for study in studies {
        let own: Vec<&Judged> = judged.iter().filter(|one| one.claim.report == study.id()).collect();
        if own.is_empty() {
            continue;
        }
        let t = Totals::of(own.iter().copied());
        let counts = [t.claims, t.reproduced, t.mislabelled, t.contradicted, t.not_recomputable];
        overview.push_row(std::iter::once(Cell::from(study.id())).chain(counts.map(Cell::from)));
        sections.push(
            Section::new(study.id(), format!("{}: {}", study.id().to_uppercase(), study.title()))
                .table(table(&format!("claims-{}", study.id()), "Claims", &own)),
        );
    }
    draft = draft.section(Section::new("totals", "Totals").table(overview));
    for section in sections {
        draft = draft.section(section);
    }
    for one in judged.iter().filter(|one| one.trouble.is_some()) {
        draft = draft.gap(one.claim.id.clone(), literal(one.trouble.as_deref().unwrap_or_default()));
    }
    Ok(draft.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(entry: &str) -> Result<Ledger, ReplayError> {
        let mut ledger = Ledger::default();
        let common = "[[claim]]\nid = \"x-1\"\nreport = \"x\"\nwhere = \"README\"\nclaim = \"c\"\n";
        ledger.add("x.toml", &format!("{common}{entry}")).map(|()| ledger)
    }

    fn judged(entry: &str, value: f64) -> Judged {
        let mut replayed = Replayed::default();
        replayed.values.put("legacy.mean", "%", value);
        replayed.values.put("mean", "%", 50.0);
        ledger(entry).unwrap().judge(&BTreeMap::from([("x", replayed)])).remove(0)
    }

    const ENTRY: &str =
        "published = 98.3\ntolerance = 0.05\nrecomputed = 98.281112\nquery = \"legacy.mean\"\n";

    #[test]
    fn statuses_follow_from_the_data() {
        let same = judged(&format!("{ENTRY}status = \"reproduced\"\nlab = \"mean\"\n"), 98.281_112);
        assert_eq!((same.found, same.trouble.as_deref()), (ClaimStatus::Reproduced, None));
        assert_eq!(same.lab_value.as_deref(), Some("50 %"));
        let label = format!(
            "{ENTRY}status = \"reproduced-mislabelled\"\nmislabelled = \"balance, not efficiency\"\n"
        );
        assert_eq!(judged(&label, 98.281_112).found, ClaimStatus::ReproducedMislabelled);
        let other = judged(&format!("{ENTRY}status = \"reproduced\"\n"), 93.2);
        assert_eq!(other.found, ClaimStatus::Contradicted);
        assert!(other.trouble.is_some_and(|trouble| trouble.contains("Contradicted")));
    }

    #[test]
    fn a_claim_in_words_can_be_refuted() {
        let entry = |status: &str| {
            format!(
                "query = \"legacy.mean\"\nrelation = \"below\"\nthreshold = 0.05\nrecomputed = 0.986\nstatus = \"{status}\"\n"
            )
        };
        let refuted = judged(&entry("contradicted"), 0.986);
        assert_eq!((refuted.found, refuted.trouble.as_deref()), (ClaimStatus::Contradicted, None));
        assert!(judged(&entry("reproduced"), 0.986).trouble.is_some());
        assert_eq!(judged(&entry("contradicted"), 0.01).found, ClaimStatus::Reproduced);
    }

    #[test]
    fn drift_and_unknown_quantities_are_trouble() {
        let entry = format!("{ENTRY}status = \"reproduced\"\n");
        assert!(judged(&entry, 98.281_112 * (1.0 + 5e-7)).trouble.is_none());
        assert!(judged(&entry, 98.281_112 * (1.0 + 5e-6)).trouble.is_some_and(|t| t.contains("recorded")));
        let unknown = judged(&entry.replace("legacy.mean", "legacy.median"), 98.281_112);
        assert_eq!(unknown.found, ClaimStatus::NotRecomputable);
        assert!(unknown.trouble.is_some_and(|trouble| trouble.contains("no quantity")));
        let lab = judged(&format!("{entry}lab = \"speedup\"\n"), 98.281_112);
        assert!(lab.trouble.is_some_and(|trouble| trouble.contains("speedup")));
    }

    #[test]
    fn an_entry_that_cannot_be_judged_is_refused() {
        for (entry, reason) in [
            ("status = \"reproduced\"\n", "neither a query"),
            ("status = \"reproduced\"\nreason = \"no data\"\n", "not recomputable"),
            ("status = \"reproduced\"\nquery = \"q\"\npublished = 1.0\nrecomputed = 1.0\n", "tolerance"),
            ("status = \"reproduced\"\nquery = \"q\"\npublished = 1.0\ntolerance = 0.1\n", "recomputed"),
            ("status = \"reproduced\"\nquery = \"q\"\nrecomputed = 1.0\n", "relation"),
            ("status = \"guessed\"\n", "guessed"),
            ("status = \"reproduced\"\nvalue = 1\n", "value"),
            (
                "status = \"contradicted\"\nquery = \"q\"\npublished = nan\ntolerance = 0.1\nrecomputed = 1.0\n",
                "finite",
            ),
        ] {
            let error = ledger(entry).unwrap_err().to_string();
            assert!(error.contains(reason), "{entry}: {error}");
        }
        assert!(ledger("status = \"not-recomputable\"\nreason = \"nobody has the data\"\n").is_ok());
    }
}
