//! TR118: ONNX Runtime and TensorRT against compiled PyTorch. Three versions over one set of runs: the first (which the
//! archive holds only as a page generated from a later run), the comparison of two sizes, and the crossover over nine.

mod audit;
mod crossover;
mod data;
mod deep;
mod legacy;
mod ours;
mod tables;

use chimera_report::{Headline, Verdict, literal};

use self::{
    audit::{ENGINES, EXPORTS, Engine, Gate, PERPLEXITY},
    crossover::MILLIONS,
    data::{BASELINE, Data, FILES, RUNS, Run, SAMPLES},
    ours::Family,
    tables::{Part, shown},
};
use crate::{ALPHA, Artifacts, Limits, Replay, ReplayError, Replayed, Values};

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&V1, &V21, &V22];

const NEEDS: &[&str] = &[FILES, RUNS, SAMPLES, PERPLEXITY, ENGINES, EXPORTS];

/// Runs by the name of their values and by their path.
const DEEP_TINY: (&str, &str) = ("tiny", "20251213_135135_deep/tiny-gpt2/");
const DEEP_GPT2: (&str, &str) = ("gpt2", "20251213_135135_deep/gpt2/");
const REPAIRED: (&str, &str) = ("gpt2-repaired", "20251213_141057_deep_fp16_fix/gpt2/");
const ELEVEN: (&str, &str) = ("gpt2-11m", "20251213_153314_gpt2_11m/");
const FORTY_FIVE: (&str, &str) = ("gpt2-45m", "validation_45m/");
const FIRST: (&str, &str) = ("first", "_1765601222");
const ARCHIVED: (&str, &str) = ("archived", "_1766111615");

const TRT: [&str; 3] = ["tensorrt-fp32", "tensorrt-fp16", "tensorrt-int8"];
/// Vocabulary of the models.
const VOCABULARY: f64 = 50_257.0;

struct V1;
struct V21;
struct V22;

/// What all versions read.
struct Read {
    data: Data,
    gates: Vec<Gate>,
    engines: Vec<Engine>,
}

fn read(artifacts: &Artifacts) -> Result<Read, ReplayError> {
    Ok(Read {
        data: data::load(artifacts)?,
        gates: audit::gates(artifacts)?,
        engines: audit::engines(artifacts)?,
    })
}

/// Runs that are there, in both modes; a run that is not there is named as absent.
fn parts<'d>(values: &mut Values, data: &'d Data, wanted: &[(&'static str, &str)]) -> Vec<Part<'d>> {
    let mut parts = Vec::new();
    for (label, path) in wanted {
        for mode in ["prefill", "generate"] {
            match data.run(path, mode) {
                Some(run) => parts.push((*label, run)),
                None => {
                    values.lacks(format!("legacy.{label}.{mode}.records"), "this run is not in these data");
                }
            }
        }
    }
    parts
}

/// Published formulas and ours on each run.
fn compute(values: &mut Values, family: &mut Family, parts: &[Part<'_>]) -> Result<(), ReplayError> {
    for (label, run) in parts {
        legacy::run(values, label, run)?;
        ours::run(values, family, label, run)?;
    }
    Ok(())
}

/// The audits that concern every version.
fn audits(values: &mut Values, read: &Read) {
    audit::precision(values, &read.engines);
    audit::gate_totals(values, &read.gates);
    audit::every_failure(values, &read.data);
}

/// A headline on the precision label: it is contradicted when engines were inspected and none shows the precision.
fn precision_headline(values: &Values) -> Headline {
    let count = |name: &str| values.point(name).unwrap_or(0.0);
    let (with, of) = (count("audit.int8.with_int8_tensors"), count("audit.int8.inspected"));
    let verdict = match (of == 0.0, with == 0.0, with == of) {
        (true, ..) => Verdict::NotMeasured,
        (_, true, _) => Verdict::Contradicted,
        (.., true) => Verdict::Supported,
        _ => Verdict::Inconclusive,
    };
    let sentence = format!(
        "{with} of {of} inspected engines labelled INT8 have an INT8 tensor, and {} of {} INT8 perplexities equal the FP32 \
         engine's to the last digit.",
        count("gates.int8.identical_to_fp32"),
        count("gates.int8.judged"),
    );
    Headline::new("precision", "TensorRT INT8 computes in INT8", verdict, sentence).value(with, "")
}

/// A headline on a speed-up.
fn speed_headline(values: &Values, id: &str, label: &str, name: &str, what: &str) -> Headline {
    let verdict = ours::verdict(values, name);
    let p = shown(values, &format!("p_holm.{name}"));
    let sentence = match verdict {
        Verdict::NotMeasured => format!("{}: these data have no such run.", literal(what)),
        _ => format!(
            "{}: {} times as fast over the scenarios that both finished (Holm p {p}); {} with the first repetition.",
            literal(what),
            shown(values, name),
            shown(values, &format!("{name}.with_first")),
        ),
    };
    let headline = Headline::new(id, label, verdict, sentence);
    match ours::estimate(values, name) {
        Some(estimate) => headline.value(estimate, ""),
        None => headline,
    }
}

/// Uniform guess against the untrained model, and the other perplexities that a version quotes.
fn perplexities(values: &mut Values, read: &Read, runs: &[(&str, &str)]) {
    for (label, path) in runs {
        audit::perplexities(values, label, path, &read.gates);
        let name = format!("legacy.ppl.{label}.{BASELINE}");
        if let Some(perplexity) = values.point(&name) {
            values.put(format!("{name}.over_uniform"), "", perplexity / VOCABULARY);
        }
    }
}

fn limits(more_can: &[&str], more_cannot: &[&str]) -> Limits {
    let can = [
        "Which engines have tensors of the precision in their name: the inspector's counts were kept.",
        "Why records failed: reasons and shapes were kept.",
        "How fast one process repeats itself, by backend and scenario.",
    ];
    let cannot = [
        "Whether INT8 is faster or as accurate: nothing but a label says that an engine computes in it.",
        "How another process or day would come out: repetitions follow each other in one process, in a fixed order of \
         backends, and a backend's order is confounded with time and heat.",
        "Pure forward time: PyTorch's time leaves the copy of ids out, ONNX Runtime's has it in, TensorRT's starts before \
         it has ended; all copy the logits of every position back.",
        "Tokens a user would count: prompts are padded to at least eight tokens and padded tokens are counted.",
        "Decoding: generation repeats the whole forward pass for each token, without a cache.",
        "Accuracy on unseen text: calibration and perplexity share a test split, in lines cut at 128 tokens.",
    ];
    let both = |own: &[&str], more: &[&str]| own.iter().chain(more).map(|s| (*s).to_owned()).collect();
    Limits { can: both(&can, more_can), cannot: both(&cannot, more_cannot) }
}

impl Replay for V1 {
    fn id(&self) -> &'static str {
        "tr118-v1"
    }

    fn title(&self) -> &'static str {
        "Do ONNX export and TensorRT engines work at all, without failures and without loss of accuracy?"
    }

    fn needs(&self) -> &'static [&'static str] {
        NEEDS
    }

    fn replay(&self, artifacts: &Artifacts) -> Result<Replayed, ReplayError> {
        let read = read(artifacts)?;
        let (mut values, mut family) = (Values::default(), Family::default());
        let parts = parts(&mut values, &read.data, &[FIRST, ARCHIVED]);
        compute(&mut values, &mut family, &parts)?;
        family.finish(&mut values)?;
        audits(&mut values, &read);
        for (label, name) in
            [("first", "failures of the first run"), ("archived", "failures of the archived run")]
        {
            let runs: Vec<&Run> =
                parts.iter().filter(|(own, _)| *own == label).map(|(_, run)| *run).collect();
            if runs.is_empty() {
                values.lacks(
                    format!("failures.{label}.total"),
                    format!("{name}: the run is not in these data"),
                );
            } else {
                audit::failures(&mut values, label, &runs);
            }
        }
        audit::builds(&mut values, "archived", "_1766111615.json", &read.engines, artifacts)?;
        let generated = parts.iter().find(|(label, run)| *label == "first" && run.mode == "generate");
        if let Some((_, run)) = generated {
            let ok = TRT.iter().map(|backend| run.ok(backend).count()).sum::<usize>();
            values.put("first.generate.tensorrt.ok", "", ok as f64);
        }
        perplexities(&mut values, &read, &[("first", "tr118_v1"), ("archived", "tr118v2_crossover/gpt2-5m")]);
        let archived = parts.iter().find(|(label, _)| *label == "archived");
        match archived {
            Some((_, run)) => values.put("archived.parameters", MILLIONS, run.parameters / 1e6),
            None => values.lacks("archived.parameters", "the run is not in these data"),
        }
        let headline = vec![
            precision_headline(&values),
            speed_headline(
                &values,
                "fp16",
                "TensorRT FP16 is faster than compiled PyTorch",
                "speedup.archived.prefill.tensorrt-fp16",
                "TensorRT FP16 in prefill, in the run of the archived page",
            ),
            speed_headline(
                &values,
                "cpu",
                "ONNX Runtime on the CPU is faster on the toy model",
                "speedup.first.prefill.onnxruntime-cpu",
                "ONNX Runtime on the CPU against compiled PyTorch in prefill",
            ),
        ];
        let sections = vec![
            tables::legacy(&values, &parts),
            tables::ours(&values, &parts),
            tables::failures(
                &values,
                &[("first", "first run"), ("archived", "run of the archived page"), ("all", "all runs")],
            ),
            tables::precision(&values, &read.engines),
            tables::gates(&read.gates),
        ];
        let limits = limits(
            &[
                "That TensorRT could generate: in the first run it did, with the same scenarios in which it later failed.",
            ],
            &["What the first report said: its page was overwritten from a later run of another model."],
        );
        Ok(Replayed { values, headline, sections, limits })
    }
}

impl Replay for V21 {
    fn id(&self) -> &'static str {
        "tr118-v21"
    }

    fn title(&self) -> &'static str {
        "How do the backends scale from a toy of 0.1 M parameters to GPT-2 of 124 M?"
    }

    fn needs(&self) -> &'static [&'static str] {
        NEEDS
    }

    fn replay(&self, artifacts: &Artifacts) -> Result<Replayed, ReplayError> {
        let read = read(artifacts)?;
        let (mut values, mut family) = (Values::default(), Family::default());
        let parts = parts(&mut values, &read.data, &[DEEP_TINY, DEEP_GPT2, ELEVEN, FORTY_FIVE]);
        compute(&mut values, &mut family, &parts)?;
        family.finish(&mut values)?;
        audits(&mut values, &read);
        deep::audits(&mut values, &read, &parts, artifacts)?;
        perplexities(
            &mut values,
            &read,
            &[
                ("tiny", "135135_deep/tiny-gpt2"),
                ("gpt2", "135135_deep/gpt2"),
                ("gpt2-11m", "gpt2_11m/gpt2-1m"),
                ("gpt2-45m", "validation_45m"),
            ],
        );
        deep::few_points(&mut values, &parts);
        let headline = vec![
            precision_headline(&values),
            speed_headline(
                &values,
                "int8",
                "The engine labelled INT8 is faster than compiled PyTorch on GPT-2",
                "speedup.gpt2.prefill.tensorrt-int8",
                "The engine labelled INT8 in prefill",
            ),
            speed_headline(
                &values,
                "cpu",
                "ONNX Runtime on the CPU is faster than compiled PyTorch on GPT-2",
                "speedup.gpt2.prefill.onnxruntime-cpu",
                "ONNX Runtime on the CPU in prefill",
            ),
        ];
        let sections = vec![
            tables::legacy(&values, &parts),
            tables::ours(&values, &parts),
            tables::failures(&values, &[("deep", "runs of both sizes"), ("all", "all runs")]),
            tables::precision(&values, &read.engines),
            tables::gates(&read.gates),
        ];
        let limits = limits(
            &[
                "That two points make a line: the crossing of two or three models has no interval worth the name.",
            ],
            &["That the 45 M model is as good as its size: its perplexity is that of an untrained one."],
        );
        Ok(Replayed { values, headline, sections, limits })
    }
}

impl Replay for V22 {
    fn id(&self) -> &'static str {
        "tr118"
    }

    fn title(&self) -> &'static str {
        "At which model size does ONNX Runtime on the CPU stop beating compiled PyTorch, and does TensorRT INT8 win?"
    }

    fn needs(&self) -> &'static [&'static str] {
        NEEDS
    }

    fn replay(&self, artifacts: &Artifacts) -> Result<Replayed, ReplayError> {
        let read = read(artifacts)?;
        let (mut values, mut family) = (Values::default(), Family::default());
        let parts = parts(&mut values, &read.data, &[DEEP_TINY, DEEP_GPT2, REPAIRED]);
        compute(&mut values, &mut family, &parts)?;
        let (p, points) = crossover::put(&mut values, &read.data)?;
        family.add("crossover.exponent", p);
        family.finish(&mut values)?;
        audits(&mut values, &read);
        deep::audits(&mut values, &read, &parts, artifacts)?;
        perplexities(
            &mut values,
            &read,
            &[
                ("tiny", "135135_deep/tiny-gpt2"),
                ("gpt2", "135135_deep/gpt2"),
                ("gpt2-repaired", "fp16_fix/gpt2"),
                ("gpt2-45m", "validation_45m"),
            ],
        );
        let headline = vec![
            precision_headline(&values),
            speed_headline(
                &values,
                "int8",
                "The engine labelled INT8 is faster than FP16, all scenarios in",
                "int8_against_fp16.gpt2-repaired",
                "The engine labelled INT8 against FP16, in the run whose FP16 engine was rebuilt",
            ),
            speed_headline(
                &values,
                "cpu",
                "ONNX Runtime on the CPU is faster than compiled PyTorch on GPT-2",
                "speedup.gpt2.prefill.onnxruntime-cpu",
                "ONNX Runtime on the CPU in prefill",
            ),
            crossover_headline(&values),
        ];
        let sections = vec![
            tables::legacy(&values, &parts),
            tables::ours(&values, &parts),
            tables::crossover(&values, &read.data, &points),
            tables::survivors(&values, DEEP_GPT2.0, REPAIRED.0),
            tables::failures(&values, &[("deep", "runs of both sizes"), ("all", "all runs")]),
            tables::precision(&values, &read.engines),
            tables::gates(&read.gates),
        ];
        let limits = limits(
            &[
                "That the advantage falls with size, and how far its crossing hangs on aggregate, run and model.",
            ],
            &[
                "One size at which the arms cross: models differ in shape as well as size, some were measured once, and the \
                 noise between runs of one model is then unknown.",
                "An advantage over PyTorch as people run it: the baseline records graphs per shape on Windows and is slow in \
                 its first repetition.",
                "A crossing beyond the largest model: where a fit puts it there, it is an extrapolation.",
            ],
        );
        Ok(Replayed { values, headline, sections, limits })
    }
}

/// The advantage falls with size if its exponent is negative by test; where it ends is shown with every choice.
fn crossover_headline(values: &Values) -> Headline {
    let (exponent, p) = (values.point("crossover.exponent"), values.point("p_holm.crossover.exponent"));
    let verdict = match (exponent, p) {
        (None, _) => Verdict::NotMeasured,
        (Some(k), Some(p)) if p <= ALPHA && k < 0.0 => Verdict::Supported,
        (Some(_), Some(p)) if p <= ALPHA => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    };
    let sentence = format!(
        "Exponent {} (Holm p {}). The crossing is {} over all runs, {} to {} over choices of runs, {} to {} without one model; \
         by aggregate the largest is {} times the smallest.",
        shown(values, "crossover.exponent"),
        shown(values, "p_holm.crossover.exponent"),
        shown(values, "crossover.hierarchical"),
        shown(values, "crossover.choices.low"),
        shown(values, "crossover.choices.high"),
        shown(values, "crossover.leave_one_out.low"),
        shown(values, "crossover.leave_one_out.high"),
        shown(values, "crossover.aggregates.spread"),
    );
    let headline = Headline::new("crossover", "The advantage of the CPU falls with size", verdict, sentence);
    match ours::estimate(values, "crossover.hierarchical") {
        Some(estimate) => headline.value(estimate, MILLIONS),
        None => headline,
    }
}
