//! Agreement before any timing: does every contestant compute what the reference computes? A contestant of the reference's
//! precision that does not is another model, and is not ranked. What quantised contestants lose is the perplexity gate's
//! business; they are ranked unless an audit says that they are not what they are called.

use std::collections::BTreeMap;

use chimera_records::{Agreement, Basis, QualityCheck, QualityRecord};
use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::Estimate;

use super::digits;
use crate::{
    Contest, Contestant, Estimands, RunData,
    contest::{Precision, precision},
    gate::audits,
};

/// How a contestant stands to the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is the reference.
    Reference,
    /// The same model, within the design's limits.
    Agrees,
    /// Another precision: it need not agree.
    OtherPrecision,
    /// Not the same model, or not what it is called.
    Disagrees(String),
    /// Nobody could tell.
    Unknown(String),
}

impl Standing {
    /// Whether it takes part in rankings and tests.
    #[must_use]
    pub fn is_ranked(&self) -> bool {
        matches!(self, Self::Reference | Self::Agrees | Self::OtherPrecision)
    }

    /// Why it is not ranked; empty if it is.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Disagrees(reason) | Self::Unknown(reason) => reason,
            _ => "",
        }
    }

    /// The word as printed.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Agrees => "agrees",
            Self::OtherPrecision => "other precision",
            Self::Disagrees(_) => "not ranked",
            Self::Unknown(_) => "not ranked: unknown",
        }
    }
}

/// Agreement of a contestant over all prompts together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Together {
    /// Positions compared.
    pub positions: u32,
    /// Share of positions with the same most likely token.
    pub top1: f64,
    /// Smallest share of any prompt.
    pub least_top1: f64,
    /// Largest difference of two logits.
    pub difference: Option<f64>,
    /// Mean divergence over positions, in nats.
    pub kl: Option<f64>,
    /// What was compared.
    pub basis: Basis,
    /// Prompts.
    pub prompts: usize,
}

impl Together {
    fn of(records: &[&Agreement]) -> Option<Self> {
        let first = records.first()?;
        let positions: u32 = records.iter().map(|record| record.positions).sum();
        let weighted = |value: &dyn Fn(&Agreement) -> Option<f64>| -> Option<f64> {
            let sum =
                records.iter().map(|r| Some(value(r)? * f64::from(r.positions))).sum::<Option<f64>>()?;
            (positions > 0).then(|| sum / f64::from(positions))
        };
        Some(Self {
            positions,
            top1: weighted(&|record| Some(record.top1_agreement))?,
            least_top1: records.iter().map(|r| r.top1_agreement).fold(f64::INFINITY, f64::min),
            difference: records
                .iter()
                .map(|r| r.max_abs_difference)
                .collect::<Option<Vec<_>>>()
                .map(|all| all.into_iter().fold(0.0, f64::max)),
            kl: weighted(&|record| record.mean_kl),
            basis: first.basis,
            prompts: records.len(),
        })
    }
}

/// Standings of all contestants.
#[derive(Debug, Clone, Default)]
pub struct Standings<'a> {
    all: BTreeMap<Contestant<'a>, (Standing, Option<Together>)>,
}

impl<'a> Standings<'a> {
    /// Judges every contestant of every contest.
    #[must_use]
    pub fn judge(run: &RunData, contests: &[Contest<'a>]) -> Self {
        let mut all = BTreeMap::new();
        for contest in contests {
            for one in &contest.contestants {
                all.insert(*one, standing(run, contest, *one));
            }
        }
        Self { all }
    }

    fn find(&self, one: Contestant<'_>) -> Option<&(Standing, Option<Together>)> {
        self.all.iter().find(|(own, _)| **own == one).map(|(_, found)| found)
    }

    /// How a contestant stands.
    #[must_use]
    pub fn of(&self, one: Contestant<'_>) -> &Standing {
        static NOBODY: Standing = Standing::Unknown(String::new());
        self.find(one).map_or(&NOBODY, |(standing, _)| standing)
    }

    /// Its agreement over all prompts, where it was measured.
    #[must_use]
    pub fn together(&self, one: Contestant<'_>) -> Option<&Together> {
        self.find(one).and_then(|(_, together)| together.as_ref())
    }
}

fn standing(run: &RunData, contest: &Contest<'_>, one: Contestant<'_>) -> (Standing, Option<Together>) {
    let records: Vec<&Agreement> = run
        .quality
        .iter()
        .filter_map(|record| match record {
            QualityRecord::Agreement(found)
                if found.backend == one.arm.backend && found.model == one.model =>
            {
                Some(found)
            }
            _ => None,
        })
        .collect();
    let together = Together::of(&records);
    if let Some(audit) = audits(run, one).find(|audit| audit.observed_ok == Some(false)) {
        let reason = format!("the audit of {} does not find {}", audit.file, audit.claimed);
        return (Standing::Disagrees(reason), together);
    }
    if contest.reference == Some(one) {
        return (Standing::Reference, together);
    }
    if contest.reference.is_none() {
        return (Standing::Unknown("the reference of these weights did not run".into()), together);
    }
    let Some(found) = together else {
        return (Standing::Unknown(why_absent(run, one)), None);
    };
    if precision(&run.settings, one.model) != Precision::F32 {
        return (Standing::OtherPrecision, together);
    }
    let Some(limits) = &run.settings.design.quality else {
        return (Standing::Unknown("the design says not what counts as the same model".into()), together);
    };
    if found.top1 < limits.min_top1 {
        let reason = format!(
            "the same most likely token at {} % of {} positions, at least {} % are needed",
            digits(100.0 * found.top1),
            found.positions,
            digits(100.0 * limits.min_top1)
        );
        return (Standing::Disagrees(reason), together);
    }
    if let Some(kl) = found.kl.filter(|kl| *kl > limits.max_kl) {
        let reason = format!(
            "a mean divergence of {} nats, at most {} are allowed",
            digits(kl),
            digits(limits.max_kl)
        );
        return (Standing::Disagrees(reason), together);
    }
    (Standing::Agrees, together)
}

fn why_absent(run: &RunData, one: Contestant<'_>) -> String {
    let told = run.quality.iter().find_map(|record| match record {
        QualityRecord::NotMeasured(not)
            if not.what == QualityCheck::Agreement
                && not.backend == one.arm.backend
                && not.model == one.model =>
        {
            Some(not.reason.clone())
        }
        _ => None,
    });
    told.unwrap_or_else(|| "its agreement was not measured".to_owned())
}

/// The section; `top1.<backend>.<model>` and `kl.<backend>.<model>` go into the estimands.
#[must_use]
pub fn section(
    run: &RunData,
    contests: &[Contest<'_>],
    standings: &Standings<'_>,
    estimands: &mut Estimands,
) -> Section {
    let mut table = Table::new("agreement", "Agreement with the reference, over all prompts")
        .caption(
            "Every contestant and the reference read the same token ids: the prompt and the reference's own greedy \
             continuation of it. Largest difference: of two logits at one position. Divergence: Kullback-Leibler from the \
             reference, mean over positions. Behind a wire there are only texts: the share of the reference's greedy answer \
             before the first difference.",
        )
        .column(Column::text("weights", "Weights"))
        .column(Column::text("contestant", "Contestant"))
        .column(Column::text("basis", "Compared"))
        .column(Column::number("prompts", "Prompts", ""))
        .column(Column::number("positions", "Positions", ""))
        .column(Column::number("top1", "Same most likely", "%"))
        .column(Column::number("least", "Least of a prompt", "%"))
        .column(Column::number("difference", "Largest difference", ""))
        .column(Column::number("kl", "Divergence", "nats"))
        .column(Column::text("standing", "Standing"))
        .column(Column::text("reason", "Why not ranked"));
    for contest in contests {
        for one in &contest.contestants {
            let standing = standings.of(*one);
            let together = standings.together(*one);
            let why = match standing {
                Standing::Reference => "it is the reference",
                _ => "not measured",
            };
            let text = "texts have no logits";
            if let Some(found) = together.filter(|_| *standing != Standing::Reference) {
                for (name, value) in [("top1", Some(found.top1)), ("kl", found.kl)] {
                    if let Some(value) = value {
                        let name = format!("{name}.{}.{}", one.arm.kind(), one.model);
                        estimands.put(name, counted(value, found.positions));
                    }
                }
            }
            table.push_row([
                contest.source.into(),
                one.to_string().into(),
                Cell::or_missing(together.map(|found| basis(found.basis)), why),
                Cell::or_missing(together.map(|found| found.prompts), why),
                Cell::or_missing(together.map(|found| found.positions), why),
                Cell::or_missing(together.map(|found| 100.0 * found.top1), why),
                Cell::or_missing(together.map(|found| 100.0 * found.least_top1), why),
                Cell::or_missing(
                    together.map(|f| f.difference).unwrap_or_default(),
                    if together.is_some() { text } else { why },
                ),
                Cell::or_missing(
                    together.map(|f| f.kl).unwrap_or_default(),
                    if together.is_some() { text } else { why },
                ),
                standing.word().into(),
                standing.reason().into(),
            ]);
        }
    }
    let mut section = Section::new("agreement", "Agreement, before any timing")
        .paragraph(
            "A ranking of engines that run different models ranks models. So the same weights go through every engine first, \
             and what comes out is compared; only then is anything timed.",
        )
        .table(table);
    section = match &run.settings.design.quality {
        Some(limits) => section.note(
            NoteKind::Definition,
            format!(
                "The same model: at F32 the same most likely token at {} % of the positions at least, and a mean divergence of \
                 {} nats at most. Another precision need not agree; what it loses is in the perplexity gate.",
                digits(100.0 * limits.min_top1),
                digits(limits.max_kl)
            ),
        ),
        None => section.note(NoteKind::Warning, "The design asks for no agreement, so nobody but the reference is ranked."),
    };
    section
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Logits => "logits",
        Basis::GreedyText => "greedy texts",
    }
}

/// A share of positions: it has no interval, since neighbouring positions are no replicates.
fn counted(value: f64, positions: u32) -> Estimate {
    Estimate {
        point: value,
        standard_error: None,
        interval: None,
        method: "over compared positions".into(),
        unit: "position".into(),
        n: positions as usize,
    }
}
