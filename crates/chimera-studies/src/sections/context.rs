//! What was run and on what: models, design, host, backends and the fate of every trial. No latency is here.

use std::collections::BTreeMap;

use chimera_records::{Outcome, TrialRole};
use chimera_report::{Cell, Column, Draft, NoteKind, Section, Table, cells};

use crate::{Index, RunData};

/// Facts for the head of the report.
#[must_use]
pub fn provenance(mut draft: Draft, run: &RunData) -> Draft {
    let manifest = &run.manifest;
    let design = &run.settings.design;
    let mut fact = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            draft = std::mem::replace(&mut draft, Draft::new("", "")).provenance(label, value);
        }
    };
    fact("Run", Some(manifest.run_id.clone()));
    fact("Profile", run.settings.overrides.profile.clone());
    fact("Plan", Some(manifest.plan_digest.clone()));
    fact("Design", Some(format!("{} (SHA-256), seed {}", manifest.design_sha256, design.seed)));
    let program = &manifest.program;
    fact("Program", Some(program.version.clone()).filter(|v| !v.is_empty()));
    let dirty = if program.git_dirty == Some(true) { ", with uncommitted changes" } else { "" };
    fact("Source", program.git_revision.as_ref().map(|revision| format!("{revision}{dirty}")));
    fact("Toolchain", program.toolchain.clone());
    fact(
        "Build",
        program.profile.clone().map(|profile| match &program.target_features {
            Some(features) => format!("{profile}, {features}"),
            None => profile,
        }),
    );
    let host = &manifest.host;
    fact("CPU", host.cpu.clone());
    fact("Cores", host.cores.map(|cores| cores.to_string()));
    fact("Memory", host.memory_bytes.map(|bytes| chimera_report::show_number(bytes as f64, "B").to_string()));
    fact("System", host.system.clone());
    fact("Governor", Some(host.governor.clone().unwrap_or_else(|| "not told by this system".to_owned())));
    fact("Virtual machine", host.virtualised.map(|v| if v { "yes" } else { "no" }.to_owned()));
    draft
}

/// The section "What was run, and on what".
#[must_use]
pub fn section(index: &Index<'_>) -> Section {
    let run = index.run();
    let design = &run.settings.design;
    let plural = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let mut section = Section::new("context", "What was run, and on what")
        .paragraph(format!(
            "{}: {} in {}, each block a fresh process in which every shape is used once with a short budget and then \
             every cell comes once, in an order drawn with seed {}. The block is the unit of replication of every \
             interval in this report.",
            design.title,
            plural(run.trials.len(), "trial record"),
            plural(design.blocks as usize * design.process.threads.len(), "block"),
            design.seed,
        ));
    if let Some(left) = &run.settings.leaves_out {
        section = section.note(NoteKind::Limit, left.clone());
    }
    section
        .table(models(index))
        .table(scenarios(index))
        .table(backends(run))
        .table(outcomes(run))
        .table(instrument(run))
}

fn models(index: &Index<'_>) -> Table {
    let run = index.run();
    let mut table = Table::new("models", "Models")
        .caption(
            "As reported by the backend once resident. Bytes per token: weights that one decode step reads.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::text("weights", "Weights"))
        .column(Column::number("parameters", "Parameters", ""))
        .column(Column::number("layers", "Layers", ""))
        .column(Column::number("width", "Width", ""))
        .column(Column::number("heads", "Heads", ""))
        .column(Column::number("bytes", "Bytes per token", "B"))
        .column(Column::text("origin", "Origin"))
        .column(Column::text("digest", "Digest"));
    for entry in run.asked_models() {
        let record = run.manifest.models.get(entry.id.as_str());
        let info = record.and_then(|record| record.info.values().next());
        let why = record.and_then(|r| r.obstacle.as_deref()).unwrap_or("not loaded in this run");
        let number = |value: Option<u32>| Cell::or_missing(value, why);
        table.push_row([
            entry.id.as_str().into(),
            entry.variant.as_str().into(),
            Cell::or_missing(info.and_then(|i| i.parameters).map(|p| p.total), why),
            number(info.and_then(|i| i.layers)),
            number(info.and_then(|i| i.width)),
            number(info.and_then(|i| i.heads)),
            Cell::or_missing(info.and_then(|i| i.weight_bytes_per_token).map(|b| b as f64), why),
            Cell::or_missing(record.and_then(|r| r.provenance.clone()), why),
            Cell::or_missing(
                info.and_then(|i| i.digest.as_ref()).map(|d| d.chars().take(12).collect::<String>()),
                why,
            ),
        ]);
    }
    table
}

fn scenarios(index: &Index<'_>) -> Table {
    let run = index.run();
    let mut lengths: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (key, trials) in index.cells() {
        for lane in trials.iter().flat_map(|trial| &trial.lanes) {
            if let Some(tokens) = lane.prompt_tokens {
                let seen = lengths.entry(key.scenario).or_default();
                if !seen.contains(&tokens) {
                    seen.push(tokens);
                }
            }
        }
    }
    let mut table = Table::new("scenarios", "Prompts")
        .caption(
            "Prompt tokens as the backend counted them, over all models; two tokenizers give two counts.",
        )
        .column(Column::text("scenario", "Scenario"))
        .column(Column::text("tokens", "Prompt tokens"))
        .column(Column::text("text", "Text"));
    let design = &run.settings.design;
    for scenario in &design.scenario {
        if !design.grid.iter().any(|grid| grid.scenario.contains(&scenario.id)) {
            continue;
        }
        let counts = lengths.get_mut(scenario.id.as_str()).map(|seen| {
            seen.sort_unstable();
            seen.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
        });
        let text: String = scenario.text.chars().take(80).collect();
        let text = match scenario.tokens {
            Some(tokens) => format!("{text}… (repeated and cut to {tokens} tokens)"),
            None => text,
        };
        table.push_row([
            scenario.id.as_str().into(),
            Cell::or_missing(counts, "no completed trial"),
            text.into(),
        ]);
    }
    table
}

fn backends(run: &RunData) -> Table {
    let mut table = Table::new("backends", "Backends")
        .caption("As they answered to the probe in the processes that measured.")
        .column(Column::text("backend", "Backend"))
        .column(Column::text("state", "State"))
        .column(Column::text("version", "Version"))
        .column(Column::text("details", "Details"));
    for (name, probe) in &run.manifest.backends {
        let details: Vec<String> =
            probe.details.iter().map(|(label, value)| format!("{label}: {value}")).collect();
        table.push_row([
            name.as_str().into(),
            probe.availability.to_string().into(),
            Cell::or_missing(probe.version.clone(), "it does not say"),
            details.join("; ").into(),
        ]);
    }
    table
}

fn outcomes(run: &RunData) -> Table {
    let mut counts: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let mut reasons: BTreeMap<(&str, &str), BTreeMap<String, u64>> = BTreeMap::new();
    for trial in &run.trials {
        let key = (&*trial.factors.model, trial.outcome.word());
        let (measured, first) = counts.entry(key).or_default();
        match trial.role {
            TrialRole::Measured => *measured += 1,
            TrialRole::FirstUse => *first += 1,
        }
        let reason = match &trial.outcome {
            Outcome::Failed { code, reason } => Some(format!("{code}: {reason}")),
            Outcome::Skipped { reason } => Some(reason.clone()),
            Outcome::Censored { timeout_s } => Some(format!("longer than {timeout_s} s")),
            Outcome::Completed | Outcome::Cancelled => None,
        };
        if let Some(reason) = reason {
            *reasons.entry(key).or_default().entry(reason).or_default() += 1;
        }
    }
    let mut table = Table::new("outcomes", "What became of every trial")
        .caption("Counts of records. A failed, skipped or censored trial has no latency and is in no mean.")
        .column(Column::text("model", "Model"))
        .column(Column::text("outcome", "Outcome"))
        .column(Column::number("measured", "Steady trials", ""))
        .column(Column::number("first", "First-use trials", ""))
        .column(Column::text("reason", "Reason"));
    for (key, (measured, first)) in counts {
        let reason = reasons.get(&key).map(|reasons| {
            reasons.iter().map(|(reason, n)| format!("{n} x {reason}")).collect::<Vec<_>>().join("; ")
        });
        table.push_row([
            key.0.into(),
            key.1.into(),
            measured.into(),
            first.into(),
            reason.unwrap_or_default().into(),
        ]);
    }
    table
}

fn instrument(run: &RunData) -> Table {
    let clocks = &run.manifest.clocks;
    let noise = &run.manifest.noise;
    let told = "not told by this system";
    let seconds =
        |nanos: Option<f64>| Cell::or_missing(nanos.map(|n| Cell::number_in(n / 1e9, "s")), "not measured");
    let share = |share: Option<f64>| Cell::or_missing(share.map(|s| Cell::number_in(s * 100.0, "%")), told);
    Table::new("instrument", "The instrument and the noise around it")
        .caption("The instrument's own cost is measured at the start of the run; pressure and steal over all of it.")
        .column(Column::text("what", "What"))
        .column(Column::number("value", "Value", ""))
        .row(cells!["smallest step of the clock", seconds(clocks.resolution_ns.map(|n| n as f64))])
        .row(cells!["one reading of the clock", seconds(clocks.reading_ns)])
        .row(cells!["harness, per event", seconds(clocks.per_event_ns)])
        .row(cells!["time in which a task waited for a CPU", share(noise.cpu_pressure)])
        .row(cells!["time in which a task waited for memory", share(noise.memory_pressure)])
        .row(cells!["CPU time stolen by the hypervisor", share(noise.steal)])
}
