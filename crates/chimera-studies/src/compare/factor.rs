//! Factors that tell cells apart, by the names of the command line. Cells that differ only in factors that a comparison
//! leaves out are taken together.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::CellKey;

/// A factor of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Factor {
    /// Backend of the registry.
    Backend,
    /// Model id.
    Model,
    /// Prompt.
    Scenario,
    /// Budget of generated tokens.
    Gen,
    /// Lanes run together.
    Batch,
    /// Requests at once.
    Concurrency,
    /// Threads of the process.
    Threads,
}

impl Factor {
    /// All of them: the finest comparison, and the default.
    pub const ALL: &'static [Factor] = &[
        Self::Backend,
        Self::Model,
        Self::Scenario,
        Self::Gen,
        Self::Batch,
        Self::Concurrency,
        Self::Threads,
    ];

    /// Its name in tables and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Model => "model",
            Self::Scenario => "scenario",
            Self::Gen => "gen",
            Self::Batch => "batch",
            Self::Concurrency => "concurrency",
            Self::Threads => "threads",
        }
    }

    /// Its level in a cell.
    #[must_use]
    pub fn of(self, cell: &CellKey<'_>) -> String {
        match self {
            Self::Backend => cell.arm.backend.to_owned(),
            Self::Model => cell.model.to_owned(),
            Self::Scenario => cell.scenario.to_owned(),
            Self::Gen => cell.budget.to_string(),
            Self::Batch => cell.batch.to_string(),
            Self::Concurrency => cell.concurrency.to_string(),
            Self::Threads => cell.arm.threads.to_string(),
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Factor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|factor| factor.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|factor| factor.name()).collect();
            format!("`{text}` is no factor; there are: {}", names.join(", "))
        })
    }
}

/// Keeps the cells of one level of a factor: `backend=candle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Only {
    /// The factor.
    pub factor: Factor,
    /// The level that is kept.
    pub level: String,
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (factor, level) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}`: write FACTOR=LEVEL, backend=candle for instance"))?;
        Ok(Self { factor: factor.parse()?, level: level.to_owned() })
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.factor, self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused_with_the_list() {
        for factor in Factor::ALL {
            assert_eq!(factor.name().parse(), Ok(*factor));
        }
        assert!("colour".parse::<Factor>().unwrap_err().contains("scenario"));
        let only: Only = "backend=candle".parse().unwrap();
        assert_eq!((only.factor, only.to_string().as_str()), (Factor::Backend, "backend=candle"));
        assert!("backend".parse::<Only>().is_err() && "colour=red".parse::<Only>().is_err());
    }
}
