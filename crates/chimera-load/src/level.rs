//! One level of a load run: how requests arrive in one of its cells, and its name in records.

use std::{fmt, str::FromStr};

use crate::config::Arrivals;

/// How requests arrive in one cell.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Level {
    /// So many at once.
    Closed(u32),
    /// Requests per second at equal distances.
    Constant(f64),
    /// Requests per second in the mean, at exponential distances.
    Poisson(f64),
    /// A trace, so many times faster than recorded.
    Replay(f64),
}

impl Level {
    /// Whether requests are issued by a schedule, whatever the server does.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Closed(_))
    }

    /// Concurrency, rate or speed.
    #[must_use]
    pub fn number(self) -> f64 {
        match self {
            Self::Closed(n) => f64::from(n),
            Self::Constant(x) | Self::Poisson(x) | Self::Replay(x) => x,
        }
    }

    /// The same law at another number: whole for a concurrency, three significant digits elsewhere, so that names stay
    /// readable.
    #[must_use]
    pub(crate) fn at(self, number: f64) -> Self {
        let digits = 2 - number.abs().max(f64::MIN_POSITIVE).log10().floor() as i32;
        // By a whole power of ten on either side of the point: a factor of 0.01 would leave a tail of digits.
        let power = 10_f64.powi(digits.abs());
        let short =
            if digits >= 0 { (number * power).round() / power } else { (number / power).round() * power };
        match self {
            Self::Closed(_) => Self::Closed(number.round() as u32),
            Self::Constant(_) => Self::Constant(short),
            Self::Poisson(_) => Self::Poisson(short),
            Self::Replay(_) => Self::Replay(short),
        }
    }

    /// The level of a scenario's name, `chat@poisson-8` for instance.
    #[must_use]
    pub fn of_scenario(scenario: &str) -> Option<Level> {
        scenario.rsplit_once('@')?.1.parse().ok()
    }

    pub(crate) fn all(arrivals: &Arrivals) -> Vec<Level> {
        match arrivals {
            Arrivals::Closed { concurrency } => concurrency.iter().copied().map(Self::Closed).collect(),
            Arrivals::Constant { rate } => rate.iter().copied().map(Self::Constant).collect(),
            Arrivals::Poisson { rate } => rate.iter().copied().map(Self::Poisson).collect(),
            Arrivals::Replay { speed, .. } => speed.iter().copied().map(Self::Replay).collect(),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(n) => write!(f, "closed-{n}"),
            Self::Constant(rate) => write!(f, "constant-{rate}"),
            Self::Poisson(rate) => write!(f, "poisson-{rate}"),
            Self::Replay(speed) => write!(f, "replay-{speed}"),
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || format!("`{text}` is no level; poisson-8 and closed-16 are");
        let (law, number) = text.split_once('-').ok_or_else(refused)?;
        let float = || number.parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0).ok_or_else(refused);
        match law {
            "closed" => number.parse().map(Self::Closed).map_err(|_| refused()),
            "constant" => float().map(Self::Constant),
            "poisson" => float().map(Self::Poisson),
            "replay" => float().map(Self::Replay),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for level in [Level::Closed(16), Level::Constant(0.5), Level::Poisson(12.5), Level::Replay(2.0)] {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(Level::of_scenario(&format!("a@b@{level}")), Some(level));
        }
        assert!("open-3".parse::<Level>().is_err() && "closed-x".parse::<Level>().is_err());
        assert_eq!(Level::of_scenario("plain"), None);
    }

    #[test]
    fn searched_levels_have_short_names() {
        assert_eq!(Level::Poisson(1.0).at(11.3137).to_string(), "poisson-11.3");
        assert_eq!(Level::Poisson(1.0).at(12_345.0).to_string(), "poisson-12300");
        assert_eq!(Level::Constant(1.0).at(0.012_345).to_string(), "constant-0.0123");
        assert_eq!(Level::Closed(1).at(6.0).to_string(), "closed-6");
    }
}
