//! What it costs before the first token: conversion, quantisation, engine builds, sessions; and after how many tokens a
//! faster engine has earned it back. An engine that is not faster never does.

use chimera_records::{Metric, QualityRecord};
use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::{Estimate, Interval, Sample, StatsError, ratio};

use super::{both, cell, firsts::loads, geometric, standing::Standings};
use crate::{Contest, Contestant, Estimands, Field, Index, LEVEL, PerBlock, RunData, StudyError};

/// After how many tokens a contestant has earned back what it costs more than the reference.
#[derive(Debug, Clone, PartialEq)]
pub enum BreakEven {
    /// It costs more at the start, and is not faster.
    Never,
    /// It costs no more and is faster: from the first token on.
    AtOnce,
    /// After so many tokens; an interval without an upper end says that it was not shown to be faster.
    After(Estimate),
    /// It costs less at the start and is slower: it is ahead up to so many tokens.
    Until(Estimate),
}

/// Tokens until the cost is earned back: extra seconds before the first token over seconds saved per token, block by
/// block, with Fieller's interval. `None` without a block.
///
/// # Errors
/// A statistic that refused its input.
pub fn break_even(extra: &PerBlock, saved: &PerBlock) -> Result<Option<BreakEven>, StatsError> {
    let (extra, saved): (Vec<f64>, Vec<f64>) =
        extra.iter().filter_map(|(block, extra)| Some((*extra, *saved.get(block)?))).unzip();
    if extra.is_empty() {
        return Ok(None);
    }
    let (extra, saved) = (Sample::new(&extra, "block")?, Sample::new(&saved, "block")?);
    let (costs, saves) = (extra.mean() > 0.0, saved.mean() > 0.0);
    Ok(Some(match (costs, saves) {
        (true, false) => BreakEven::Never,
        (false, true) => BreakEven::AtOnce,
        (true, true) => BreakEven::After(tokens(extra, saved)?),
        (false, false) if saved.mean() == 0.0 => BreakEven::AtOnce,
        (false, false) => BreakEven::Until(tokens(extra, saved)?),
    }))
}

fn tokens(extra: Sample<'_>, saved: Sample<'_>) -> Result<Estimate, StatsError> {
    if extra.len() < 2 {
        return Ok(Estimate {
            point: extra.mean() / saved.mean(),
            standard_error: None,
            interval: None,
            method: "ratio of means".into(),
            unit: "block".into(),
            n: extra.len(),
        });
    }
    let found = ratio::fieller_paired(extra, saved, LEVEL)?;
    // A number of tokens below none is none.
    let interval = found
        .interval
        .filter(|_| extra.len() >= chimera_stats::intervals::MIN_BLOCKS)
        .map(|interval| Interval { low: interval.low.max(0.0), ..interval });
    Ok(Estimate { interval, ..found })
}

/// The section; `break_even.<quantity>.<backend>.<model>` goes into the estimands where there is a number, `load.<backend>.<model>`
/// for every contestant.
///
/// # Errors
/// A statistic that refused its input.
pub fn section<'a>(
    index: &Index<'a>,
    contests: &[Contest<'a>],
    standings: &Standings<'_>,
    field: &Field<'a>,
    estimands: &mut Estimands,
) -> Result<Section, StudyError> {
    let run = index.run();
    let mut table = Table::new("break-even", "Tokens until it pays")
        .caption(
            "Against the reference. Extra cost: everything made once for this contestant, plus its load, minus the same of the \
             reference. Saved: per token, geometric mean over the prompts that both finished. Break-even: extra over saved, \
             Fieller's 95 % interval over blocks.",
        )
        .column(Column::text("contestant", "Contestant"))
        .column(Column::text("phase", "Tokens of"))
        .column(Column::number("load", "Load", "s"))
        .column(Column::number("made", "Made once", "s"))
        .column(Column::number("extra", "Extra cost", "s"))
        .column(Column::number("tokens", "Break-even", "tokens"))
        .column(Column::text("says", "Says"));
    for contest in contests {
        let Some(reference) = contest.reference else { continue };
        let base = loads(index, reference);
        if let Some(load) = geometric(&base).map_err(StudyError::at(format!("load of {reference}")))? {
            estimands.put(format!("load.{}.{}", reference.arm.kind(), reference.model), load);
        }
        for one in contest.others() {
            let at = || StudyError::at(format!("break-even of {one}"));
            let own = loads(index, one);
            let load = geometric(&own).map_err(at())?;
            if let Some(load) = &load {
                estimands.put(format!("load.{}.{}", one.arm.kind(), one.model), load.clone());
            }
            if !standings.of(one).is_ranked() {
                continue;
            }
            let made = made_once(run, one);
            let once = made.unwrap_or(0.0) - made_once(run, reference).unwrap_or(0.0);
            let extra = both(&own, &base, |own, base| own - base + once);
            let common = field.common(index, &[one, reference]);
            for (quantity, label) in [("decode", "decode"), ("prefill", "prefill")] {
                let cost = |who| per_token(index, who, &common, quantity);
                let saved = both(&cost(reference), &cost(one), |base, own| base - own);
                let found = break_even(&extra, &saved).map_err(at())?;
                let name = format!("break_even.{quantity}.{}.{}", one.arm.kind(), one.model);
                let (tokens, says) = said(found, &name, estimands);
                table.push_row([
                    one.to_string().into(),
                    label.into(),
                    cell(load.clone(), "no load was recorded"),
                    Cell::or_missing(made, "nothing had to be made, or nobody noted how long it took"),
                    cell(super::mean(&extra).map_err(at())?, "no block has a load of both"),
                    tokens,
                    says.into(),
                ]);
            }
        }
    }
    Ok(Section::new("building", "Cost before the first token")
        .paragraph(
            "An engine that has to be built, quantised or converted first is faster only after it has earned that back. What was \
             made once is counted in full, also where an earlier run made it: then with the time that it took there.",
        )
        .table(builds(run))
        .table(table)
        .note(
            NoteKind::Limit,
            "A load reads files that the operating system may hold in memory. The cost of making a model ready differs with its \
             file system and with what else the machine does; it was measured once per run, so it has no interval of its own.",
        ))
}

fn said(found: Option<BreakEven>, name: &str, estimands: &mut Estimands) -> (Cell, String) {
    match found {
        None => (Cell::missing("no block has what it needs"), String::new()),
        Some(BreakEven::Never) => {
            let why = "never: it costs more at the start and is not faster";
            estimands.lacks(name, why);
            (Cell::missing("infinite"), why.to_owned())
        }
        Some(BreakEven::AtOnce) => {
            let why = "from the first token: it costs no more at the start";
            estimands.lacks(name, why);
            (Cell::from(0_u32), why.to_owned())
        }
        Some(BreakEven::After(tokens)) => {
            let says = match tokens.interval {
                Some(_) => "after so many tokens".to_owned(),
                None => "after so many tokens by the means; no upper end: it was not shown to be faster, or there are too \
                         few blocks"
                    .to_owned(),
            };
            estimands.put(name, tokens.clone());
            (tokens.into(), says)
        }
        Some(BreakEven::Until(tokens)) => {
            estimands.lacks(name, "it is cheaper at the start and slower per token");
            (tokens.into(), "cheaper at the start and slower: it is ahead up to so many tokens".to_owned())
        }
    }
}

/// Seconds of everything that was made once for a contestant; sessions are loads and are counted there.
fn made_once(run: &RunData, one: Contestant<'_>) -> Option<f64> {
    let made: Vec<f64> = run
        .quality
        .iter()
        .filter_map(|record| match record {
            QualityRecord::Build(build)
                if build.backend == one.arm.backend
                    && build.model == one.model
                    && build.what != "session" =>
            {
                Some(build.seconds)
            }
            _ => None,
        })
        .collect();
    (!made.is_empty()).then(|| made.iter().sum())
}

/// Seconds per token, per block: geometric mean over prompts.
fn per_token<'a>(index: &Index<'a>, one: Contestant<'a>, field: &Field<'a>, quantity: &str) -> PerBlock {
    if quantity == "decode" {
        return field.per_block(index, one, Metric::TpotEngine);
    }
    let rate = field.per_block(index, one, Metric::PrefillRateEngine);
    rate.into_iter().map(|(block, rate)| (block, 1.0 / rate)).collect()
}

fn builds(run: &RunData) -> Table {
    let mut table = Table::new("builds", "What was made before anything was timed")
        .caption(
            "One row per thing made or loaded. What was made once may have been made by an earlier run: the time is what it took then.",
        )
        .column(Column::text("backend", "Backend"))
        .column(Column::text("model", "Model"))
        .column(Column::text("what", "What"))
        .column(Column::number("seconds", "Time", "s"))
        .column(Column::number("bytes", "Size", "B"));
    for record in &run.quality {
        let QualityRecord::Build(build) = record else { continue };
        table.push_row([
            build.backend.as_str().into(),
            build.model.as_str().into(),
            build.what.as_str().into(),
            build.seconds.into(),
            Cell::or_missing(build.bytes.map(|bytes| bytes as f64), "not known"),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(values: &[f64]) -> PerBlock {
        (0_u32..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn a_planted_break_even_is_found() {
        // 10 s more at the start, 1 ms saved per token: 10,000 tokens.
        let extra = blocks(&[10.0, 10.1, 9.9, 10.0, 10.05]);
        let saved = blocks(&[1.0e-3, 1.01e-3, 0.99e-3, 1.0e-3, 1.0e-3]);
        let Some(BreakEven::After(tokens)) = break_even(&extra, &saved).unwrap() else { panic!("a number") };
        assert!((tokens.point / 10_000.0 - 1.0).abs() < 0.02, "{tokens:?}");
        assert!(tokens.interval.is_some_and(|interval| interval.contains(10_000.0)));
    }

    #[test]
    fn what_is_not_faster_never_pays() {
        let extra = blocks(&[10.0; 5]);
        let slower = blocks(&[-1e-3, -1.1e-3, -0.9e-3, -1e-3, -1e-3]);
        assert_eq!(break_even(&extra, &slower).unwrap(), Some(BreakEven::Never));
        let cheaper = blocks(&[-10.0; 5]);
        assert!(matches!(break_even(&cheaper, &slower).unwrap(), Some(BreakEven::Until(_))));
        let faster = blocks(&[1e-3; 5]);
        assert_eq!(break_even(&cheaper, &faster).unwrap(), Some(BreakEven::AtOnce));
        assert_eq!(break_even(&PerBlock::new(), &faster).unwrap(), None);
    }

    #[test]
    fn a_saving_within_noise_has_no_upper_end() {
        let extra = blocks(&[10.0, 10.1, 9.9, 10.0, 10.05]);
        let unsure = blocks(&[2e-3, -1e-3, 1e-3, -0.5e-3, 1.5e-3]);
        let Some(BreakEven::After(tokens)) = break_even(&extra, &unsure).unwrap() else { panic!("a number") };
        assert_eq!(tokens.interval, None, "{tokens:?}");
    }
}
