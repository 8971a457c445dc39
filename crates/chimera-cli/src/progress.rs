//! What a person sees of a run: a bar with trial, cell, rate and time left on a terminal, one line per block elsewhere.
//! It goes to standard error; standard output belongs to results.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use chimera_harness::{BlockEnd, Progress};
use chimera_records::{Outcome, QualityRecord};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A reporter for standard error.
#[derive(Debug)]
pub struct Reporter {
    bar: Option<ProgressBar>,
    block: BlockSoFar,
    blocks: u32,
    /// The check under way.
    check: String,
    checking: Option<Instant>,
}

/// What the line of a block says.
#[derive(Debug, Default)]
struct BlockSoFar {
    started: Option<Instant>,
    completed: u32,
    other: u32,
    flagged: u32,
    tokens: u64,
}

impl Reporter {
    /// A bar on a terminal, lines elsewhere.
    #[must_use]
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{bar:24} {pos}/{len} trials, {per_sec}, {eta} left  {wide_msg}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { bar, block: BlockSoFar::default(), blocks: 0, check: String::new(), checking: None }
    }

    /// Shows one thing that happened.
    pub fn see(&mut self, progress: &Progress) {
        match progress {
            Progress::PlanStarted { run_id, path, trials, done, blocks } => {
                self.blocks = *blocks;
                self.line(&format!(
                    "run {run_id}: {trials} trials, {done} done, {blocks} blocks to run, in {}",
                    path.display()
                ));
                if let Some(bar) = &self.bar {
                    bar.set_length(*trials);
                    bar.set_position(*done);
                    bar.reset_eta();
                    bar.enable_steady_tick(Duration::from_millis(250));
                }
            }
            Progress::QualityStarted { backend, model, number, of } => {
                self.checking = Some(Instant::now());
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("check {number}/{of}: {model} on {backend}"));
                }
                self.check = format!("check {number}/{of}: {model} on {backend}");
            }
            Progress::QualityFound { record } => self.found(record),
            Progress::QualityEnded { end, .. } => {
                let seconds = self.checking.map_or(0.0, |start| start.elapsed().as_secs_f64());
                let mut line = format!("{}: {seconds:.1} s", self.check);
                if let BlockEnd::Failed { reason, .. } | BlockEnd::Died { reason, .. } = end {
                    line.push_str(&format!("; {reason}"));
                }
                self.line(&line);
            }
            Progress::BlockStarted { .. } => {
                self.block = BlockSoFar { started: Some(Instant::now()), ..BlockSoFar::default() };
            }
            Progress::ModelMissing { backend, model, reason } => {
                self.line(&format!("{model} on {backend}: left out: {reason}"));
            }
            Progress::TrialEnded(end) => {
                match end.outcome {
                    Outcome::Completed => self.block.completed += 1,
                    _ => self.block.other += 1,
                }
                self.block.flagged += u32::from(end.flagged);
                self.block.tokens += end.generated.unwrap_or(0);
                if let Outcome::Failed { code, reason } = &end.outcome {
                    self.line(&format!("{} on {} failed ({code}): {reason}", end.model, end.scenario));
                }
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                    bar.set_message(format!(
                        "block {}: {}, {}, {} tokens",
                        end.block + 1,
                        end.model,
                        end.scenario,
                        end.budget
                    ));
                }
            }
            Progress::BlockEnded { block, end, .. } => self.block_ended(*block, end),
            Progress::Note { text } => self.line(text),
            Progress::PlanEnded { failure, .. } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
                if let Some(failure) = failure {
                    eprintln!("{failure}");
                }
            }
            _ => {}
        }
    }

    /// What was found out about an arm, in a few words.
    fn found(&self, record: &QualityRecord) {
        let said = match record {
            QualityRecord::Agreement(of) => {
                let kl = of.mean_kl.map_or_else(String::new, |kl| format!(", KL {kl:.2e}"));
                let share = 100.0 * of.top1_agreement;
                format!("{}: {share:.1} % as the reference says it{kl}", of.scenario)
            }
            QualityRecord::Perplexity(of) => match of.value() {
                Some(value) => format!("perplexity {value:.3} over {} chunks", of.chunks.len()),
                None => return,
            },
            QualityRecord::NotMeasured(of) => {
                let scenario = of.scenario.as_ref().map_or_else(String::new, |id| format!(" on {id}"));
                format!("{:?}{scenario} not measured ({}): {}", of.what, of.code, of.reason)
            }
            // Files and times are for the report.
            _ => return,
        };
        self.line(&format!("  {said}"));
    }

    fn block_ended(&self, block: u32, end: &BlockEnd) {
        let so_far = &self.block;
        let seconds = so_far.started.map_or(0.0, |start| start.elapsed().as_secs_f64());
        let mut line = format!(
            "block {}: {} trials completed, {} tokens in {seconds:.1} s",
            block + 1,
            so_far.completed,
            so_far.tokens
        );
        if so_far.other > 0 {
            line.push_str(&format!(", {} not completed", so_far.other));
        }
        if so_far.flagged > 0 {
            line.push_str(&format!(", {} flagged", so_far.flagged));
        }
        match end {
            BlockEnd::Done => {}
            BlockEnd::Cancelled => line.push_str("; cancelled"),
            BlockEnd::Failed { reason, .. } | BlockEnd::Died { reason, .. } => {
                line.push_str(&format!("; {reason}"))
            }
        }
        self.line(&line);
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}
