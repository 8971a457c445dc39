//! TR119's JSON lines of runs: the two that were published and three before them. Lines stay as they are; fields that hold texts are left out.

use serde_json::Value;

use super::{Output, Outputs};
use crate::source::{At, Source};

const FOLDER: &str = "experiments/TR119/results/tr119_matrix/raw";
/// Fields with prompts or replies, wherever they are.
const TEXTS: [&str; 5] = ["prompt", "prompts", "outputs", "predicted_tokens", "response"];

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    let files =
        source.files(At::Bulky, FOLDER, |path| path.starts_with("bench_") && path.ends_with(".jsonl"));
    for entry in files {
        let mut text = String::new();
        let mut rows = 0;
        for (number, line, mut value) in source.json_lines(&entry)? {
            if !value.get("spec").is_some_and(Value::is_object) {
                source.trouble(&entry, Some(number), "there is no `spec`");
                continue;
            }
            if strip(&mut value) {
                text.push_str(&value.to_string());
            } else {
                text.push_str(&line);
            }
            text.push('\n');
            rows += 1;
        }
        let sources = source.take_read();
        if !sources.is_empty() {
            let path = format!("cost_scaling/tr119/raw/{}", entry.below(FOLDER));
            outputs.push(Output { path, bytes: text.into_bytes(), rows: Some(rows), sources });
        }
    }
    Ok(outputs)
}

/// Removes texts; whether there were any.
fn strip(value: &mut Value) -> bool {
    match value {
        Value::Object(map) => {
            let before = map.len();
            map.retain(|name, _| !TEXTS.contains(&name.as_str()));
            let own = map.len() < before;
            map.values_mut().fold(own, |any, value| strip(value) | any)
        }
        Value::Array(list) => list.iter_mut().fold(false, |any, value| strip(value) | any),
        _ => false,
    }
}
