//! How the next token is chosen from logits: greedy, or drawn from the distribution that temperature, top-k, top-p and
//! the repeat penalty leave. The steps are those of [`Sampling`], in this order: penalty, temperature, top-k, top-p.

use chimera_core::Sampling;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Chooses the tokens of one lane. The same seed and the same logits give the same tokens on every machine whose `exp`
/// is the same; greedy choice needs none.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    generator: Xoshiro256PlusPlus,
    seen: Vec<bool>,
    candidates: Vec<(u32, f64)>,
}

impl Sampler {
    /// A sampler for one lane.
    ///
    /// # Errors
    /// What is wrong with the sampling parameters.
    pub fn new(sampling: Sampling, seed: u64) -> Result<Self, String> {
        let Sampling { temperature, top_k, top_p, repeat_penalty } = sampling;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(format!("temperature is {temperature}, it must be 0 or more"));
        }
        if top_k == Some(0) {
            return Err("top_k is 0, it must be 1 or more".into());
        }
        if let Some(p) = top_p
            && !(p > 0.0 && p <= 1.0)
        {
            return Err(format!("top_p is {p}, it must be above 0 and at most 1"));
        }
        if !(repeat_penalty.is_finite() && repeat_penalty > 0.0) {
            return Err(format!("repeat_penalty is {repeat_penalty}, it must be above 0"));
        }
        Ok(Self {
            sampling,
            generator: Xoshiro256PlusPlus::seed_from_u64(seed),
            seen: Vec::new(),
            candidates: Vec::new(),
        })
    }

    /// Remembers a token of the lane, of the prompt or generated, for the repeat penalty.
    pub fn see(&mut self, token: u32) {
        #[expect(clippy::float_cmp, reason = "1 is the written value that means no penalty")]
        if self.sampling.repeat_penalty == 1.0 {
            return;
        }
        let index = token as usize;
        if index >= self.seen.len() {
            self.seen.resize(index + 1, false);
        }
        self.seen[index] = true;
    }

    /// Chooses a token; the logits are changed on the way. `None` when no logit is a number.
    pub fn choose(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.penalise(logits);
        if self.sampling.temperature == 0.0 {
            return argmax(logits);
        }
        let candidates = self.weigh(logits)?;
        let total: f64 = candidates.iter().map(|c| c.1).sum();
        let mut draw = self.generator.random::<f64>() * total;
        for &(token, weight) in &self.candidates {
            if draw < weight {
                return Some(token);
            }
            draw -= weight;
        }
        // Rounding can leave a remainder of the size of one epsilon: it belongs to the last candidate.
        self.candidates.last().map(|c| c.0)
    }

    /// The distribution that a token would be drawn from, most probable first; the logits are changed on the way.
    /// Greedy choice is a distribution of one token.
    pub fn distribution(&mut self, logits: &mut [f32]) -> Vec<(u32, f64)> {
        self.penalise(logits);
        if self.sampling.temperature == 0.0 {
            return argmax(logits).map(|token| (token, 1.0)).into_iter().collect();
        }
        let Some(candidates) = self.weigh(logits) else { return Vec::new() };
        let total: f64 = candidates.iter().map(|c| c.1).sum();
        candidates.iter().map(|&(token, weight)| (token, weight / total)).collect()
    }

    fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.sampling.repeat_penalty;
        for (logit, _) in logits.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }

    /// Fills the candidates with unnormalised probabilities, most probable first (lowest id among equals).
    fn weigh(&mut self, logits: &[f32]) -> Option<&[(u32, f64)]> {
        let largest = f64::from(logits[argmax(logits)? as usize]);
        let temperature = f64::from(self.sampling.temperature);
        self.candidates.clear();
        self.candidates.extend((0u32..).zip(logits).filter(|(_, logit)| !logit.is_nan()).map(
            |(token, &logit)| {
                // An infinite largest logit takes everything; otherwise its difference to itself would be NaN.
                let weight = if f64::from(logit) == largest {
                    1.0
                } else {
                    ((f64::from(logit) - largest) / temperature).exp()
                };
                (token, weight)
            },
        ));
        let order = |a: &(u32, f64), b: &(u32, f64)| {
            b.1.partial_cmp(&a.1).map_or(std::cmp::Ordering::Equal, |o| o.then(a.0.cmp(&b.0)))
        };
        if let Some(k) = self.sampling.top_k
            && (k as usize) < self.candidates.len()
        {
            self.candidates.select_nth_unstable_by(k as usize, order);
            self.candidates.truncate(k as usize);
        }
        self.candidates.sort_unstable_by(order);
        if let Some(p) = self.sampling.top_p {
            let total: f64 = self.candidates.iter().map(|c| c.1).sum();
            let goal = f64::from(p) * total;
            let mut sum = 0.0;
            let keep = self.candidates.iter().position(|c| {
                sum += c.1;
                sum >= goal
            });
            if let Some(last) = keep {
                self.candidates.truncate(last + 1);
            }
        }
        Some(&self.candidates)
    }
}

/// Index of the largest logit, the lowest among equals; NaN is never the largest.
fn argmax(logits: &[f32]) -> Option<u32> {
    // Two passes that the compiler can vectorise are several times faster than one with an index in it.
    let mut best = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = logits.as_chunks::<16>();
    for chunk in chunks {
        for (best, &logit) in best.iter_mut().zip(chunk) {
            *best = if logit > *best { logit } else { *best };
        }
    }
    let largest = best.iter().chain(rest).copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    #[expect(clippy::float_cmp, reason = "the very value is looked for")]
    let index = logits.iter().position(|&logit| logit == largest)?;
    u32::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(sampling: Sampling) -> Sampler {
        Sampler::new(sampling, 7).unwrap()
    }

    fn near(actual: &[(u32, f64)], expected: &[(u32, f64)]) {
        assert_eq!(actual.len(), expected.len(), "{actual:?}");
        for (a, e) in actual.iter().zip(expected) {
            assert_eq!(a.0, e.0, "{actual:?}");
            assert!((a.1 - e.1).abs() < 1e-9, "{actual:?} should be {expected:?}");
        }
    }

    // Logits ln 8, ln 4, ln 2, ln 1, ln 1 are probabilities 8, 4, 2, 1, 1 of 16 at temperature 1.
    fn logits() -> Vec<f32> {
        [1f64, 8.0, 2.0, 4.0, 1.0].iter().map(|p| p.ln() as f32).collect()
    }
    fn drawn(temperature: f32) -> Sampling {
        Sampling { temperature, ..Sampling::default() }
    }

    #[test]
    fn greedy_takes_the_lowest_id_among_equals() {
        let mut greedy = sampler(Sampling::default());
        assert_eq!(greedy.choose(&mut [1.0, 3.0, 3.0, 2.0]), Some(1));
        assert_eq!(greedy.choose(&mut [f32::NAN, -1.0]), Some(1));
        assert_eq!(greedy.choose(&mut [f32::NAN; 3]), None);
        assert_eq!(greedy.choose(&mut [f32::NEG_INFINITY; 20]), Some(0));
        let mut long: Vec<f32> = (0..1000u16).map(|i| f32::from(i % 100)).collect();
        assert_eq!(greedy.choose(&mut long), Some(99));
    }

    #[test]
    fn distributions_are_those_computed_by_hand() {
        let of = |n: f64| move |p: f64| p / n;
        let d = sampler(drawn(1.0)).distribution(&mut logits());
        near_f32(&d, &[(1, 8.0), (3, 4.0), (2, 2.0), (0, 1.0), (4, 1.0)].map(|(t, p)| (t, of(16.0)(p))));
        // Temperature 0.5 squares the odds: 64, 16, 4, 1, 1 of 86.
        let d = sampler(drawn(0.5)).distribution(&mut logits());
        near_f32(&d, &[(1, 64.0), (3, 16.0), (2, 4.0), (0, 1.0), (4, 1.0)].map(|(t, p)| (t, of(86.0)(p))));
        // The best two of the five: 8 and 4 of 12.
        let d = sampler(Sampling { top_k: Some(2), ..drawn(1.0) }).distribution(&mut logits());
        near_f32(&d, &[(1, 8.0 / 12.0), (3, 4.0 / 12.0)]);
        // 8 + 4 = 12 of 16 = 0.75 does not reach 0.8, 14 of 16 does.
        let d = sampler(Sampling { top_p: Some(0.8), ..drawn(1.0) }).distribution(&mut logits());
        near_f32(&d, &[(1, 8.0 / 14.0), (3, 4.0 / 14.0), (2, 2.0 / 14.0)]);
        // Top-p counts what top-k left: 8 of 12 is 0.667, so 0.6 is reached by the first alone.
        let d =
            sampler(Sampling { top_k: Some(2), top_p: Some(0.6), ..drawn(1.0) }).distribution(&mut logits());
        near(&d, &[(1, 1.0)]);
    }

    fn near_f32(actual: &[(u32, f64)], expected: &[(u32, f64)]) {
        assert_eq!(actual.len(), expected.len(), "{actual:?}");
        for (a, e) in actual.iter().zip(expected) {
            assert_eq!(a.0, e.0, "{actual:?}");
            assert!((a.1 - e.1).abs() < 1e-6, "{actual:?} should be {expected:?}");
        }
    }

    #[test]
    fn the_repeat_penalty_weakens_what_was_seen() {
        let mut s = sampler(Sampling { repeat_penalty: 2.0, ..Sampling::default() });
        s.see(0);
        s.see(2);
        let mut logits = [4.0, 3.0, -1.0];
        assert_eq!(s.choose(&mut logits), Some(1));
        assert_eq!(logits, [2.0, 3.0, -2.0]);
    }

    #[test]
    fn a_seed_gives_its_tokens_again_and_frequencies_follow_the_distribution() {
        let draw = |seed| {
            let mut s = Sampler::new(drawn(1.0), seed).unwrap();
            (0..4000).map(|_| s.choose(&mut logits()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        let draws = draw(11);
        for (token, p) in [(1u32, 0.5), (3, 0.25), (2, 0.125), (0, 0.0625), (4, 0.0625)] {
            let share = draws.iter().filter(|&&t| t == token).count() as f64 / 4000.0;
            // Four standard errors of a share of 4,000 draws.
            assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / 4000.0f64).sqrt(), "{token}: {share}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        for (sampling, word) in [
            (drawn(-1.0), "temperature"),
            (drawn(f32::NAN), "temperature"),
            (Sampling { top_k: Some(0), ..drawn(1.0) }, "top_k"),
            (Sampling { top_p: Some(0.0), ..drawn(1.0) }, "top_p"),
            (Sampling { top_p: Some(1.5), ..drawn(1.0) }, "top_p"),
            (Sampling { repeat_penalty: 0.0, ..drawn(1.0) }, "repeat_penalty"),
        ] {
            let error = Sampler::new(sampling, 0).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
