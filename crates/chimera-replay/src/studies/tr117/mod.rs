//! TR117, cross-backend benchmark of a toy model and five Ollama models. Its rows were never published: what is left are
//! the printed moments of the backends and, of two labels, the moments and the first sample of every run file. Everything
//! here follows from those; a claim on other rows has no value.

mod moments;
mod pairs;

use chimera_report::{Column, Headline, Section, Table, Verdict};

use super::family::{self, Family, cell};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

const SUMMARY: &str = "backends/tr117/published_summary.csv";
const CELLS: &str = "backends/tr117/tr120_derived_summary_by_scenario_quantization.csv";
const FILES: &str = "backends/tr117/tr120_derived_cold_start_by_file.csv";
const OVERALL: &str = "backends/tr117/tr120_derived_summary.json";

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr117];

struct Tr117;

impl Replay for Tr117 {
    fn id(&self) -> &'static str {
        "tr117"
    }

    fn title(&self) -> &'static str {
        "Which local backend has the lowest latency and cost, and does compilation help?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[SUMMARY, CELLS, FILES, OVERALL]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut tests = Family::default();
        let backends = moments::published(data, &mut values)?;
        moments::cells(data, &mut values)?;
        let pairs = pairs::files(data, &mut values, &mut tests)?;
        authors(data, &mut values)?;
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            pairs.headline(&values, &corrected),
            flip(&values),
            significance(&values),
            Headline::new(
                "backends",
                "Which backend is fastest",
                Verdict::NotMeasured,
                "Ollama ran five models that no other backend ran, and the others ran a toy model that Ollama did not: the \
                 difference of backends is the difference of models.",
            ),
        ];
        let sections = vec![legacy_section(&values, &backends), pairs.section(&values, &corrected)];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// What the follow-up computed from the rows and moments cannot give: medians, p99, Mann-Whitney's p. Read, not computed.
fn authors(data: &Artifacts, values: &mut Values) -> Result<(), ReplayError> {
    let summary = data.json(OVERALL)?;
    let number = |value: &serde_json::Value, what: &str| value.get(what).and_then(serde_json::Value::as_f64);
    let label = |name: &str, what: &str| {
        let labels = summary.pointer("/summaries/overall")?.as_array()?;
        let own = labels.iter().find(|own| own.get("backend").and_then(|b| b.as_str()) == Some(name))?;
        number(own, what)
    };
    let test = summary.pointer("/comparisons/overall/mann_whitney").and_then(|test| number(test, "p_value"));
    for (name, unit, value) in [
        ("legacy.label.mann_whitney_p", "", test),
        ("legacy.gpu.median", "ms", label("transformers-gpu", "median_ms")),
        ("legacy.gpu.p99", "ms", label("transformers-gpu", "p99")),
        ("legacy.gpu_compile.median", "ms", label("transformers-gpu-compile", "median_ms")),
        ("legacy.gpu_compile.p99", "ms", label("transformers-gpu-compile", "p99")),
    ] {
        match value {
            Some(value) => values.put(name, unit, value),
            None => values.lacks(name, "the follow-up's summary does not have it"),
        }
    }
    Ok(())
}

/// Whether the mean difference of the labels changes its sign without first samples.
fn flip(values: &Values) -> Headline {
    let (all, rest) =
        (values.point("legacy.label.mean_delta"), values.point("legacy.label.mean_delta_without_first"));
    let (verdict, tail) = match all.zip(rest) {
        Some((all, rest)) if all * rest < 0.0 => (Verdict::Contradicted, "the sign changes"),
        Some(_) => (Verdict::Inconclusive, "the sign stays"),
        None => (Verdict::NotMeasured, "there is nothing to compare"),
    };
    Headline::new(
        "first-samples",
        "The compiled label has the lower mean",
        verdict,
        format!(
            "Compiled minus plain is {} over all samples and {} when the first sample of every run file is left out: {tail}. \
             {} of {} plain files and {} of {} compiled files begin with a sample above three medians of the rest.",
            family::shown(values, "legacy.label.mean_delta"),
            family::shown(values, "legacy.label.mean_delta_without_first"),
            family::shown(values, "legacy.gpu.cold_files"),
            family::shown(values, "legacy.gpu.files"),
            family::shown(values, "legacy.gpu_compile.cold_files"),
            family::shown(values, "legacy.gpu_compile.files"),
        ),
    )
    .value(cell(values, "legacy.label.mean_delta_without_first"), "ms")
}

/// The published t test of the labels from its own moments.
fn significance(values: &Values) -> Headline {
    let p = values.point("legacy.label.t_p");
    let verdict = match p {
        Some(p) if p <= crate::ALPHA => Verdict::Supported,
        Some(_) => Verdict::Contradicted,
        None => Verdict::NotMeasured,
    };
    Headline::new(
        "label-test",
        "The labels differ at p < 0.05 in the published test",
        verdict,
        format!(
            "Student's t of the two labels from their own moments gives t = {}, p = {}, d = {}; Mann-Whitney on the rows gave \
             p = {}.",
            family::shown(values, "legacy.label.t"),
            family::shown(values, "legacy.label.t_p"),
            family::shown(values, "legacy.label.d"),
            family::shown(values, "legacy.label.mann_whitney_p"),
        ),
    )
    .value(cell(values, "legacy.label.t_p"), "")
}

fn legacy_section(values: &Values, backends: &[String]) -> Section {
    let mut summary = Table::new("legacy-backends", "Backends")
        .caption(
            "Moments as printed; cost recomputed as 0.035 $/h over the mean of per-row rates. The price holds no GPU and is \
             the same for every backend.",
        )
        .column(Column::text("backend", "Backend"))
        .column(Column::number("ok", "Rows", ""))
        .column(Column::number("degraded", "Degraded rows", ""))
        .column(Column::number("mean", "Mean", "ms"))
        .column(Column::number("sd", "SD", "ms"))
        .column(Column::number("cost", "Cost per 1M tokens", "$"));
    for backend in backends {
        let of = |what: &str| cell(values, &format!("legacy.{backend}.{what}"));
        summary.push_row([
            backend.as_str().into(),
            of("rows"),
            of("degraded"),
            of("printed_mean"),
            of("printed_sd"),
            of("cost"),
        ]);
    }
    let mut labels = Table::new("legacy-labels", "The two GPU labels")
        .caption("Mean and SD pooled from the moments of the run files; the median as the follow-up computed it from the rows.")
        .column(Column::text("label", "Label"))
        .column(Column::number("n", "Samples", ""))
        .column(Column::number("mean", "Mean", "ms"))
        .column(Column::number("median", "Median", "ms"))
        .column(Column::number("sd", "SD", "ms"))
        .column(Column::number("max", "Maximum", "ms"))
        .column(Column::number("rest", "Mean without first samples", "ms"))
        .column(Column::number("cold", "Files with a cold first sample", ""));
    for label in ["gpu", "gpu_compile"] {
        let of = |what: &str| cell(values, &format!("legacy.{label}.{what}"));
        labels.push_row([
            label.into(),
            of("n"),
            of("mean"),
            of("median"),
            of("sd"),
            of("max"),
            of("mean_without_first"),
            of("cold_files"),
        ]);
    }
    let mut tests = Table::new("legacy-tests", "Published tests from the published moments")
        .caption("Student's t, pooled Cohen's d and one-way ANOVA need nothing but n, mean and SD.")
        .column(Column::text("comparison", "Comparison"))
        .column(Column::number("statistic", "t or F", ""))
        .column(Column::number("p", "p", ""))
        .column(Column::number("effect", "d or eta squared", ""));
    for (name, words) in moments::COMPARISONS.iter().map(|c| (c.name, c.words)) {
        let of = |what: &str| cell(values, &format!("legacy.{name}.{what}"));
        tests.push_row([words.into(), of("t"), of("t_p"), of("d")]);
    }
    tests.push_row([
        "five backends".into(),
        cell(values, "legacy.anova.f"),
        cell(values, "legacy.anova.p"),
        cell(values, "legacy.anova.eta_squared"),
    ]);
    Section::new("legacy", "Published tables by the published formula")
        .table(summary)
        .table(labels)
        .table(tests)
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "How the plain and the compiled label of the toy model differ per scenario, with and without first samples: the \
             moments of all 42 run files are there.",
            "Whether the published tests follow from the published moments.",
        ]),
        cannot: list(&[
            "What compilation does: a later audit of the code found that the compiled label never called the compiler. Both \
             labels ran the same code.",
            "Which backend is faster: backend and model are fully confounded, and every backend but Ollama ran a model of \
             102,714 parameters that was never trained (called 124M).",
            "Time to first token: the column is a copy of the latency. Accuracy: the column is empty by a length mismatch in \
             the harness.",
            "Concurrency: the `dual` scenarios call twice in sequence, take the longer latency and add the tokens.",
            "Precision: the labels fp32, fp16 and int8 set an environment variable that the measured path does not read.",
            "Warm latency apart from loading: there was no warm-up, and the plain label always ran before the compiled one.",
            "Cost: one constant rate of 0.035 $/h without a GPU for every backend.",
            "Any claim on rows of CPU labels or Ollama beyond the printed moments: the raw table was never committed.",
        ]),
    }
}
