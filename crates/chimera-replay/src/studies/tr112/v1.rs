//! TR112 v1: one call of the Rust agent per configuration against two of the Python agent, a month apart. Its data are those
//! of TR109 and TR111 v1.

use chimera_report::{Cell, Column, Headline, Section, Table, show_number};
use chimera_stats::{
    Sample,
    hypothesis::{self, Alternative, Margin},
};

use super::python;
use crate::{
    ALPHA, Artifacts, Limits, Replay, ReplayError, Replayed, Values,
    studies::{
        shared::{self, cell},
        tr111::{
            calls::moments,
            family::{Family, Two, equivalent, verdict},
            micro,
        },
    },
};

/// Version 1.
pub(super) struct Tr112V1;

/// Differences below this share count as none.
const MARGIN: f64 = 0.01;

impl Replay for Tr112V1 {
    fn id(&self) -> &'static str {
        "tr112-v1"
    }

    fn title(&self) -> &'static str {
        "Is one call of the Rust agent as fast as the Python agent's two?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[python::SWEEP, micro::RUNS]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let arms = python::read(data)?;
        let calls = micro::read(data)?;
        let mut values = Values::default();
        let mut family = Family::default();
        python::put(&arms, &mut values);
        let pairs = micro::pairs(&calls, false);
        python::success(&mut values, "rust", pairs.iter().map(|(config, pair)| (config.as_str(), *pair)));
        let all: Vec<f64> = micro::pairs(&calls, true).into_values().map(|(_, own)| own).collect();
        let (mean, sd) = moments(&all);
        values.put("legacy.rust.tokens_s.mean.chimera", "tok/s", mean);
        values.put("legacy.rust.tokens_s.sd.chimera", "tok/s", sd);
        values.put("legacy.rust.tokens_s.cv.chimera", "%", 100.0 * sd / mean);
        let ttft: Vec<f64> =
            calls.iter().filter(|call| call.in_grid()).filter_map(|call| call.ttft_ms).collect();
        values.put("legacy.rust.ttft_ms.mean", "ms", moments(&ttft).0);
        let python_ttft: Vec<f64> = arms.iter().map(|arm| arm.ttft_ms).collect();
        values.put("legacy.python.ttft_ms.mean", "ms", moments(&python_ttft).0);
        let python_mean = moments(&python::rates(&arms, "chimera")).0;
        values.put("legacy.gap", "%", 100.0 * (python_mean / mean - 1.0));
        values.put("legacy.ttft_ratio", "", moments(&ttft).0 / moments(&python_ttft).0);

        let mut table = Table::new("rates", "Rates of the two agents, by arm")
            .caption("Ratio of geometric means, Python over Rust, with its interval over configurations. The two were measured a month apart.")
            .column(Column::text("arm", "Arm"))
            .column(Column::number("rust", "Rust", "tok/s"))
            .column(Column::number("python", "Python", "tok/s"))
            .column(Column::number("ratio", "Ratio", ""));
        for (arm, own) in [("baseline", 0), ("chimera", 1)] {
            let rust: Vec<f64> = pairs.values().map(|pair| if own == 0 { pair.0 } else { pair.1 }).collect();
            let python = python::rates(&arms, arm);
            let estimate = shared::ratio_of(&python, &rust, "configuration");
            if let Ok(estimate) = &estimate {
                values.put_estimate(format!("weeks.ratio.{arm}"), "", estimate.clone());
            }
            let sample = |values| Sample::new(values, "configuration");
            let question = format!("Do the two differ in the arm {arm}?");
            let two = Two { a: &python, b: &rust, replicate: "configuration", unit: "tok/s" };
            family.add_welch(&mut values, &format!("weeks.{arm}"), &question, two);
            let equal = sample(&python).and_then(|python| {
                hypothesis::equivalent_ratio(python, sample(&rust)?, Margin::ratio(MARGIN), ALPHA)
            });
            family.add_equivalence(
                &mut values,
                &format!("weeks.equal.{arm}"),
                &format!("Are they equal within 1 % in the arm {arm}?"),
                equal,
            );
            table.push_row([arm.into(), moments(&rust).0.into(), moments(&python).0.into(), cell(estimate)]);
        }
        let mut counts = Table::new("success", "How often the options won")
            .column(Column::text("agent", "Agent"))
            .column(Column::number("wins", "Wins", ""))
            .column(Column::number("pairs", "Configurations", ""))
            .column(Column::number("mean", "Mean change", "%"));
        for (name, label, pairs) in
            [("rust", "Rust", pairs.len()), ("python", "Python", python::pairs(&arms).len())]
        {
            let point = |what: &str| values.point(&format!("legacy.success.{name}.{what}"));
            counts.push_row([
                label.into(),
                Cell::or_missing(point("wins"), "no pair"),
                pairs.into(),
                Cell::or_missing(point("mean"), "no pair"),
            ]);
        }
        let fisher = fisher(
            (values.point("legacy.success.rust.wins").unwrap_or(0.0), pairs.len()),
            (values.point("legacy.success.python.wins").unwrap_or(0.0), python::pairs(&arms).len()),
        );
        family.add(&mut values, "success", "Do the options win more often for one agent?", fisher);
        let tests = family.judge(&mut values)?;
        let headline = headline(&values);
        let published = Section::new("published", "Published tables by the published formula").table(counts);
        let ours = Section::new("weeks", "The same question by our definitions").table(table);
        Ok(Replayed { values, headline, sections: vec![published, ours, tests], limits: limits() })
    }
}

/// Fisher's exact test of wins out of pairs.
pub(super) fn fisher(
    a: (f64, usize),
    b: (f64, usize),
) -> Result<hypothesis::Test, chimera_stats::StatsError> {
    let row = |(wins, pairs): (f64, usize)| {
        let wins = wins as u64;
        [wins, (pairs as u64).saturating_sub(wins)]
    };
    hypothesis::fisher_exact([row(a), row(b)], Alternative::TwoSided)
}

fn headline(values: &Values) -> Vec<Headline> {
    let mut headline = Vec::new();
    if let Some(ratio) = values.point("weeks.ratio.chimera") {
        headline.push(
            Headline::new(
                "equal",
                "Are the two rates, a month apart, the same within 1 %?",
                equivalent(values, &["weeks.equal.chimera".to_owned()]),
                "Both are rates of the same server; a client can hardly change them.",
            )
            .value(100.0 * (ratio - 1.0), "%"),
        );
    }
    if let Some((rust, python)) =
        values.point("legacy.success.rust.share").zip(values.point("legacy.success.python.share"))
    {
        headline.push(
            Headline::new(
                "success",
                "Do the options win more often for the Rust agent?",
                verdict(values, "success", rust > python),
                format!(
                    "{} of configurations for Rust, {} for Python; Fisher's exact test, Holm-adjusted.",
                    show_number(rust, "%"),
                    show_number(python, "%")
                ),
            )
            .value(rust - python, "%"),
        );
    }
    headline
}

fn limits() -> Limits {
    Limits {
        can: vec!["How far the server's rates of October and of November 10 lie apart.".into()],
        cannot: vec![
            "A comparison of languages: another day, another workload (one call against two), another definition of the first token."
                .into(),
            "Consistency of a language: each configuration ran once, and the spread is that of the server.".into(),
        ],
    }
}
