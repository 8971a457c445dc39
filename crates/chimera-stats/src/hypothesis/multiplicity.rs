//! Many tests together: p-values adjusted so that a report full of them still means what one of them says. The family is
//! the caller's to name; here it is the whole list given.

use crate::StatsError;

/// Holm's step-down adjustment of p-values (Holm 1979, *Scandinavian Journal of Statistics* 6), in the order given.
/// Comparing the adjusted values with alpha keeps the chance of any false rejection below alpha.
///
/// # Errors
/// [`StatsError::InvalidParameter`] for a p outside 0 to 1.
pub fn holm(p: &[f64]) -> Result<Vec<f64>, StatsError> {
    let order = ascending(p)?;
    let mut adjusted = vec![0.0; p.len()];
    let mut floor = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        let factor = (p.len() - rank) as f64;
        floor = floor.max((factor * p[index]).min(1.0));
        adjusted[index] = floor;
    }
    Ok(adjusted)
}

/// The same of a list in which some tests gave no p: those are no part of the family and stay without one.
///
/// # Errors
/// As [`holm`].
pub fn holm_of(p: &[Option<f64>]) -> Result<Vec<Option<f64>>, StatsError> {
    let given: Vec<f64> = p.iter().copied().flatten().collect();
    let mut adjusted = holm(&given)?.into_iter();
    Ok(p.iter().map(|p| p.and_then(|_| adjusted.next())).collect())
}

/// Benjamini and Hochberg's step-up adjustment (1995, *Journal of the Royal Statistical Society B* 57), in the order
/// given. Comparing the adjusted values with q keeps the expected share of false rejections among all rejections below
/// q, for independent or positively dependent tests. It does not protect a single verdict: a report that a reader quotes
/// line by line wants [`holm`].
///
/// # Errors
/// [`StatsError::InvalidParameter`] for a p outside 0 to 1.
pub fn benjamini_hochberg(p: &[f64]) -> Result<Vec<f64>, StatsError> {
    let order = ascending(p)?;
    let mut adjusted = vec![0.0; p.len()];
    let mut ceiling = 1.0_f64;
    for (rank, index) in order.into_iter().enumerate().rev() {
        ceiling = ceiling.min(p.len() as f64 / (rank + 1) as f64 * p[index]);
        adjusted[index] = ceiling;
    }
    Ok(adjusted)
}

/// Places of the p-values from the smallest to the largest.
fn ascending(p: &[f64]) -> Result<Vec<usize>, StatsError> {
    if let Some(wrong) = p.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(StatsError::InvalidParameter { name: "p", value: *wrong, expected: "a probability" });
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holm_by_hand() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]).unwrap();
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(adjusted.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-12), "{adjusted:?}");
        assert!(holm(&[1.5]).is_err());
        assert!(holm(&[]).unwrap().is_empty());
        let some = holm_of(&[Some(0.01), None, Some(0.04)]).unwrap();
        assert_eq!(some, [Some(0.02), None, Some(0.04)], "a test without a p is no part of the family");
        assert_eq!(holm_of(&[None]).unwrap(), [None]);
    }
}
