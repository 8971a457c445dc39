//! Units for the eye: times and bytes are shown in the unit that reads best. Raw values keep the unit they came in.

/// A change of unit for the eye.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scaling {
    multiply: f64,
    divide: f64,
    /// The unit after the change.
    pub(crate) unit: String,
}

const TIMES: [(&str, f64); 4] = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
const BYTES: [(&str, f64); 5] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

fn family(unit: &str) -> Option<(&'static [(&'static str, f64)], usize)> {
    let unit = if matches!(unit, "us" | "\u{3bc}s") { "µs" } else { unit };
    let times: &'static [(&str, f64)] = &TIMES;
    let bytes: &'static [(&str, f64)] = &BYTES;
    [times, bytes].into_iter().find_map(|family| {
        family.iter().position(|(name, _)| *name == unit).map(|position| (family, position))
    })
}

impl Scaling {
    /// No change.
    pub(crate) fn none(unit: &str) -> Self {
        Scaling { multiply: 1.0, divide: 1.0, unit: unit.to_owned() }
    }

    /// The unit in which `value` has the fewest digits before the point, but at least one that is not 0.
    pub(crate) fn of(unit: &str, value: f64) -> Self {
        let Some((family, from)) = family(unit) else { return Scaling::none(unit) };
        let value = value.abs() * family[from].1;
        if value == 0.0 || !value.is_finite() {
            return Scaling::none(unit);
        }
        // 0.9995 of a unit is written as 1 of it, so it may have it.
        let fits = |size: f64| value >= size * 0.9995;
        let to = family.iter().rposition(|(_, size)| fits(*size)).unwrap_or(0);
        Scaling { multiply: family[from].1, divide: family[to].1, unit: family[to].0.to_owned() }
    }

    /// One unit for a column: the largest in which its smallest value does not drown and its largest does not sprawl.
    /// There may be none; then each cell has its own.
    pub(crate) fn of_column(unit: &str, values: &[f64]) -> Option<Self> {
        let Some((family, from)) = family(unit) else { return Some(Scaling::none(unit)) };
        let sizes = || values.iter().map(|value| value.abs()).filter(|value| *value > 0.0);
        let (least, most) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
        let best = Scaling::of(unit, most);
        if most == 0.0 {
            return Some(best);
        }
        family.iter().rev().skip_while(|(name, _)| *name != best.unit).find_map(|(name, size)| {
            let scaling = Scaling { multiply: family[from].1, divide: *size, unit: (*name).to_owned() };
            (scaling.apply(least) >= 0.1 && scaling.apply(most) < 1e5).then_some(scaling)
        })
    }

    pub(crate) fn apply(&self, value: f64) -> f64 {
        if self.multiply == self.divide {
            return value;
        }
        value * self.multiply / self.divide
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_one_unit_unless_a_value_would_drown() {
        assert_eq!(Scaling::of_column("ns", &[2e6, 9e8]).map(|s| s.unit), Some("ms".into()));
        assert_eq!(Scaling::of_column("ms", &[-0.5, 2000.0]).map(|s| s.unit), Some("ms".into()));
        assert_eq!(Scaling::of_column("ns", &[2e3, 9e8]).map(|s| s.unit), None);
        assert_eq!(Scaling::of_column("µs", &[0.0]).map(|s| s.unit), Some("µs".into()));
        assert_eq!(Scaling::of_column("W", &[2e-9, 9e8]).map(|s| s.unit), Some("W".into()));
        assert_eq!(Scaling::of_column("ms", &[]).map(|s| s.unit), Some("ms".into()));
    }
}
