//! How long things take, in closed form. Noise is not here: it multiplies what these functions give.

use std::time::Duration;

/// Durations of one model as functions of tokens, context and lanes, in nanoseconds.
///
/// With `n` prompt tokens (the longest lane's, of which a prefix cache answered none), `L` lanes that still run, and
/// context `x` (prompt tokens and generated tokens of the longest lane before the step):
///
/// - `prefill(n, L) = (a + b n + q n^2) (1 + f (L - 1))`
/// - `decode_step(x, L) = (c + d x) (1 + f (L - 1))`
///
/// The first generated token comes with the logits of the prompt, so `N` tokens cost `N - 1` decode steps, with contexts
/// `n + 1` to `n + N - 1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Laws {
    /// Making the model resident.
    pub load_ns: f64,
    /// From being sent to the start of the prefill when a place is free.
    pub queue_ns: f64,
    /// `a`: fixed part of a prefill.
    pub prefill_fixed_ns: f64,
    /// `b`: each prompt token.
    pub prefill_per_token_ns: f64,
    /// `q`: each prompt token squared.
    pub prefill_per_token_squared_ns: f64,
    /// `c`: fixed part of a decode step.
    pub decode_fixed_ns: f64,
    /// `d`: each position of context.
    pub decode_per_context_ns: f64,
    /// `f`: what each further lane adds, as a share of the first: 0 batches for free, 1 gains nothing by batching.
    pub batch_factor: f64,
    /// Added to the first load of a backend value: the first use of a process.
    pub first_process_ns: f64,
    /// Added to the first prefill of a session: the first use of a model.
    pub first_model_ns: f64,
    /// Added to the first prefill of each pair of prompt tokens and lanes in a session: the first use of a shape.
    pub first_shape_ns: f64,
}

impl Default for Laws {
    /// A small model: 20 ms to load, 200 us and 20 us per token to read, 1 ms and 100 ns per position to write; no
    /// queue, no penalties, a lane more costs a quarter.
    fn default() -> Self {
        Self {
            load_ns: 20e6,
            queue_ns: 0.0,
            prefill_fixed_ns: 200e3,
            prefill_per_token_ns: 20e3,
            prefill_per_token_squared_ns: 0.0,
            decode_fixed_ns: 1e6,
            decode_per_context_ns: 100.0,
            batch_factor: 0.25,
            first_process_ns: 0.0,
            first_model_ns: 0.0,
            first_shape_ns: 0.0,
        }
    }
}

impl Laws {
    /// A pure power law of model size: a decode step takes `scale_ns * parameters^exponent`, a prompt token an eighth of
    /// it, a load 64 times as much; nothing else costs time. Both phases and every scenario have the exponent exactly.
    #[must_use]
    pub fn power(parameters: u64, exponent: f64, scale_ns: f64) -> Self {
        let step = scale_ns * (parameters as f64).powf(exponent);
        Self {
            load_ns: 64.0 * step,
            prefill_fixed_ns: 0.0,
            prefill_per_token_ns: step / 8.0,
            decode_fixed_ns: step,
            decode_per_context_ns: 0.0,
            ..Self::default()
        }
    }

    /// The same laws with this load time.
    #[must_use]
    pub fn load(mut self, time: Duration) -> Self {
        self.load_ns = nanos(time);
        self
    }

    /// The same laws with this time between being sent and the start of the prefill.
    #[must_use]
    pub fn queue(mut self, time: Duration) -> Self {
        self.queue_ns = nanos(time);
        self
    }

    /// The same laws with a prefill of `fixed + per_token * n`.
    #[must_use]
    pub fn prefill(mut self, fixed: Duration, per_token: Duration) -> Self {
        self.prefill_fixed_ns = nanos(fixed);
        self.prefill_per_token_ns = nanos(per_token);
        self
    }

    /// The same laws with a decode step of `fixed + per_context * x`.
    #[must_use]
    pub fn decode(mut self, fixed: Duration, per_context: Duration) -> Self {
        self.decode_fixed_ns = nanos(fixed);
        self.decode_per_context_ns = nanos(per_context);
        self
    }

    /// The same laws with penalties for the first use of a process, a model and a shape.
    #[must_use]
    pub fn first_use(mut self, process: Duration, model: Duration, shape: Duration) -> Self {
        self.first_process_ns = nanos(process);
        self.first_model_ns = nanos(model);
        self.first_shape_ns = nanos(shape);
        self
    }

    /// Prefill of `tokens` prompt tokens in `lanes` lanes, in nanoseconds, penalties not counted.
    #[must_use]
    pub fn prefill_ns(&self, tokens: u32, lanes: u32) -> f64 {
        let n = f64::from(tokens);
        (self.prefill_fixed_ns + self.prefill_per_token_ns * n + self.prefill_per_token_squared_ns * n * n)
            * self.lanes(lanes)
    }

    /// One decode step at a context of `context` tokens with `lanes` running lanes, in nanoseconds.
    #[must_use]
    pub fn decode_step_ns(&self, context: u32, lanes: u32) -> f64 {
        (self.decode_fixed_ns + self.decode_per_context_ns * f64::from(context)) * self.lanes(lanes)
    }

    /// First to last of `tokens` generated tokens of one lane after a prompt of `prompt` tokens, in nanoseconds: the
    /// closed form of the sum of its steps.
    #[must_use]
    pub fn decode_ns(&self, prompt: u32, tokens: u32) -> f64 {
        let steps = f64::from(tokens.saturating_sub(1));
        // Contexts prompt + 1 ..= prompt + steps.
        let contexts = steps * f64::from(prompt) + steps * (steps + 1.0) / 2.0;
        self.decode_fixed_ns * steps + self.decode_per_context_ns * contexts
    }

    fn lanes(&self, lanes: u32) -> f64 {
        1.0 + self.batch_factor * f64::from(lanes.saturating_sub(1))
    }
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// Whole nanoseconds of a law's result; what is negative or no number is no time.
pub(crate) fn whole(ns: f64) -> Duration {
    // A float-to-integer cast saturates, and takes what is no number for zero.
    Duration::from_nanos(ns.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_the_sum_of_the_steps() {
        let laws = Laws::default();
        let sum: f64 = (1..64).map(|i| laws.decode_step_ns(17 + i, 1)).sum();
        assert_eq!(laws.decode_ns(17, 64), sum);
        assert_eq!(laws.decode_ns(17, 1), 0.0);
        assert_eq!(laws.decode_ns(17, 0), 0.0);
    }

    #[test]
    fn a_power_family_has_its_exponent_in_both_phases() {
        let (small, large) = (1_000_000_u64, 64_000_000_u64);
        let (a, b) = (Laws::power(small, 0.7, 3.0), Laws::power(large, 0.7, 3.0));
        let exponent = |x: f64, y: f64| (y / x).ln() / (large as f64 / small as f64).ln();
        assert!((exponent(a.prefill_ns(9, 1), b.prefill_ns(9, 1)) - 0.7).abs() < 1e-12);
        assert!((exponent(a.decode_ns(9, 64), b.decode_ns(9, 64)) - 0.7).abs() < 1e-12);
    }

    #[test]
    fn lanes_and_odd_numbers() {
        let laws = Laws { batch_factor: 0.5, ..Laws::default() };
        assert_eq!(laws.prefill_ns(10, 3), 2.0 * laws.prefill_ns(10, 1));
        assert_eq!(laws.decode_step_ns(10, 5), 3.0 * laws.decode_step_ns(10, 1));
        assert_eq!(whole(-3.0), Duration::ZERO);
        assert_eq!(whole(f64::NAN), Duration::ZERO);
        assert_eq!(whole(2.6), Duration::from_nanos(3));
    }
}
