//! From values to places on an axis, and the ticks that make an axis readable.

use crate::format::{exponent, fixed};

/// How values map to 0 … 1 along an axis. Values are in the unit for the eye.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scale {
    Linear {
        min: f64,
        max: f64,
    },
    /// Limits as decimal logarithms.
    Log {
        min: f64,
        max: f64,
    },
    Categories {
        count: usize,
    },
}

/// A tick; without a label it is a minor one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    /// Place, 0 … 1.
    pub(crate) at: f64,
    pub(crate) label: Option<String>,
}

impl Scale {
    pub(crate) fn categories(count: usize) -> Self {
        Scale::Categories { count }
    }

    /// A linear scale around the values. The vertical one starts at zero where that costs less than half of its height,
    /// so that lengths can be compared.
    pub(crate) fn linear(values: &[f64], vertical: bool) -> Self {
        let (mut min, mut max) = extent(values).unwrap_or((0.0, 1.0));
        if vertical && min > 0.0 && min <= max * 0.5 {
            min = 0.0;
        }
        if vertical && max < 0.0 && max >= min * 0.5 {
            max = 0.0;
        }
        let span = max - min;
        if span <= max.abs().max(min.abs()) * 1e-12 {
            let room = if max == 0.0 { 1.0 } else { max.abs() * 0.1 };
            return Scale::Linear { min: min - room, max: max + room };
        }
        let room = span * if vertical { 0.06 } else { 0.04 };
        // A vertical end at zero needs no room: lengths are read from it.
        let min = if vertical && min == 0.0 { 0.0 } else { min - room };
        let max = if vertical && max == 0.0 { 0.0 } else { max + room };
        Scale::Linear { min, max }
    }

    /// A logarithmic scale around positive values.
    pub(crate) fn log(values: &[f64]) -> Self {
        let (min, max) = extent(values).unwrap_or((1.0, 10.0));
        let (min, max) = (min.log10(), max.log10());
        let room = ((max - min) * 0.05).max(0.06);
        Scale::Log { min: min - room, max: max + room }
    }

    /// The place of a value, held within the axis.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let at = match self {
            Scale::Linear { min, max } => (value - min) / (max - min),
            Scale::Log { min, max } if value > 0.0 => (value.log10() - min) / (max - min),
            Scale::Log { .. } => 0.0,
            Scale::Categories { count } => (value + 0.5) / *count as f64,
        };
        at.clamp(0.0, 1.0)
    }

    /// Ticks, about as many as `wanted`. `room` says for a labelled tick its place and the share of the axis that its
    /// label takes before and after it; labels that would touch are left out.
    pub(crate) fn ticks(&self, wanted: f64, room: impl Fn(&Tick) -> (f64, f64, f64)) -> Vec<Tick> {
        match self {
            Scale::Linear { min, max } => {
                let fits = |ticks: &[Tick]| thinned(ticks.to_vec(), &room) == ticks;
                let mut wanted = wanted.max(2.0);
                loop {
                    let ticks = self.nice(*min, *max, wanted);
                    // Fewer ticks before any loses its label.
                    if fits(&ticks) || wanted <= 2.0 {
                        return thinned(ticks, &room);
                    }
                    wanted -= 1.0;
                }
            }
            Scale::Log { min, max } => thinned(self.decades(*min, *max, wanted), &room),
            Scale::Categories { .. } => Vec::new(),
        }
    }

    fn nice(&self, min: f64, max: f64, wanted: f64) -> Vec<Tick> {
        let raw = (max - min) / wanted;
        let power = 10f64.powi(exponent(raw));
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().map(|nice| nice * power).find(|step| *step >= raw * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let (first, last) = ((min / step - 1e-9).ceil(), (max / step + 1e-9).floor());
        if !(last - first).is_finite() || last - first > 1000.0 {
            return Vec::new();
        }
        let largest = (first.abs().max(last.abs())) * step;
        (0..=(last - first) as i64)
            .map(|index| {
                let value = (first + index as f64) * step;
                Tick { at: self.at(value), label: Some(linear_label(value, step, largest)) }
            })
            .collect()
    }

    fn decades(&self, min: f64, max: f64, wanted: f64) -> Vec<Tick> {
        let (first, last) = (min.floor() as i32, max.ceil() as i32);
        let values: Vec<(f64, i32, i32)> = (first..=last)
            .flat_map(|power| (1..=9).map(move |times| (f64::from(times) * 10f64.powi(power), power, times)))
            .filter(|(value, ..)| (min - 1e-9..=max + 1e-9).contains(&value.log10()))
            .collect();
        let whole = values.iter().filter(|(_, _, times)| *times == 1).count();
        let few = values.iter().filter(|(_, _, times)| matches!(times, 1 | 2 | 5)).count();
        if few < 2 {
            // Less than half a decade: equal steps read better, still at their logarithmic places.
            return self.nice(10f64.powf(min), 10f64.powf(max), wanted.min(5.0));
        }
        // Every how many decades a label.
        let stride = ((last - first) as f64 / wanted.max(2.0)).ceil().max(1.0) as i32;
        let labelled = |power: i32, times: i32| {
            if whole >= 2 { times == 1 && power.rem_euclid(stride) == 0 } else { matches!(times, 1 | 2 | 5) }
        };
        let minors = last - first <= 8;
        values
            .into_iter()
            .filter(|(_, _, times)| minors || *times == 1)
            .map(|(value, power, times)| Tick {
                at: self.at(value),
                label: labelled(power, times).then(|| log_label(value, power)),
            })
            .collect()
    }
}

fn extent(values: &[f64]) -> Option<(f64, f64)> {
    let min = values.iter().copied().reduce(f64::min)?;
    let max = values.iter().copied().reduce(f64::max)?;
    Some((min, max))
}

/// Takes the labels away that would touch the one before.
fn thinned(mut ticks: Vec<Tick>, room: impl Fn(&Tick) -> (f64, f64, f64)) -> Vec<Tick> {
    let mut end = f64::NEG_INFINITY;
    for tick in &mut ticks {
        if tick.label.is_none() {
            continue;
        }
        let (at, before, after) = room(tick);
        if at - before < end {
            tick.label = None;
        } else {
            end = at + after;
        }
    }
    ticks
}

const PREFIXES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];

fn linear_label(value: f64, step: f64, largest: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&largest) {
        let digits = (exponent(largest) - exponent(step)).max(0) as usize;
        return format!("{value:.digits$e}");
    }
    let (divisor, prefix) = if largest >= 1e5 {
        PREFIXES.into_iter().find(|(size, _)| largest >= *size).unwrap_or((1.0, ""))
    } else {
        (1.0, "")
    };
    format!("{}{prefix}", fixed(value / divisor, (-exponent(step / divisor)).max(0)))
}

fn log_label(value: f64, power: i32) -> String {
    match power {
        4..=14 => {
            let (divisor, prefix) =
                PREFIXES.into_iter().find(|(size, _)| value >= *size).unwrap_or((1.0, ""));
            format!("{}{prefix}", fixed(value / divisor, 0))
        }
        -3..=3 => fixed(value, (-power).max(0)),
        _ => format!("{value:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale, wanted: f64) -> Vec<String> {
        scale.ticks(wanted, |tick| (tick.at, 0.0, 0.0)).into_iter().filter_map(|tick| tick.label).collect()
    }

    #[test]
    fn linear_steps_are_one_two_or_five() {
        assert_eq!(labels(&Scale::Linear { min: 0.0, max: 10.0 }, 5.0), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(
            labels(&Scale::Linear { min: -0.3, max: 0.31 }, 4.0),
            ["-0.2", "0.0", "0.2"].map(|text| { if text == "0.0" { "0" } else { text } })
        );
        assert_eq!(labels(&Scale::Linear { min: 0.0, max: 3e6 }, 3.0), ["0", "1M", "2M", "3M"]);
        assert_eq!(labels(&Scale::Linear { min: 0.0, max: 2e-7 }, 2.0), ["0", "1e-7", "2e-7"]);
    }

    #[test]
    fn log_labels_decades_or_parts_of_one() {
        assert_eq!(labels(&Scale::log(&[1e5, 1e8]), 8.0), ["100k", "1M", "10M", "100M"]);
        assert_eq!(labels(&Scale::log(&[1.5, 9.0]), 8.0), ["2", "5", "10"]);
        assert_eq!(labels(&Scale::log(&[0.02, 300.0]), 8.0), ["0.1", "1", "10", "100"]);
        assert!(labels(&Scale::log(&[5.1, 5.4]), 5.0).len() >= 2);
        let many = labels(&Scale::log(&[1e-20, 1e20]), 8.0);
        assert!((3..=12).contains(&many.len()), "{many:?}");
    }

    #[test]
    fn one_value_still_has_an_axis() {
        for scale in [Scale::linear(&[5.0], true), Scale::linear(&[0.0], true), Scale::log(&[3.0])] {
            assert!(labels(&scale, 5.0).len() >= 2, "{scale:?}");
        }
        assert_eq!(Scale::linear(&[], true), Scale::linear(&[0.0, 1.0], true));
    }

    #[test]
    fn labels_that_would_touch_are_left_out() {
        let ticks = Scale::log(&[1.0, 1e4]).ticks(10.0, |tick| (tick.at, 0.2, 0.2));
        let kept: Vec<f64> = ticks.iter().filter(|tick| tick.label.is_some()).map(|tick| tick.at).collect();
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] >= 0.4), "{kept:?}");
    }

    #[test]
    fn places_stay_on_the_axis() {
        let scale = Scale::log(&[1.0, 10.0]);
        assert_eq!(scale.at(-1.0), 0.0);
        assert_eq!(scale.at(1e9), 1.0);
    }
}
