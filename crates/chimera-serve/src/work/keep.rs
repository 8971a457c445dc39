//! How long an unused model stays resident, as Ollama's clients say it.

use std::time::Duration;

use serde_json::Value;

use crate::http::fault::Fault;

/// Longest stay that is counted; what is longer is for ever.
const LONGEST: f64 = 100.0 * 365.0 * 86_400.0;

/// How long a model stays after its last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    For(Duration),
    Ever,
}

impl Keep {
    pub(crate) const NOT_AT_ALL: Self = Self::For(Duration::ZERO);

    fn seconds(seconds: f64) -> Self {
        if !(0.0..=LONGEST).contains(&seconds) {
            Self::Ever
        } else {
            Self::For(Duration::from_secs_f64(seconds))
        }
    }

    /// A number is seconds; text is a duration as Go writes it (`5m`, `1h30m`, `-1s`), or a bare number; negative means
    /// for ever.
    pub(crate) fn parse(value: &Value) -> Result<Option<Self>, Fault> {
        let wrong = || {
            Fault::bad(format!(
                "keep_alive is {value}: give seconds as a number, or a duration like \"5m\"; 0 unloads, -1 keeps for ever"
            ))
        };
        match value {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(number.as_f64().map(Self::seconds)),
            Value::String(text) => {
                let seconds = text.parse().ok().filter(|s: &f64| s.is_finite()).or_else(|| go_duration(text));
                seconds.map(|s| Some(Self::seconds(s))).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

/// Seconds of a duration in Go's notation: signed decimals with units, largest first by custom alone.
fn go_duration(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, text.get(1..)?),
        b'+' => (1.0, text.get(1..)?),
        _ => (1.0, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        sum += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = tail;
    }
    Some(sign * sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_notation_of_the_clients() {
        let of = |value: Value| Keep::parse(&value);
        let seconds = |s| Ok(Some(Keep::For(Duration::from_secs_f64(s))));
        assert_eq!(of(json!(null)), Ok(None));
        assert_eq!(of(json!(0)), seconds(0.0));
        assert_eq!(of(json!(2.5)), seconds(2.5));
        assert_eq!(of(json!("5m")), seconds(300.0));
        assert_eq!(of(json!("1h1m1s")), seconds(3661.0));
        assert_eq!(of(json!("250ms")), seconds(0.25));
        assert_eq!(of(json!("10")), seconds(10.0));
        for ever in [json!(-1), json!("-1"), json!("-1m"), json!(1e300), json!("999999999h")] {
            assert_eq!(of(ever), Ok(Some(Keep::Ever)));
        }
        for wrong in [
            json!("x"),
            json!("5 m"),
            json!(""),
            json!("-"),
            json!("m"),
            json!([]),
            json!(true),
            json!("nan"),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
