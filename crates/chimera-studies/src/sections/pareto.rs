//! Latency against quality: which contestants of true weights are worth having, because nobody is both faster and at least
//! as good. Without a perplexity there is no such question.

use chimera_records::Metric;
use chimera_report::{Axis, Cell, Column, NoteKind, Plot, Point, Section, Series, Style, Table};
use chimera_stats::Estimate;

use super::{both, cell, geometric, standing::Standings};
use crate::{
    Contest, Contestant, Field, Index, PerBlock, StudyError,
    gate::{self, has_random_weights, perplexity},
};

/// A contestant on the plane.
struct Place<'a> {
    one: Contestant<'a>,
    per_block: PerBlock,
    latency: Option<Estimate>,
    perplexity: Option<f64>,
}

/// The section over all weights that have a quality, or nothing where there are none.
///
/// # Errors
/// A statistic that refused its input.
pub fn section<'a>(
    index: &Index<'a>,
    contests: &[Contest<'a>],
    standings: &Standings<'_>,
    field: &Field<'a>,
) -> Result<Option<Section>, StudyError> {
    let run = index.run();
    let mut table = Table::new("pareto", "Latency against perplexity")
        .caption(
            "End to end, geometric mean over the prompts that all ranked contestants of these weights finished. Dominated: \
             another one is faster and its perplexity is not higher. Sure: the interval of the ratio of the two latencies lies \
             above 1, and the higher perplexity is not within noise (paired over chunks).",
        )
        .column(Column::text("weights", "Weights"))
        .column(Column::text("contestant", "Contestant"))
        .column(Column::number("latency", "End to end", "s"))
        .column(Column::number("perplexity", "Perplexity", ""))
        .column(Column::text("front", "On the front"))
        .column(Column::text("by", "Dominated by"))
        .column(Column::text("sure", "Sure"));
    let mut plots = Vec::new();
    for (number, contest) in contests.iter().enumerate() {
        let ranked: Vec<Contestant<'a>> =
            contest.contestants.iter().copied().filter(|one| standings.of(*one).is_ranked()).collect();
        if ranked.iter().all(|one| perplexity(run, *one).is_none() || has_random_weights(run, one.model)) {
            continue;
        }
        let common = field.common(index, &ranked);
        let mut places = Vec::new();
        for one in ranked {
            let at = || StudyError::at(format!("latency of {one}"));
            let per_block = common.per_block(index, one, Metric::E2eEngine);
            places.push(Place {
                one,
                latency: geometric(&per_block).map_err(at())?,
                perplexity: perplexity(run, one).and_then(chimera_records::Perplexity::value),
                per_block,
            });
        }
        let mut series = Series::new(contest.source, Style::Points);
        for place in &places {
            let over = dominator(place, &places);
            let sure = match over {
                Some(other) => Some(is_sure(index, place, other)?),
                None => None,
            };
            if let (Some(latency), Some(perplexity)) = (&place.latency, place.perplexity) {
                series.push(Point {
                    label: Some(place.one.to_string()),
                    ..Point::estimate(perplexity, latency)
                });
            }
            let known = place.latency.is_some() && place.perplexity.is_some();
            table.push_row([
                contest.source.into(),
                place.one.to_string().into(),
                cell(place.latency.clone(), "no prompt that all of them finished"),
                Cell::or_missing(place.perplexity, "not measured"),
                match (known, over) {
                    (false, _) => "cannot be told",
                    (true, None) => "yes",
                    (true, Some(_)) => "no",
                }
                .into(),
                over.map(|other| other.one.to_string()).unwrap_or_default().into(),
                sure.map(|sure| if sure { "yes" } else { "no" }).unwrap_or_default().into(),
            ]);
        }
        if !series.points.is_empty() {
            let plot = Plot::new(
                format!("pareto-{}", number + 1),
                format!("{}: latency against perplexity", contest.source),
                Axis::linear("perplexity", ""),
                Axis::log("end to end", "s"),
            );
            plots.push(plot.caption("Lower left is better. Bars: 95 % interval over blocks.").series(series));
        }
    }
    if table.rows.is_empty() {
        return Ok(None);
    }
    let mut section = Section::new("pareto", "Latency against quality")
        .paragraph(
            "A contestant is worth having if nobody is both faster and at least as good. Weights from a generator have no \
             quality and are not here.",
        )
        .table(table);
    for plot in plots {
        section = section.plot(plot);
    }
    Ok(Some(section.note(
        NoteKind::Limit,
        "Perplexity on one text is one side of quality. It says nothing of instructions followed or facts known.",
    )))
}

/// Who is faster and at least as good, the fastest of them.
fn dominator<'p, 'a>(place: &Place<'a>, places: &'p [Place<'a>]) -> Option<&'p Place<'a>> {
    let (own_latency, own_perplexity) = (place.latency.as_ref()?.point, place.perplexity?);
    places
        .iter()
        .filter(|other| other.one != place.one)
        .filter_map(|other| Some((other, other.latency.as_ref()?.point, other.perplexity?)))
        .filter(|(_, latency, perplexity)| *latency < own_latency && *perplexity <= own_perplexity)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(other, ..)| other)
}

fn is_sure(index: &Index<'_>, place: &Place<'_>, over: &Place<'_>) -> Result<bool, StudyError> {
    let at = || StudyError::at(format!("{} against {}", place.one, over.one));
    let ratio = geometric(&both(&place.per_block, &over.per_block, |own, other| own / other)).map_err(at())?;
    let slower = ratio.and_then(|ratio| ratio.interval).is_some_and(|interval| interval.low > 1.0);
    let run = index.run();
    let (Some(base), Some(own)) = (perplexity(run, over.one), perplexity(run, place.one)) else {
        return Ok(false);
    };
    let worse = gate::difference(&base.chunks, &own.chunks).map_err(at())?;
    // Equal to the last bit is surely not better either.
    let not_better = worse.is_some_and(|worse| worse.interval.is_some_and(|interval| interval.low >= 0.0));
    Ok(slower && not_better)
}
