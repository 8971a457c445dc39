//! The `options` of Ollama's requests: typed as Ollama types them, with its defaults. What no backend here can honour is
//! named, so that the answer can say that it had no effect.

use chimera_core::Sampling;
use serde_json::{Map, Value};

use crate::{app::any_seed, http::fault::Fault, work::ask::check_stops};

/// Options that were understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// `None`: until the model stops or the context is full.
    pub(crate) budget: Option<u32>,
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
    pub(crate) context: Option<u32>,
    pub(crate) keep_tokens: u32,
    pub(crate) stops: Vec<String>,
    /// Names without effect here, in the order of the alphabet.
    pub(crate) ignored: Vec<String>,
}

impl Default for Options {
    /// Ollama's own: temperature 0.8, the 40 most probable tokens, 0.9 of the probability, a seed of its own.
    fn default() -> Self {
        Self {
            budget: None,
            sampling: Sampling { temperature: 0.8, top_k: Some(40), top_p: Some(0.9), repeat_penalty: 1.0 },
            seed: any_seed(),
            context: None,
            keep_tokens: 4,
            stops: Vec::new(),
            ignored: Vec::new(),
        }
    }
}

/// Options of the real one that have no counterpart in the contract of backends, with their type.
const WITHOUT_EFFECT: [(&str, Type); 13] = [
    ("frequency_penalty", Type::Number),
    ("low_vram", Type::Boolean),
    ("main_gpu", Type::Number),
    ("min_p", Type::Number),
    ("num_batch", Type::Number),
    ("num_gpu", Type::Number),
    ("num_thread", Type::Number),
    ("presence_penalty", Type::Number),
    ("repeat_last_n", Type::Number),
    ("tfs_z", Type::Number),
    ("typical_p", Type::Number),
    ("use_mlock", Type::Boolean),
    ("use_mmap", Type::Boolean),
];

#[derive(Clone, Copy)]
enum Type {
    Number,
    Boolean,
}

/// How many names without effect an answer lists.
const LISTED: usize = 16;

impl Options {
    pub(crate) fn parse(map: &Map<String, Value>) -> Result<Self, Fault> {
        let mut options = Self::default();
        for (name, value) in map {
            if !value.is_null() {
                options.set(name, value)?;
            }
        }
        options.ignored.sort_unstable();
        options.ignored.truncate(LISTED);
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), Fault> {
        let positive = |n: i64| u32::try_from(n).ok().filter(|n| *n > 0);
        match name {
            "num_predict" => self.budget = u32::try_from(integer(name, value)?).ok(),
            "temperature" => self.sampling.temperature = within(name, value, 0.0, 1e6)?,
            "top_p" => {
                self.sampling.top_p = Some(within(name, value, 0.0, 1.0)?).filter(|p| (0.0..1.0).contains(p))
            }
            "top_k" => self.sampling.top_k = positive(integer(name, value)?),
            "repeat_penalty" => self.sampling.repeat_penalty = within(name, value, f64::MIN_POSITIVE, 1e6)?,
            "seed" => {
                let seed = integer(name, value)?;
                self.seed = if seed == -1 { any_seed() } else { seed.cast_unsigned() };
            }
            "num_ctx" => {
                let asked = integer(name, value)?;
                self.context =
                    Some(positive(asked).ok_or_else(|| {
                        Fault::bad(format!("option \"num_ctx\" is {asked}: give 1 or more"))
                    })?);
            }
            "num_keep" => self.keep_tokens = u32::try_from(integer(name, value)?).unwrap_or(0),
            "stop" => self.stops = stops(value)?,
            _ => {
                match WITHOUT_EFFECT.iter().find(|(known, _)| *known == name) {
                    Some((_, Type::Number)) => {
                        number(name, value)?;
                    }
                    Some((_, Type::Boolean)) if !value.is_boolean() => return Err(wrong(name, "boolean")),
                    _ => {}
                }
                // A header takes no other signs.
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) {
                    self.ignored.push(name.to_owned());
                }
            }
        }
        Ok(())
    }
}

fn wrong(name: &str, kind: &str) -> Fault {
    Fault::bad(format!("option {name:?} must be of type {kind}"))
}

fn number(name: &str, value: &Value) -> Result<f64, Fault> {
    value.as_f64().filter(|x| x.is_finite()).ok_or_else(|| wrong(name, "float32"))
}

fn within(name: &str, value: &Value, least: f64, most: f64) -> Result<f32, Fault> {
    let x = number(name, value)?;
    if x < least || x > most {
        return Err(Fault::bad(format!("option {name:?} is {x}: give {least} to {most}")));
    }
    Ok(x as f32)
}

/// A whole number; as in the real one, a fraction is cut off.
fn integer(name: &str, value: &Value) -> Result<i64, Fault> {
    let whole = value.as_i64().or_else(|| value.as_f64().map(|x| x.trunc() as i64));
    whole.ok_or_else(|| wrong(name, "integer"))
}

fn stops(value: &Value) -> Result<Vec<String>, Fault> {
    let list = match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            all.iter().map(text).collect::<Option<_>>().ok_or_else(|| wrong("stop", "an array of strings"))?
        }
        _ => return Err(wrong("stop", "an array of strings")),
    };
    check_stops(list.into_iter().filter(|stop| !stop.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Options, Fault> {
        Options::parse(value.as_object().unwrap())
    }

    #[test]
    fn typed_as_the_real_one() {
        let options = parse(json!({
            "num_predict": 5.9, "temperature": 0, "top_k": 0, "top_p": 1.0, "repeat_penalty": 1.1, "seed": 7,
            "num_ctx": 64, "stop": ["a", ""], "num_keep": -1, "unknown": [], "min_p": 0.5, "mirostat\n": 1,
        }))
        .unwrap();
        assert_eq!(options.budget, Some(5));
        assert_eq!(
            options.sampling,
            Sampling { temperature: 0.0, top_k: None, top_p: None, repeat_penalty: 1.1 }
        );
        assert_eq!((options.seed, options.context, options.keep_tokens), (7, Some(64), 0));
        assert_eq!(options.stops, ["a"]);
        assert_eq!(options.ignored, ["min_p", "unknown"]);
        assert_eq!(parse(json!({ "num_predict": -1 })).unwrap().budget, None);
        assert_eq!(parse(json!({ "num_predict": 0 })).unwrap().budget, Some(0));
        assert_eq!(parse(json!({ "temperature": null })).unwrap().sampling.temperature, 0.8);
        for wrong in [
            json!({ "num_predict": "5" }),
            json!({ "temperature": "0.5" }),
            json!({ "temperature": -1 }),
            json!({ "top_p": 1.5 }),
            json!({ "seed": true }),
            json!({ "num_ctx": 0 }),
            json!({ "num_ctx": [] }),
            json!({ "stop": [1] }),
            json!({ "stop": 1 }),
            json!({ "stop": vec!["x"; 65] }),
            json!({ "use_mmap": 1 }),
            json!({ "num_thread": "2" }),
        ] {
            assert!(parse(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
