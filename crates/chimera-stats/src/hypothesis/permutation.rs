//! Permutation tests of any statistic: every arrangement where they are few, seeded draws where they are many. What is
//! exchanged must be exchangeable: blocks between arms, signs of differences of pairs; never requests across blocks.

use super::outcome::{Alternative, Null, Test};
use super::t::differences;
use crate::random::Resampling;
use crate::summary::max_abs;
use crate::{Sample, StatsError};

/// Permutation test that the arms are exchangeable, by a statistic of both (`|a, b| mean(a) - mean(b)`, say). Exact if
/// all divisions of the values into arms of these sizes are no more than the resamples asked for; else that many are
/// drawn and the observed one counts among them. Two-sided p is twice the smaller tail.
///
/// # Errors
/// [`StatsError::InvalidParameter`] below 100 resamples, [`StatsError::NotFinite`] if `statistic` returns such a value.
pub fn permutation(
    a: Sample<'_>,
    b: Sample<'_>,
    statistic: impl Fn(&[f64], &[f64]) -> f64,
    alternative: Alternative,
    resampling: Resampling,
) -> Result<Test, StatsError> {
    const NAME: &str = "permutation";
    let (n, all) = (a.len(), [a.values(), b.values()].concat());
    let observed = finite(statistic(a.values(), b.values()), 0)?;
    let mut indices = resampling.indices()?;
    let total = divisions(all.len(), n);
    let exact = total <= resampling.resamples as f64;
    let mut values = Vec::new();
    if exact {
        let mut chosen: Vec<usize> = (0..n).collect();
        loop {
            let mut is_chosen = vec![false; all.len()];
            chosen.iter().for_each(|i| is_chosen[*i] = true);
            let side = |wanted: bool| -> Vec<f64> {
                all.iter().zip(&is_chosen).filter(|(_, c)| **c == wanted).map(|(v, _)| *v).collect()
            };
            values.push(finite(statistic(&side(true), &side(false)), values.len())?);
            if !next_choice(&mut chosen, all.len()) {
                break;
            }
        }
    } else {
        let mut shuffled = all.clone();
        for draw in 0..resampling.resamples {
            // The first n places of a Fisher-Yates shuffle are a random choice of n.
            for place in 0..n {
                let other = place + indices.below(shuffled.len() - place);
                shuffled.swap(place, other);
            }
            values.push(finite(statistic(&shuffled[..n], &shuffled[n..]), draw)?);
        }
    }
    judge(NAME, vec![n, b.len()], observed, &values, alternative, exact)
}

/// Permutation test that differences of pairs are symmetric about zero, by a statistic of the differences (their mean,
/// say). Exact if all choices of signs are no more than the resamples asked for.
///
/// # Errors
/// [`StatsError::Mismatched`], otherwise as [`permutation`].
pub fn permutation_paired(
    a: Sample<'_>,
    b: Sample<'_>,
    statistic: impl Fn(&[f64]) -> f64,
    alternative: Alternative,
    resampling: Resampling,
) -> Result<Test, StatsError> {
    const NAME: &str = "permutation of signs";
    let d = differences(a, b, NAME)?;
    let observed = finite(statistic(&d), 0)?;
    let mut indices = resampling.indices()?;
    let exact = (d.len() as f64).exp2() <= resampling.resamples as f64;
    let rounds = if exact { 1_usize << d.len() } else { resampling.resamples };
    let mut flipped = vec![0.0; d.len()];
    let mut values = Vec::with_capacity(rounds);
    for round in 0..rounds {
        for (place, (to, from)) in flipped.iter_mut().zip(&d).enumerate() {
            let minus = if exact { round >> place & 1 == 1 } else { indices.below(2) == 1 };
            *to = if minus { -from } else { *from };
        }
        values.push(finite(statistic(&flipped), round)?);
    }
    judge(NAME, vec![d.len()], observed, &values, alternative, exact)
}

fn judge(
    name: &'static str,
    n: Vec<usize>,
    observed: f64,
    values: &[f64],
    alternative: Alternative,
    exact: bool,
) -> Result<Test, StatsError> {
    // The same values summed in another order may differ in the last digit and must count as equal.
    let rounding = 1e-13 * max_abs(values).max(observed.abs());
    let (low, high) = values.iter().fold((observed, observed), |(a, b), v| (a.min(*v), b.max(*v)));
    let statistic = (high - low > rounding).then_some(observed);
    let null = if exact { Null::Exact } else { Null::Drawn { arrangements: values.len() } };
    let own = usize::from(!exact);
    let share = |count: usize| (count + own) as f64 / (values.len() + own) as f64;
    let near = |end: f64| share(values.iter().filter(|v| (*v - end).abs() <= rounding).count());
    Test::guarded(name, n, alternative, null, statistic, |observed| {
        let at_most = share(values.iter().filter(|v| **v <= observed + rounding).count());
        let at_least = share(values.iter().filter(|v| **v >= observed - rounding).count());
        let (least, most) = if exact { (near(low), near(high)) } else { (share(0), share(0)) };
        // The most extreme arrangement of each side: all of them lie on its other side.
        let smallest = match alternative {
            Alternative::TwoSided => 2.0 * least.min(most),
            Alternative::Less => least,
            Alternative::Greater => most,
        };
        Ok((alternative.p(at_most, at_least), Some(smallest.min(1.0))))
    })
}

/// Number of ways to choose k of n, as a float: it may be large.
fn divisions(n: usize, k: usize) -> f64 {
    (0..k.min(n - k)).fold(1.0, |ways, i| (ways * (n - i) as f64 / (i + 1) as f64).round())
}

/// The next choice of indices below n in lexicographic order.
fn next_choice(chosen: &mut [usize], n: usize) -> bool {
    let k = chosen.len();
    for place in (0..k).rev() {
        if chosen[place] < n - k + place {
            chosen[place] += 1;
            for later in place + 1..k {
                chosen[later] = chosen[later - 1] + 1;
            }
            return true;
        }
    }
    false
}

fn finite(value: f64, arrangement: usize) -> Result<f64, StatsError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(StatsError::NotFinite { what: "statistic of an arrangement", index: arrangement })
    }
}
