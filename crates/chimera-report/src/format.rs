//! How numbers are written for the eye. Digits are justified by the interval, times and bytes are scaled to a unit that
//! reads well, thousands are grouped. Not for machines: the CSV and `findings.json` hold raw values at full precision.

use std::fmt;

use chimera_stats::{Estimate, Interval};

use crate::scaling::Scaling;

/// From here on a plain number is written in powers of ten.
const HUGE: f64 = 1e12;
/// Below this a plain number is written in powers of ten.
const TINY: f64 = 1e-4;
/// Digits of a number that nothing certifies.
const PLAIN_DIGITS: i32 = 4;

/// A number as it is read: value, interval and unit apart, so that they can be set apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The value, e.g. `12.3`.
    pub value: String,
    /// The interval with its brackets, e.g. `[11.9, 12.8]`.
    pub interval: Option<String>,
    /// The unit, empty if there is none.
    pub unit: String,
}

impl fmt::Display for Shown {
    /// `12.3 ms [11.9, 12.8]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)?;
        if !self.unit.is_empty() {
            write!(f, " {}", self.unit)?;
        }
        match &self.interval {
            Some(interval) => write!(f, " {interval}"),
            None => Ok(()),
        }
    }
}

/// A count with grouped thousands, exact: `96,088,320`.
#[must_use]
pub fn integer(value: i128) -> String {
    group(&value.to_string())
}

/// A number without an interval, raw in `unit`: four significant digits, no digit before the point dropped.
#[must_use]
pub fn number(value: f64, unit: &str) -> Shown {
    number_in(value, &Scaling::of(unit, value))
}

/// An estimate, raw in `unit`: `12.3 ms [11.9, 12.8]`.
///
/// The half-width of the interval decides the digits by the rule of the Particle Data Group (Review of Particle Physics,
/// introduction, "Rounding"): if its three leading digits lie between 100 and 354, two of its digits are kept, else one.
/// The narrower side counts, so that no limit of a skewed interval vanishes.
#[must_use]
pub fn estimate(estimate: &Estimate, unit: &str) -> Shown {
    estimate_in(estimate, &Scaling::of(unit, magnitude(estimate)))
}

/// The magnitude that decides the unit of an estimate.
pub(crate) fn magnitude(estimate: &Estimate) -> f64 {
    match (estimate.point, estimate.interval) {
        (0.0, Some(interval)) => interval.low.abs().max(interval.high.abs()),
        (point, _) => point.abs(),
    }
}

pub(crate) fn number_in(value: f64, scaling: &Scaling) -> Shown {
    Shown { value: plain(scaling.apply(value)), interval: None, unit: scaling.unit.clone() }
}

pub(crate) fn estimate_in(estimate: &Estimate, scaling: &Scaling) -> Shown {
    let point = scaling.apply(estimate.point);
    let Some(interval) = estimate.interval else { return number_in(estimate.point, scaling) };
    let (low, high) = (scaling.apply(interval.low), scaling.apply(interval.high));
    let (value, limits) = justified(point, low, high);
    Shown { value, interval: Some(limits), unit: scaling.unit.clone() }
}

/// What an estimate says of itself: `95 % interval, mean, t; n = 5 (block); s.e. 0.2 ms`.
pub(crate) fn provenance(estimate: &Estimate, unit: &str) -> String {
    let Estimate { method, unit: replicated, n, .. } = estimate;
    let mut out = match estimate.interval {
        Some(interval) => format!("{} interval, {method}; n = {n} ({replicated})", level(&interval)),
        None => format!("no interval, {method}; n = {n} ({replicated})"),
    };
    if let Some(error) = estimate.standard_error {
        // Two digits, in the unit of the estimate: more would claim to know the spread that well.
        let scaling = Scaling::of(unit, magnitude(estimate));
        out.push_str("; s.e. ");
        out.push_str(&rounded(scaling.apply(error), 2));
        if !scaling.unit.is_empty() {
            out.push(' ');
            out.push_str(&scaling.unit);
        }
    }
    out
}

/// `95 %`
pub(crate) fn level(interval: &Interval) -> String {
    format!("{} %", plain(interval.level * 100.0))
}

/// A raw value for a machine: the shortest text that reads back to the same bits.
pub(crate) fn raw(value: f64) -> String {
    format!("{value:?}")
}

/// A number that nothing certifies.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < HUGE {
        return fixed(value, 0);
    }
    rounded(value, PLAIN_DIGITS)
}

/// A number with so many significant digits, without zeros at the end of its decimals.
fn rounded(value: f64, digits: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() >= HUGE || value.abs() < TINY {
        return scientific(value, digits - 1, true);
    }
    trim_zeros(&fixed(value, (digits - 1 - exponent(value)).max(0)))
}

/// Value and interval with the digits that the interval justifies.
fn justified(point: f64, low: f64, high: f64) -> (String, String) {
    let largest = point.abs().max(low.abs()).max(high.abs());
    let arms = [point - low, high - point];
    let narrower = arms.into_iter().filter(|arm| *arm > 0.0).fold(f64::INFINITY, f64::min);
    if !narrower.is_finite() {
        // No width, or limits on the wrong side of the point: nothing to justify digits with.
        return (plain(point), format!("[{}, {}]", plain(low), plain(high)));
    }
    let decimals = decimals_for(narrower);
    let write = |value: f64| {
        if value == 0.0 {
            return "0".to_owned();
        }
        // A limit that is not 0 must not read as 0, within reason.
        let own = decimals.max((-exponent(value)).min(decimals + 3));
        if !(TINY..HUGE).contains(&largest) {
            scientific(value, (own + exponent(value)).clamp(0, 16), false)
        } else {
            fixed(value, own)
        }
    };
    (write(point), format!("[{}, {}]", write(low), write(high)))
}

/// Decimals that an uncertainty leaves: the rule of the Particle Data Group. Negative means tens, hundreds and so on.
fn decimals_for(uncertainty: f64) -> i32 {
    let exponent = exponent(uncertainty);
    let leading = uncertainty / 10f64.powi(exponent);
    if leading < 3.55 { 1 - exponent } else { -exponent }
}

/// The decimal exponent, exact: that of 999.9 is 2, of 1000 is 3.
pub(crate) fn exponent(value: f64) -> i32 {
    // A logarithm is off by one just below some powers of ten; a comparison with them is not.
    const POWERS: [f64; 24] = [
        1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4,
        1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    ];
    let size = value.abs();
    if (POWERS[0]..POWERS[23]).contains(&size) {
        return POWERS.partition_point(|power| *power <= size) as i32 - 13;
    }
    let text = format!("{value:e}");
    text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

/// Fixed decimals, grouped, without a negative zero. Negative decimals round to tens, hundreds and so on.
pub(crate) fn fixed(value: f64, decimals: i32) -> String {
    let text = if decimals < 0 {
        let step = 10f64.powi(-decimals);
        format!("{:.0}", (value / step).round() * step)
    } else {
        format!("{value:.*}", decimals.min(340) as usize)
    };
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|byte| matches!(byte, b'0' | b'.')) => digits.to_owned(),
        _ => group(&text),
    }
}

fn scientific(value: f64, decimals: i32, trim: bool) -> String {
    let text = format!("{value:.*e}", decimals.max(0) as usize);
    match text.split_once('e') {
        Some((mantissa, exponent)) if trim => format!("{}e{exponent}", trim_zeros(mantissa)),
        _ => text,
    }
}

fn trim_zeros(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// Groups the digits before the point by commas.
fn group(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    if whole.len() <= 3 {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + whole.len() / 3 + 1);
    out.push_str(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(point: f64, interval: Option<(f64, f64)>) -> Estimate {
        Estimate {
            point,
            standard_error: None,
            interval: interval.map(|(low, high)| Interval { low, high, level: 0.95 }),
            method: "mean, t".into(),
            unit: "block".into(),
            n: 5,
        }
    }

    fn shown(point: f64, low: f64, high: f64, unit: &str) -> String {
        estimate(&with(point, Some((low, high))), unit).to_string()
    }

    #[test]
    fn the_interval_justifies_the_digits() {
        assert_eq!(shown(12.345, 11.9012, 12.7891, "ms"), "12.3 ms [11.9, 12.8]");
        assert_eq!(shown(12.345, 12.2, 12.49, "ms"), "12.35 ms [12.20, 12.49]");
        assert_eq!(shown(12_345_678.0, 11_901_200.0, 12_789_100.0, "ns"), "12.3 ms [11.9, 12.8]");
        assert_eq!(shown(123_456.0, 119_012.0, 127_891.0, ""), "123,000 [119,000, 128,000]");
        assert_eq!(shown(-0.5, -0.62, -0.38, ""), "-0.50 [-0.62, -0.38]");
    }

    #[test]
    fn rounding_rule_at_its_borders() {
        assert_eq!(decimals_for(0.354), 2);
        assert_eq!(decimals_for(0.356), 1);
        assert_eq!(decimals_for(0.949), 1);
        assert_eq!(decimals_for(0.96), 1);
        assert_eq!(decimals_for(1.0), 1);
        assert_eq!(decimals_for(4500.0), -3);
    }

    #[test]
    fn exponents_are_exact_on_both_sides_of_a_power() {
        for power in -14..=14 {
            let value: f64 = format!("1e{power}").parse().unwrap();
            assert_eq!(exponent(value), power);
            assert_eq!(exponent(-value.next_up()), power);
            assert_eq!(exponent(value.next_down()), power - 1);
        }
    }

    #[test]
    fn zero_is_zero_and_never_negative() {
        assert_eq!(number(0.0, "ms").to_string(), "0 ms");
        assert_eq!(number(-0.0, "").to_string(), "0");
        assert_eq!(shown(0.0, -1.0, 1.0, ""), "0 [-1.0, 1.0]");
        assert_eq!(shown(-0.001, -5.0, 5.0, ""), "-0.001 [-5, 5]");
        assert_eq!(fixed(-0.0004, 2), "0.00");
    }

    #[test]
    fn an_interval_without_width_justifies_nothing() {
        assert_eq!(shown(12.3456, 12.3456, 12.3456, "ms"), "12.35 ms [12.35, 12.35]");
        assert_eq!(shown(7.0, 7.0, 7.0, ""), "7 [7, 7]");
        assert_eq!(shown(0.0, 0.0, 0.0, "ms"), "0 ms [0, 0]");
    }

    #[test]
    fn an_estimate_without_an_interval_shows_none() {
        let shown = estimate(&with(12.3456, None), "ms");
        assert_eq!(shown, Shown { value: "12.35".into(), interval: None, unit: "ms".into() });
    }

    #[test]
    fn a_skewed_interval_keeps_its_near_limit() {
        assert_eq!(shown(1.0, 0.01, 100.0, ""), "1.0 [0.01, 100.0]");
        assert_eq!(shown(3.0, -1000.0, 1000.0, ""), "3 [-1,000, 1,000]");
    }

    #[test]
    fn a_point_outside_its_interval_is_still_written() {
        assert_eq!(shown(5.0, 1.0, 2.0, ""), "5 [1, 2]");
    }

    #[test]
    fn huge_and_tiny_use_powers_of_ten() {
        assert_eq!(number(1e15, "").to_string(), "1e15");
        assert_eq!(number(1.234_567e300, "").to_string(), "1.235e300");
        assert_eq!(number(1.234_567e-7, "").to_string(), "1.235e-7");
        assert_eq!(number(f64::MIN_POSITIVE, "").to_string(), "2.225e-308");
        assert_eq!(shown(1.23e-7, 1.19e-7, 1.28e-7, ""), "1.23e-7 [1.19e-7, 1.28e-7]");
        assert_eq!(shown(2.0e15, 1.5e15, 2.5e15, ""), "2.0e15 [1.5e15, 2.5e15]");
        assert!(number(f64::MAX, "s").to_string().starts_with("1.798e308"));
    }

    #[test]
    fn plain_numbers_keep_four_digits_and_every_whole_one() {
        for (value, text) in [
            (0.123_456, "0.1235"),
            (1.5, "1.5"),
            (123.456, "123.5"),
            (12_345.6, "12,346"),
            (96_088_320.0, "96,088,320"),
            (-1234.5, "-1,234"),
            (999.999, "1,000"),
        ] {
            assert_eq!(number(value, "").to_string(), text);
        }
    }

    #[test]
    fn times_and_bytes_scale_both_ways() {
        for (value, unit, text) in [
            (950.0, "ns", "950 ns"),
            (1500.0, "ns", "1.5 µs"),
            (0.0025, "ms", "2.5 µs"),
            (0.5, "s", "500 ms"),
            (90_000.0, "ms", "90 s"),
            (0.2, "ns", "0.2 ns"),
            (1500.0, "us", "1.5 ms"),
            (999_960.0, "ns", "1 ms"),
            (1536.0, "B", "1.5 KiB"),
            (1500.0, "tokens/s", "1,500 tokens/s"),
        ] {
            assert_eq!(number(value, unit).to_string(), text);
        }
    }

    #[test]
    fn counts_are_exact() {
        assert_eq!(integer(96_088_320), "96,088,320");
        assert_eq!(integer(-1000), "-1,000");
        assert_eq!(integer(i128::from(u64::MAX)), "18,446,744,073,709,551,615");
        assert_eq!(integer(0), "0");
    }

    #[test]
    fn raw_reads_back() {
        for value in [0.1 + 0.2, 1e-300, f64::MAX, -0.0, 5e-324] {
            assert_eq!(raw(value).parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
        }
    }

    #[test]
    fn an_estimate_says_how_it_came_about() {
        let mut value = with(12.0, Some((11.0, 13.0)));
        value.standard_error = Some(0.36);
        assert_eq!(provenance(&value, "ms"), "95 % interval, mean, t; n = 5 (block); s.e. 0.36 ms");
    }
}
