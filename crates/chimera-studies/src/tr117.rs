//! TR117: which local engine is fastest on the same weights.
//!
//! The original compared servers and libraries that ran different models, mixed cold first samples into its means and wrote
//! placeholder latencies for what failed. Here every engine gets the same weights, what it computes is compared before
//! anything is timed, and what did not run is a result of its own.

use chimera_report::{Draft, Findings, Headline, Verdict};

use crate::{
    Estimands, RunData, Study, StudyError,
    backends::{Backends, GENERAL_THREATS, MARGIN},
    sections::{
        claims, concurrency, context, duel, firsts, gates, latency, matrix, pareto, standing, threats,
    },
};

/// The study.
#[derive(Debug, Clone, Copy)]
pub struct Tr117;

impl Study for Tr117 {
    fn id(&self) -> &'static str {
        "tr117"
    }

    fn design(&self) -> &'static str {
        include_str!("../../../designs/tr117.toml")
    }

    fn analyse(&self, run: &RunData) -> Result<Findings, StudyError> {
        let all = Backends::new(run, self.id())?;
        let mut estimands = Estimands::default();
        all.counts(&mut estimands);
        let (index, contests, standings, field) = (&all.index, &all.contests, &all.standings, &all.field);
        let duels = duel::duels(index, contests, standings, field, MARGIN)?;
        duel::put(&duels, &mut estimands);

        let mut draft = Draft::new(self.id(), format!("TR117: {}", run.settings.design.title));
        draft = context::provenance(draft, run)
            .section(context::section(index))
            .section(standing::section(run, contests, standings, &mut estimands))
            .section(latency::section(index, field.budget)?)
            .section(duel::section(&duels, contests, standings, MARGIN))
            .section(firsts::section(index, contests, field)?);
        if let Some(section) = concurrency::section(index, contests, field, &mut estimands)? {
            draft = draft.section(section);
        }
        draft = draft.section(matrix::section(run)).section(gates::section(run, contests, &mut estimands)?);
        match pareto::section(index, contests, standings, field)? {
            Some(section) => draft = draft.section(section),
            None => {
                draft = draft.gap("latency against quality", "no true weights with a perplexity in this run");
            }
        }
        let judgements = claims::judge(run, &estimands)?;
        draft = draft
            .section(claims::section(run, &estimands, &judgements))
            .section(threats::plain(index, GENERAL_THREATS)?)
            .headline(all.agreement_headline());
        for headline in duel::headlines(&duels, contests) {
            draft = draft.headline(headline);
        }
        if let Some(headline) = at_once(&all, &estimands) {
            draft = draft.headline(headline);
        }
        draft = draft.headline(Backends::gate_headline(&estimands)).headline(all.matrix_headline());
        draft = threats::gaps(all.summary(draft, &judgements), index);
        if let Some(left) = &run.settings.leaves_out {
            draft = draft.gap("left to another profile", left.clone());
        }
        Ok(draft.finish()?)
    }
}

/// Whether two requests at once gain anything on the reference, on its last model that was asked.
fn at_once(all: &Backends<'_>, estimands: &Estimands) -> Option<Headline> {
    let mut references = all.contests.iter().rev().filter_map(|contest| contest.reference);
    let (one, speedup) = references.find_map(|one| {
        let name = format!("speedup.{}.{}", one.arm.kind(), one.model);
        Some((one, estimands.get(&name)?))
    })?;
    let verdict = match speedup.interval {
        Some(interval) if interval.low > 1.0 => Verdict::Supported,
        Some(interval) if interval.high < 1.0 => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    };
    let sentence = format!(
        "Speed-up of two requests at once over one after the other, {}; 2 would be all that two can gain.",
        chimera_report::literal(&one.to_string())
    );
    let label = format!("Do two requests at once gain anything on {}?", one.arm.backend);
    Some(Headline::new("at-once", label, verdict, sentence).value(speedup, ""))
}
