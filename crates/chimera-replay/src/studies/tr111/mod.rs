//! TR111: how fast the Rust agent is alone, and which Ollama options make it faster. Version 2 ran two calls per run, three
//! runs per arm, both arms in one process: first the server's defaults, then the options. So the published table of
//! configurations holds nineteen repetitions of one arm, the gain of the options holds the shorter prompts that a small
//! context leaves, and the first call after a change of options holds a reload.

pub(super) mod calls;
pub(super) mod family;
pub(super) mod micro;
mod ours;
mod published;

use chimera_report::{Headline, Verdict, show_number};

use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};
use calls::SingleCall;
use family::{Family, equivalent, verdict};

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&micro::Tr111V1, &Tr111];

/// Calls of version 2.
pub(super) const CALLS: &str = "agents/tr111/rust_agent_calls.csv";

/// The study.
struct Tr111;

impl Replay for Tr111 {
    fn id(&self) -> &'static str {
        "tr111"
    }

    fn title(&self) -> &'static str {
        "How fast is the Rust agent alone, and which options make it faster?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[CALLS]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let table = data.table(CALLS, calls::COLUMNS)?;
        let all = calls::read(&table)?;
        if all.is_empty() {
            return Err(table.wrong("there is no call"));
        }
        let mut values = Values::default();
        let mut family = Family::default();
        let mut sections = published::sections(&all, &mut values);
        sections.push(ours::arms(&all, &mut values, &mut family)?);
        sections.push(ours::truncation(&all, &mut values, &mut family)?);
        sections.push(ours::first_tokens(&all, &mut values)?);
        ours::options(&all, &mut values, &mut family);
        sections.push(family.judge(&mut values)?);
        let headline = headline(&values, &all);
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// Whether this directory ran the defaults in both arms.
fn is_control(directory: &[&SingleCall]) -> bool {
    directory.iter().all(|call| call.options.iter().all(String::is_empty))
}

fn percent(values: &Values, name: &str) -> Option<f64> {
    values.point(name).map(|ratio| 100.0 * (ratio - 1.0))
}

fn headline(values: &Values, all: &[SingleCall]) -> Vec<Headline> {
    let mut headline = Vec::new();
    if let Some((analysis, report)) =
        percent(values, "effect.chimera.analysis").zip(percent(values, "effect.chimera.report"))
    {
        let equal = equivalent(values, &["effect.analysis.equal".to_owned()]);
        let found = match equal {
            Verdict::Equivalent => Verdict::Equivalent,
            _ => verdict(values, "effect.analysis", analysis > 0.0),
        };
        let mut sentence = format!(
            "On the first call, whose prompt fits, the options change the decode rate by {}; on the second by {}.",
            show_number(analysis, "%"),
            show_number(report, "%")
        );
        let prompts =
            values.point("prefill.server.report.default").zip(values.point("prefill.server.report.options"));
        if let Some((default, options)) = prompts {
            sentence.push_str(&format!(
                " The second call's prompt is evaluated in {} under the defaults and in {} under the options.",
                show_number(default, "s"),
                show_number(options, "s")
            ));
        }
        headline.push(
            Headline::new(
                "options",
                "Do the options change the decode rate where the prompt fits?",
                found,
                sentence,
            )
            .value(analysis, "%"),
        );
    }
    let pairs = ["256.512", "256.1024", "512.1024"];
    let names: Vec<String> = pairs.iter().map(|pair| format!("prefill.{pair}")).collect();
    let widest = pairs
        .iter()
        .filter_map(|pair| percent(values, &format!("prefill.ratio.{pair}")))
        .fold(0.0_f64, |widest, one| widest.max(one.abs()));
    let equal = equivalent(values, &names);
    headline.push(
        Headline::new(
            "context",
            "Is the prompt of the second call as long at each context size?",
            equal,
            "Largest difference of its evaluation between contexts of 256, 512 and 1024 tokens; equal means within 3 % by two \
             one-sided tests.",
        )
        .value(widest, "%"),
    );
    let control: Vec<&SingleCall> = all.iter().filter(|call| call.config == "baseline_default").collect();
    let cold = control.iter().filter(|call| call.cold() == Some(true)).count();
    if !control.is_empty() {
        let verdict = if cold == 0 { Verdict::Contradicted } else { Verdict::Inconclusive };
        headline.push(
            Headline::new(
                "cold",
                "Is the published time to the first token that of a cold start?",
                verdict,
                format!(
                    "{cold} of the {} calls behind it found the model unloaded; cold calls elsewhere in the data take a median of {}.",
                    control.len(),
                    values.get("ttft.client.cold.median").map_or_else(String::new, crate::Value::shown)
                ),
            )
            .value(cold, ""),
        );
    }
    let configs = verdict(values, "configs.options", true);
    headline.push(Headline::new(
        "best",
        "Do the configurations differ among each other?",
        configs,
        "One-way analysis of variance of the runs over the configurations' own arms, stages weighing the same, Holm-adjusted; \
         without it, the best of them is partly luck.",
    ));
    headline
}

fn limits() -> Limits {
    Limits {
        can: vec![
            "What a server reported and a client stamped for two calls per run on one laptop, on one evening.".into(),
            "How much two arms of the same options differ: one directory ran the defaults twice.".into(),
            "In which time the second prompt was evaluated under each context from 256 to 1024 tokens, and whether it was the same.".into(),
        ],
        cannot: vec![
            "A truncated prompt as a fact: the number of evaluated prompt tokens was not logged; only the times say it.".into(),
            "An effect of `num_gpu`: all levels hold every layer of this model.".into(),
            "An effect of the options apart from order: in every directory the defaults ran first.".into(),
            "Cold starts by configuration: the model was never unloaded on purpose; cold calls are those that followed a change \
             of options."
                .into(),
            "Memory and start-up time: nothing measured them.".into(),
            "What two failed calls would have given: they are counted, not averaged as zero.".into(),
        ],
    }
}
