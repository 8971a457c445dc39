//! Two sets of logits over the same tokens, or two answers to the same text, and how far they agree. Pure arithmetic in
//! double precision; judging is the study's.

use chimera_core::Logits;

/// How far two sets of logits agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Agreed {
    pub(crate) positions: u32,
    pub(crate) top1: f64,
    pub(crate) max_abs_difference: f64,
    pub(crate) mean_kl: f64,
}

/// Why two sets of logits cannot be compared: a code and the reason.
pub(crate) type Incomparable = (&'static str, String);

/// Compares logits position by position, the reference first.
pub(crate) fn logits(reference: &Logits, ours: &Logits) -> Result<Agreed, Incomparable> {
    if reference.vocabulary != ours.vocabulary {
        let (theirs, ours) = (reference.vocabulary, ours.vocabulary);
        return Err(("vocabulary", format!("{ours} logits per token, the reference has {theirs}")));
    }
    if reference.rows() != ours.rows() || reference.rows() == 0 {
        let (theirs, ours) = (reference.rows(), ours.rows());
        return Err(("protocol", format!("{ours} rows of logits, the reference has {theirs}")));
    }
    let (mut same, mut largest, mut divergence) = (0_u32, 0.0_f64, 0.0_f64);
    for index in 0..reference.rows() {
        let (Some(p), Some(q)) = (reference.row(index), ours.row(index)) else { continue };
        for (whose, row) in [("the reference", p), ("this arm", q)] {
            if row.iter().any(|logit| !logit.is_finite()) {
                return Err(("protocol", format!("a logit of {whose} at position {index} is not a number")));
            }
        }
        same += u32::from(largest_at(p) == largest_at(q));
        largest = p.iter().zip(q).map(|(p, q)| (f64::from(*p) - f64::from(*q)).abs()).fold(largest, f64::max);
        divergence += kl(p, q);
    }
    let positions = u32::try_from(reference.rows()).unwrap_or(u32::MAX);
    Ok(Agreed {
        positions,
        top1: f64::from(same) / f64::from(positions),
        max_abs_difference: largest,
        mean_kl: divergence / f64::from(positions),
    })
}

/// The first of the largest.
fn largest_at(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, logit) in row.iter().enumerate() {
        if row.get(best).is_some_and(|largest| logit > largest) {
            best = index;
        }
    }
    best
}

/// Kullback-Leibler divergence of the softmax of `q` from that of `p`, in nats. It is not negative but for rounding.
fn kl(p: &[f32], q: &[f32]) -> f64 {
    let (log_p, log_q) = (log_sum_exp(p), log_sum_exp(q));
    let sum: f64 = p
        .iter()
        .zip(q)
        .map(|(&p, &q)| {
            let own = f64::from(p) - log_p;
            own.exp() * (own - (f64::from(q) - log_q))
        })
        .sum();
    sum.max(0.0)
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + row.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum::<f64>().ln()
}

/// Characters of the reference's answer before the first difference, and all of them.
pub(crate) fn answers(reference: &str, ours: &str) -> (u32, u32) {
    let same = reference.chars().zip(ours.chars()).take_while(|(a, b)| a == b).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (count(same), count(reference.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[f32]]) -> Logits {
        Logits { values: rows.concat(), vocabulary: rows[0].len() }
    }

    #[test]
    fn figures_by_hand() {
        // Two tokens with odds of 3 to 1 against even odds; then the same row twice.
        let reference = rows(&[&[3_f32.ln(), 0.0], &[1.0, 2.0]]);
        let ours = rows(&[&[0.0, 0.0], &[1.0, 2.0]]);
        let agreed = logits(&reference, &ours).unwrap();
        assert_eq!((agreed.positions, agreed.top1), (2, 1.0), "of equal logits the first counts");
        assert!((agreed.max_abs_difference - 3_f64.ln()).abs() < 1e-6);
        let by_hand = 0.75 * (0.75_f64 / 0.5).ln() + 0.25 * (0.25_f64 / 0.5).ln();
        assert!((agreed.mean_kl - by_hand / 2.0).abs() < 1e-7, "{}", agreed.mean_kl);
        let other = rows(&[&[0.0, 9.0], &[1.0, 2.0]]);
        assert_eq!(logits(&reference, &other).unwrap().top1, 0.5);
        // What is added to every logit changes no probability.
        let shifted = rows(&[&[3_f32.ln() + 5.0, 5.0], &[1.0, 2.0]]);
        let agreed = logits(&reference, &shifted).unwrap();
        assert!(agreed.mean_kl < 1e-6 && agreed.max_abs_difference > 4.9);
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let one = rows(&[&[0.0, 1.0]]);
        let wide = rows(&[&[0.0, 1.0, 2.0]]);
        assert_eq!(logits(&one, &wide).unwrap_err().0, "vocabulary");
        assert_eq!(logits(&one, &rows(&[&[0.0, 1.0], &[0.0, 1.0]])).unwrap_err().0, "protocol");
        let broken = logits(&one, &rows(&[&[f32::NAN, 1.0]])).unwrap_err();
        assert!(broken.1.contains("this arm at position 0"), "{}", broken.1);
    }

    #[test]
    fn answers_agree_up_to_the_first_difference() {
        assert_eq!(answers("größer", "größte"), (4, 6));
        assert_eq!(answers("abc", "abcd"), (3, 3));
        assert_eq!(answers("abc", ""), (0, 3));
    }
}
