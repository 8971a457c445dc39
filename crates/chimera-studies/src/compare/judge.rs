//! One metric of one group: the ratio, its test, and what may be said. The verdict comes from two families of tests,
//! each adjusted by Holm over the whole comparison: that the ratio is not 1 (Welch or paired t on logarithms), and that
//! it lies within the margin (two one-sided tests). A large p alone never says "equal".

use std::{collections::BTreeMap, fmt};

use chimera_records::Metric;
use chimera_stats::{
    Estimate, Sample, StatsError,
    diagnose::{self, Warning},
    effect, hypothesis,
    hypothesis::{Alternative, Margin},
    intervals, power, random, ratio,
};
use serde::Serialize;

use super::{factor::Factor, words::p_value};
use crate::{LEVEL, PerBlock};

/// What a comparison says of one metric of one cell. "Faster" and "slower" are of the second run against the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Worse, supported by the data.
    Slower,
    /// Better, supported by the data.
    Faster,
    /// Different, for a metric of which neither direction is better.
    Different,
    /// Within the margin, shown by an equivalence test.
    Equivalent,
    /// The data can neither show a difference nor exclude one.
    Inconclusive,
    /// The two sides did not do the same work, or the metric is undefined.
    NotComparable,
}

impl Call {
    /// The word as printed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::Different => "different",
            Self::Equivalent => "equivalent",
            Self::Inconclusive => "inconclusive",
            Self::NotComparable => "not comparable",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// A latency.
    Lower,
    /// A rate.
    Higher,
    /// A share.
    Neither,
}

impl Better {
    /// Of a metric.
    #[must_use]
    pub fn of(metric: Metric) -> Self {
        match metric.unit() {
            "tok/s" => Self::Higher,
            "s" => Self::Lower,
            _ => Self::Neither,
        }
    }
}

/// One metric of one cell.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Metric by name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way it is better.
    pub better: Better,
    /// Levels of the factors of the comparison.
    pub cell: BTreeMap<Factor, String>,
    /// The first run: geometric mean over blocks.
    pub a: Option<Estimate>,
    /// The second run.
    pub b: Option<Estimate>,
    /// Second over first.
    pub ratio: Option<Estimate>,
    /// Name of the test.
    pub test: Option<String>,
    /// Its two-sided p.
    pub p: Option<f64>,
    /// The same, Holm-adjusted over all rows.
    pub adjusted_p: Option<f64>,
    /// Hedges' g of the logarithms; positive where the second run is larger.
    pub effect: Option<Estimate>,
    /// Smallest change that so many blocks with so much noise find with 80 % power at the level that Holm demands first
    /// of this family, as a share: 0.05 for 5 %.
    pub detectable: Option<f64>,
    /// p of the equivalence test at the margin, Holm-adjusted over all rows.
    pub equivalence_p: Option<f64>,
    /// Blocks of the first run.
    pub blocks_a: usize,
    /// Blocks of the second run.
    pub blocks_b: usize,
    /// Whether both sides ran in the same blocks.
    pub paired: bool,
    /// What may be said.
    pub call: Call,
    /// What a reader must know of this row.
    pub notes: Vec<String>,
    /// Standard deviation of the logarithms, pooled over the sides.
    #[serde(skip)]
    pub(super) spread: Option<f64>,
    #[serde(skip)]
    pub(super) raw_equivalence_p: Option<f64>,
}

/// Fewest blocks on either side with which a difference is called: below it a t test leans on normality alone.
pub(crate) const FEWEST: usize = intervals::MIN_BLOCKS;

/// Power at which the smallest detectable change is stated.
const POWER: f64 = 0.8;

/// Estimates and raw p values of one row; families are adjusted by [`decide`].
pub(crate) fn measure(
    metric: Metric,
    cell: BTreeMap<Factor, String>,
    (a, b): (&PerBlock, &PerBlock),
    same_run: bool,
    margin: f64,
    alpha: f64,
) -> Result<Row, StatsError> {
    let common: Vec<u32> = a.keys().filter(|block| b.contains_key(block)).copied().collect();
    let paired = same_run && !common.is_empty();
    let values = |side: &PerBlock| -> Vec<f64> {
        side.iter().filter(|(block, _)| !paired || common.contains(block)).map(|(_, value)| *value).collect()
    };
    let (va, vb) = (values(a), values(b));
    let mut row = Row {
        metric: metric.name(),
        unit: metric.unit(),
        better: Better::of(metric),
        cell,
        a: None,
        b: None,
        ratio: None,
        test: None,
        p: None,
        adjusted_p: None,
        effect: None,
        detectable: None,
        equivalence_p: None,
        blocks_a: va.len(),
        blocks_b: vb.len(),
        paired,
        call: Call::Inconclusive,
        notes: Vec::new(),
        spread: None,
        raw_equivalence_p: None,
    };
    if va.is_empty() || vb.is_empty() {
        row.call = Call::NotComparable;
        let side = if va.is_empty() { "first" } else { "second" };
        row.notes.push(format!("the {side} run has no block with every cell"));
        return Ok(row);
    }
    let (sa, sb) = (Sample::new(&va, "block")?, Sample::new(&vb, "block")?);
    row.a = Some(intervals::geometric_over_blocks(sa, LEVEL)?);
    row.b = Some(intervals::geometric_over_blocks(sb, LEVEL)?);
    let fewest = va.len().min(vb.len());
    if fewest < 2 {
        row.notes.push("one block: nothing to tell noise by".into());
        return Ok(row);
    }
    let mut estimate = if paired { ratio::paired(sb, sa, LEVEL)? } else { ratio::unpaired(sb, sa, LEVEL)? };
    if fewest < FEWEST {
        estimate.interval = None;
        row.notes.push(format!("{fewest} blocks: no verdict below {FEWEST}"));
    }
    row.ratio = Some(estimate);
    let (la, lb) = (sa.ln()?, sb.ln()?);
    let (la, lb) = (Sample::new(&la, "block")?, Sample::new(&lb, "block")?);
    let test = if paired {
        hypothesis::paired_t(lb, la, Alternative::TwoSided)?
    } else {
        hypothesis::welch_t(lb, la, Alternative::TwoSided)?
    };
    row.test = Some(format!("{} on logarithms", test.name));
    match test.p(alpha) {
        Ok(p) => row.p = Some(p),
        Err(refusal) => row.notes.push(refusal.to_string()),
    }
    let margin = Margin::ratio(margin);
    let equivalence = if paired {
        hypothesis::equivalent_paired_ratio(sb, sa, margin, alpha)?
    } else {
        hypothesis::equivalent_ratio(sb, sa, margin, alpha)?
    };
    row.raw_equivalence_p = equivalence.p().ok();
    for (side, values) in [("A", sa), ("B", sb)] {
        // Logarithms are what is tested, and few blocks are told of above: of all doubts these two are left.
        for doubt in diagnose::blocks(values)? {
            match doubt {
                Warning::Drifts { p, .. } => {
                    row.notes.push(format!("{side} drifts over its blocks (Mann-Kendall p {})", p_value(p)));
                }
                Warning::Dependent { n, effective, .. } => {
                    row.notes.push(format!(
                        "blocks of {side} resemble their neighbours ({n} are worth {effective:.1})"
                    ));
                }
                _ => {}
            }
        }
    }
    row.effect =
        if paired { effect::hedges_g_paired(lb, la, LEVEL) } else { effect::hedges_g(lb, la, LEVEL) }.ok();
    row.spread = Some(if paired {
        let differences: Vec<f64> = lb.values().iter().zip(la.values()).map(|(b, a)| b - a).collect();
        Sample::new(&differences, "block")?.sd()?
    } else {
        let (na, nb) = (la.len() as f64, lb.len() as f64);
        (((na - 1.0) * la.sd()?.powi(2) + (nb - 1.0) * lb.sd()?.powi(2)) / (na + nb - 2.0)).sqrt()
    });
    Ok(row)
}

/// Adjusts both families and calls each row.
pub(crate) fn decide(rows: &mut [Row], alpha: f64) -> Result<(), StatsError> {
    let adjusted = adjust(rows, |row| row.p)?;
    for (row, p) in rows.iter_mut().zip(adjusted) {
        row.adjusted_p = p;
    }
    let adjusted = adjust(rows, |row| row.raw_equivalence_p)?;
    for (row, p) in rows.iter_mut().zip(adjusted) {
        row.equivalence_p = p;
    }
    let family = rows.iter().filter(|row| row.p.is_some()).count().max(1);
    let mut units = Detectable::with_power(alpha / family as f64, POWER);
    for row in rows {
        if let Some(spread) = row.spread {
            row.detectable = units.share(row.blocks_a.min(row.blocks_b), row.paired, spread)?;
        }
        row.call = call(row, alpha);
    }
    Ok(())
}

fn adjust(rows: &[Row], p: impl Fn(&Row) -> Option<f64>) -> Result<Vec<Option<f64>>, StatsError> {
    // A row that is not comparable was not tested, whatever its numbers.
    let tested = |row: &Row| if row.call == Call::NotComparable { None } else { p(row) };
    hypothesis::holm_of(&rows.iter().map(tested).collect::<Vec<_>>())
}

fn call(row: &Row, alpha: f64) -> Call {
    if row.call == Call::NotComparable || row.blocks_a.min(row.blocks_b) < FEWEST {
        return row.call;
    }
    let below = |p: Option<f64>| p.is_some_and(|p| p <= alpha);
    if below(row.equivalence_p) {
        return Call::Equivalent;
    }
    let Some(ratio) = row.ratio.as_ref().filter(|_| below(row.adjusted_p)) else {
        return Call::Inconclusive;
    };
    match (row.better, ratio.point > 1.0) {
        (Better::Neither, _) => Call::Different,
        (Better::Lower, true) | (Better::Higher, false) => Call::Slower,
        (Better::Lower, false) | (Better::Higher, true) => Call::Faster,
    }
}

/// Smallest detectable changes. They are proportional to the noise, so each shape of design is simulated once.
#[derive(Debug)]
pub(crate) struct Detectable {
    alpha: f64,
    power: f64,
    unit: BTreeMap<(usize, bool), f64>,
}

impl Detectable {
    pub(crate) fn with_power(alpha: f64, power: f64) -> Self {
        Self { alpha, power, unit: BTreeMap::new() }
    }

    /// As a share of the first side: exp(difference of logarithms) - 1.
    pub(crate) fn share(&mut self, blocks: usize, paired: bool, sd: f64) -> Result<Option<f64>, StatsError> {
        if blocks < 3 {
            return Ok(None);
        }
        let unit = match self.unit.get(&(blocks, paired)) {
            Some(unit) => *unit,
            None => {
                let noise = power::Noise { block_sd: 1.0, request_sd: 0.0 };
                let design = power::Design { blocks, requests: 1, paired };
                let unit = power::minimum_detectable(noise, design, self.alpha, self.power, simulations())?;
                self.unit.insert((blocks, paired), unit);
                unit
            }
        };
        Ok(Some((unit * sd).exp_m1()).filter(|share| share.is_finite()))
    }
}

/// Simulations behind every smallest detectable change.
pub(crate) fn simulations() -> random::Resampling {
    random::Resampling::new(4_000, 4_711)
}
