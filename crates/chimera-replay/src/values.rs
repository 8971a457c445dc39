//! Named quantities of a replay. A name is dotted words; those that begin with `legacy.` follow a published formula, the
//! others follow our definitions. A name that has no value says why.

use std::collections::BTreeMap;

use chimera_stats::Estimate;
use serde::Serialize;

/// A quantity.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A number that the formula gives, without an interval.
    Number {
        /// The value.
        value: f64,
        /// Its unit, empty for none.
        unit: &'static str,
    },
    /// An estimate.
    Estimate {
        /// Value, interval, method, n.
        estimate: Estimate,
        /// Its unit, empty for none.
        unit: &'static str,
    },
    /// No value.
    Absent {
        /// Why.
        reason: String,
    },
}

impl Value {
    /// The number, where there is one.
    #[must_use]
    pub fn point(&self) -> Option<f64> {
        match self {
            Self::Number { value, .. } => Some(*value),
            Self::Estimate { estimate, .. } => Some(estimate.point),
            Self::Absent { .. } => None,
        }
    }

    /// The number for print, with unit and interval; the reason where there is none.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Number { value, unit } => chimera_report::show_number(*value, unit).to_string(),
            Self::Estimate { estimate, unit } => chimera_report::show_estimate(estimate, unit).to_string(),
            Self::Absent { reason } => format!("– ({reason})"),
        }
    }
}

/// Quantities by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Values(BTreeMap<String, Value>);

impl Values {
    /// Adds a number. A number that is not finite is absent: nobody measured it.
    pub fn put(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let value = if value.is_finite() {
            Value::Number { value, unit }
        } else {
            Value::Absent { reason: "the formula has no value on these data".to_owned() }
        };
        self.0.insert(name.into(), value);
    }

    /// Adds an estimate.
    pub fn put_estimate(&mut self, name: impl Into<String>, unit: &'static str, estimate: Estimate) {
        self.0.insert(name.into(), Value::Estimate { estimate, unit });
    }

    /// Says why a quantity has no value.
    pub fn lacks(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.0.insert(name.into(), Value::Absent { reason: reason.into() });
    }

    /// A quantity.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The number of a quantity.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<f64> {
        self.get(name)?.point()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}
