//! The noises: requests within blocks, the block's own shift 0.4 of a request's spread unless said otherwise.

use super::REQUESTS;
use super::support::Normals;

/// Where every noise is centred: a latency in ms, say. Of the lognormal ones this is the median.
pub(crate) const CENTRE: f64 = 20.0;

/// What the normal deviations do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Law {
    /// They are added.
    Added,
    /// They are added to the logarithm, and the analysis looks at logarithms: the default for rates and latencies.
    OnLogs,
    /// They are added to the logarithm, and the analysis does not know it.
    Lognormal,
}

/// One kind of noise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise {
    pub(crate) name: &'static str,
    pub(crate) law: Law,
    pub(crate) block_sd: f64,
    pub(crate) request_sd: f64,
    /// Deviation of the first and last block, downwards and upwards, in `block_sd`; linear between.
    pub(crate) drift: f64,
}

pub(crate) const NORMAL: Noise =
    Noise { name: "normal", law: Law::Added, block_sd: 0.4, request_sd: 1.0, drift: 0.0 };
pub(crate) const ON_LOGS: Noise =
    Noise { name: "lognormal, on logs", law: Law::OnLogs, block_sd: 0.08, request_sd: 0.2, drift: 0.0 };
pub(crate) const RAW_HALF: Noise =
    Noise { name: "lognormal, raw, sd 0.5", law: Law::Lognormal, block_sd: 0.5, request_sd: 0.5, drift: 0.0 };
pub(crate) const RAW_ONE: Noise =
    Noise { name: "lognormal, raw, sd 1", law: Law::Lognormal, block_sd: 1.0, request_sd: 0.5, drift: 0.0 };
pub(crate) const DRIFT: Noise = Noise { name: "normal, drift", drift: 1.0, ..NORMAL };

/// All of them, as tabulated.
pub(crate) const NOISES: [Noise; 5] = [NORMAL, ON_LOGS, RAW_HALF, RAW_ONE, DRIFT];

impl Noise {
    /// Requests of a block that is the `at`th of `of`, `shift` standard deviations away.
    pub(crate) fn requests(&self, shift: f64, at: usize, of: usize, normals: &mut Normals) -> Vec<f64> {
        let drift = self.drift * (2.0 * at as f64 / (of - 1) as f64 - 1.0);
        let block = self.block_sd * (shift + drift);
        let request = |normals: &mut Normals| block + self.request_sd * normals.next();
        (0..REQUESTS)
            .map(|_| match self.law {
                Law::Added => CENTRE + request(normals),
                Law::OnLogs | Law::Lognormal => CENTRE * request(normals).exp(),
            })
            .collect()
    }

    /// An arm of its own blocks, all its requests multiplied by `factor`.
    pub(crate) fn arm(&self, blocks: usize, factor: f64, normals: &mut Normals) -> Vec<Vec<f64>> {
        (0..blocks)
            .map(|at| {
                let shift = normals.next();
                scaled(self.requests(shift, at, blocks, normals), factor)
            })
            .collect()
    }

    /// Two arms that ran in the same blocks: half of a block's standard deviation is the arm's own. Both have the law of
    /// [`Noise::arm`], the first multiplied by `factor`.
    pub(crate) fn paired(
        &self,
        blocks: usize,
        factor: f64,
        normals: &mut Normals,
    ) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        (0..blocks)
            .map(|at| {
                let common = 0.75_f64.sqrt() * normals.next();
                let mut one = |factor| {
                    let shift = common + 0.5 * normals.next();
                    scaled(self.requests(shift, at, blocks, normals), factor)
                };
                (one(factor), one(1.0))
            })
            .unzip()
    }

    /// What the analysis makes of a block: its mean, or its geometric mean.
    pub(crate) fn block_values(&self, blocks: &[Vec<f64>]) -> Vec<f64> {
        let of = |block: &Vec<f64>| match self.law {
            Law::Added | Law::Lognormal => mean(block),
            Law::OnLogs => block.iter().map(|v| v.ln()).sum::<f64>() / block.len() as f64,
        };
        let values = blocks.iter().map(of);
        if self.law == Law::OnLogs { values.map(f64::exp).collect() } else { values.collect() }
    }

    /// Values on the scale of the analysis: logarithms, or as they are.
    pub(crate) fn analysed(&self, values: &[f64]) -> Vec<f64> {
        if self.law == Law::OnLogs { values.iter().map(|v| v.ln()).collect() } else { values.to_vec() }
    }

    /// Back from the scale of the analysis.
    pub(crate) fn back(&self, value: f64) -> f64 {
        if self.law == Law::OnLogs { value.exp() } else { value }
    }

    /// Mean of all requests.
    pub(crate) fn mean(&self) -> f64 {
        match self.law {
            Law::Added => CENTRE,
            Law::OnLogs | Law::Lognormal => {
                CENTRE * (self.block_sd.hypot(self.request_sd).powi(2) / 2.0).exp()
            }
        }
    }

    /// What a mean on the scale of the analysis estimates, once back from it.
    pub(crate) fn analysed_mean(&self) -> f64 {
        if self.law == Law::OnLogs { CENTRE } else { self.mean() }
    }

    /// Geometric mean and median of the block values.
    pub(crate) fn block_value_centres(&self, blocks: usize) -> (f64, f64) {
        match self.law {
            Law::OnLogs => (CENTRE, CENTRE),
            Law::Added => {
                // To second order, which leaves 1e-7.
                let drifts = (0..blocks).map(|at| self.drift * (2.0 * at as f64 / (blocks - 1) as f64 - 1.0));
                let drift = drifts.map(|d| d * d).sum::<f64>() / blocks as f64 * self.block_sd.powi(2);
                let variance = self.block_sd.powi(2) + self.request_sd.powi(2) / REQUESTS as f64 + drift;
                (CENTRE * (-variance / (2.0 * CENTRE * CENTRE)).exp(), CENTRE)
            }
            Law::Lognormal => self.simulated_centres(),
        }
    }

    /// The mean of lognormal requests has no law in closed form: from many blocks. Their own error is a hundredth of the
    /// width of the intervals.
    fn simulated_centres(&self) -> (f64, f64) {
        let mut logs: Vec<f64> =
            super::repeat(1 << 20, 200_000, |normals, _| mean(&self.requests(0.0, 0, 2, normals)).ln());
        let geometric = mean(&logs).exp();
        let mut normals = Normals::new(1 << 51);
        logs.iter_mut().for_each(|log| *log += self.block_sd * normals.next());
        logs.sort_unstable_by(f64::total_cmp);
        (geometric, logs[logs.len() / 2].exp())
    }

    /// Standard deviations of blocks and requests on the scale of the analysis, for the planner.
    pub(crate) fn components(&self) -> chimera_stats::power::Noise {
        let (block_sd, request_sd) = match self.law {
            Law::Added | Law::OnLogs => (self.block_sd, self.request_sd),
            Law::Lognormal => {
                let grown = |sd: f64| (sd * sd).exp();
                let between = self.mean().powi(2) * (grown(self.block_sd) - 1.0);
                let all = self.mean().powi(2) * (grown(self.block_sd.hypot(self.request_sd)) - 1.0);
                (between.sqrt(), (all - between).sqrt())
            }
        };
        chimera_stats::power::Noise { block_sd, request_sd }
    }

    /// An effect of this share, on the scale of the analysis.
    pub(crate) fn effect(&self, share: f64) -> f64 {
        if self.law == Law::OnLogs { share.ln_1p() } else { self.mean() * share }
    }
}

fn scaled(mut values: Vec<f64>, factor: f64) -> Vec<f64> {
    values.iter_mut().for_each(|v| *v *= factor);
    values
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
