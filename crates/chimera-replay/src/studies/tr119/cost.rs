//! Prices of tokens: seconds and watts to money, energy and carbon. Plain arithmetic; what was measured, and whether it
//! deserves a price, is decided elsewhere.

/// Tokens of every `per_1m` quantity.
pub(super) const MILLION: f64 = 1e6;
const SECONDS_PER_HOUR: f64 = 3_600.0;
const JOULES_PER_KWH: f64 = 3.6e6;

/// Hourly rates of a provider, in USD.
#[derive(Debug, Clone, Copy)]
pub(super) struct Provider {
    /// As the report names it.
    pub(super) name: &'static str,
    /// Rate by tier, in the order of [`TIERS`].
    pub(super) usd_per_hour: [f64; 5],
}

/// Pricing tiers.
pub(super) const TIERS: [&str; 5] = ["on_demand", "spot", "reserved_1yr", "reserved_3yr", "on_prem"];

/// The rates that the report states. The first is the one that its tables use. On-premises costs nothing but energy there.
pub(super) const PROVIDERS: [Provider; 3] = [
    Provider { name: "aws_g5_xlarge", usd_per_hour: [1.006, 0.302, 0.704, 0.503, 0.0] },
    Provider { name: "azure_nc_t4_v3", usd_per_hour: [0.90, 0.27, 0.60, 0.42, 0.0] },
    Provider { name: "gcp_a2_highgpu", usd_per_hour: [1.20, 0.36, 0.80, 0.56, 0.0] },
];

/// On-demand rate of the default provider, in USD per hour.
pub(super) const ON_DEMAND: f64 = PROVIDERS[0].usd_per_hour[0];
/// Stated price of energy, in USD per kWh.
pub(super) const USD_PER_KWH: f64 = 0.20;
/// Stated carbon intensity, in grams of CO2 equivalent per kWh.
pub(super) const GRAMS_PER_KWH: f64 = 500.0;
/// Stated volume, in tokens per month.
pub(super) const TOKENS_PER_MONTH: f64 = 1e9;
/// Stated request: prompt tokens.
pub(super) const PROMPT: f64 = 256.0;
/// Stated request: generated tokens.
pub(super) const GENERATED: f64 = 128.0;
const MONTHS: f64 = 12.0;

/// Seconds for a million tokens at a throughput in tokens per second.
pub(super) fn seconds_per_1m(tok_s: f64) -> f64 {
    MILLION / tok_s
}

/// USD for `seconds` of a machine at an hourly rate.
pub(super) fn infra_usd(seconds: f64, usd_per_hour: f64) -> f64 {
    seconds / SECONDS_PER_HOUR * usd_per_hour
}

/// Energy in kWh of a constant power over a time.
pub(super) fn kwh(watts: f64, seconds: f64) -> f64 {
    watts * seconds / JOULES_PER_KWH
}

/// The power in watts that uses an energy in a time.
pub(super) fn watts(kwh: f64, seconds: f64) -> f64 {
    kwh * JOULES_PER_KWH / seconds
}

/// USD for an energy at the stated price.
pub(super) fn energy_usd(kwh: f64) -> f64 {
    kwh * USD_PER_KWH
}

/// What one request of the stated size takes, when a quantity is known per million prompt tokens and per million generated
/// tokens: seconds, kWh or USD alike. Adding these is weighting by time.
pub(super) fn of_request(prompt_per_1m: f64, generated_per_1m: f64) -> f64 {
    (PROMPT * prompt_per_1m + GENERATED * generated_per_1m) / MILLION
}

/// USD per million tokens of a request of the stated size, prompt and generated tokens counted alike.
pub(super) fn per_1m_of_request(usd: f64) -> f64 {
    usd / (PROMPT + GENERATED) * MILLION
}

/// USD of a year at the stated volume.
pub(super) fn year(usd_per_1m: f64) -> f64 {
    usd_per_1m * TOKENS_PER_MONTH / MILLION * MONTHS
}

/// Months until a cheaper alternative has paid back `upfront`: none where it is not cheaper. Costs are per month.
pub(super) fn break_even_months(upfront: f64, baseline: f64, alternative: f64) -> Option<f64> {
    (baseline > alternative).then(|| upfront / (baseline - alternative))
}

/// How much cheaper `alternative` is than `baseline`, in per cent of the latter.
pub(super) fn saving_percent(baseline: f64, alternative: f64) -> f64 {
    100.0 * (baseline - alternative) / baseline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-12 * expected.abs(), "{value}, expected {expected}");
    }

    #[test]
    fn a_million_tokens_have_a_price() {
        // 1,000 tokens per second: 1,000 s, at 3.60 USD per hour one USD; at 72 W 0.02 kWh.
        same(seconds_per_1m(1_000.0), 1_000.0);
        same(infra_usd(1_000.0, 3.6), 1.0);
        same(kwh(72.0, 1_000.0), 0.02);
        same(watts(0.02, 1_000.0), 72.0);
        same(energy_usd(0.02), 0.004);
    }

    #[test]
    fn requests_and_years_scale_with_tokens() {
        same(of_request(1.0, 10.0), (256.0 + 1_280.0) / 1e6);
        // Equal prices for both kinds of token: the request's price per token is that price.
        same(per_1m_of_request(of_request(2.5, 2.5)), 2.5);
        same(year(1.0), 12_000.0);
    }

    #[test]
    fn only_a_cheaper_alternative_pays_back() {
        assert_eq!(break_even_months(1_000.0, 500.0, 250.0), Some(4.0));
        assert_eq!(break_even_months(1_000.0, 250.0, 250.0), None);
        assert_eq!(break_even_months(1_000.0, 100.0, 250.0), None);
        same(saving_percent(2.0, 0.5), 75.0);
    }
}
