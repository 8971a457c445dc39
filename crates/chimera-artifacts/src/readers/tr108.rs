//! TR108's CSV files of single inferences. Prompts become their index in the suite, from 1.

use super::{Output, Outputs, from_csv, table};
use crate::{
    ImportError,
    cells::Table,
    source::{At, Record, Source},
};

/// A file, or several that are joined, with the columns that are kept.
struct Layout {
    to: &'static str,
    from: &'static [&'static str],
    columns: &'static [&'static str],
}

const BASELINE: &[&str] = &[
    "prompt_index",
    "ttft_s",
    "tokens_s",
    "load_s",
    "prompt_eval_s",
    "eval_s",
    "eval_count",
    "response_chars",
    "error",
];

const LAYOUTS: &[Layout] = &[
    Layout {
        to: "agents/tr108/gemma3_1b_qat_baseline.csv",
        from: &["gemma3/gemma3_1b-it-qat_baseline.csv"],
        columns: BASELINE,
    },
    Layout {
        to: "agents/tr108/gemma3_270m_baseline.csv",
        from: &["gemma3/gemma3_270m_baseline.csv"],
        columns: BASELINE,
    },
    Layout {
        to: "agents/tr108/gemma3_latest_baseline.csv",
        from: &["gemma3/gemma3_baseline.csv"],
        columns: BASELINE,
    },
    Layout {
        to: "agents/tr108/gemma3_270m_param_tuning.csv",
        from: &["gemma3/gemma3_270m_param_tuning.csv"],
        columns: &[
            "num_gpu",
            "num_ctx",
            "temperature",
            "config_name",
            "ttft_s",
            "tokens_s",
            "load_s",
            "prompt_eval_s",
            "eval_s",
            "eval_count",
            "error",
        ],
    },
    Layout {
        to: "agents/tr108/llama31_q4_0_param_tuning.csv",
        from: &["llama3/ollama_param_tuning.csv"],
        columns: &[
            "timestamp",
            "model",
            "num_gpu",
            "num_ctx",
            "temperature",
            "ttft_s",
            "tokens_s",
            "load_s",
            "prompt_eval_s",
            "eval_s",
            "prompt_eval_count",
            "eval_count",
            "total_tokens",
            "response_chars",
            "error",
        ],
    },
    Layout {
        to: "agents/tr108/llama31_quant_bench.csv",
        from: &["llama3/ollama_quant_bench.csv"],
        columns: &[
            "timestamp",
            "model",
            "tag",
            "prompt_index",
            "ttft_s",
            "tokens_s",
            "load_s",
            "prompt_eval_s",
            "eval_s",
            "prompt_eval_count",
            "eval_count",
            "total_tokens",
            "response_chars",
            "error",
        ],
    },
    // The runs of the prompt suite in which the server answered.
    Layout {
        to: "agents/tr108/prompt_suite_successful_runs.csv",
        from: &[
            "ollama/20251008-122911/gemma3_benchmark_fixed_runs.csv",
            "ollama/20251008-122955/llama3_q4_benchmark_fixed_runs.csv",
            "ollama/20251002-151824/prompt_suite_runs.csv",
        ],
        columns: &[
            "timestamp",
            "model",
            "prompt_index",
            "ttft_s",
            "tokens_s",
            "load_s",
            "prompt_eval_s",
            "eval_s",
            "prompt_eval_count",
            "eval_count",
            "response_chars",
            "error",
            "options",
        ],
    },
];

/// Columns that are no numbers.
const TEXTS: &[&str] = &["timestamp", "model", "tag", "config_name", "error", "options"];

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    for layout in LAYOUTS {
        outputs.extend(file(source, layout)?);
    }
    Ok(outputs)
}

fn file(source: &mut Source, layout: &Layout) -> Result<Option<Output>, ImportError> {
    let mut rows = Table::new(layout.columns.iter().copied());
    let files: Vec<_> = layout
        .from
        .iter()
        .filter_map(|path| source.file(At::Head, &format!("outputs/reports/{path}")))
        .collect();
    let mut index = 0;
    from_csv(source, &mut rows, &files, |record, _| {
        index += 1;
        layout.columns.iter().map(|column| value(record, column, index)).collect::<Result<_, _>>().map(Some)
    })?;
    Ok(table(source, layout.to, &rows))
}

fn value(record: &Record, column: &str, index: u64) -> Result<String, String> {
    if TEXTS.contains(&column) {
        return Ok(record.get(column).to_owned());
    }
    match record.number(column) {
        // The baselines name the prompt itself.
        Err(_) if column == "prompt_index" && !record.get("prompt").is_empty() => Ok(index.to_string()),
        other => other,
    }
}
