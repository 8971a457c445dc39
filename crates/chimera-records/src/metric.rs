//! Metrics of one request, each defined once: name, unit, formula, and when it is undefined. `docs/metrics.md` holds
//! the same list in prose, and a test compares the two. Aggregation over requests is not here.

use chimera_core::{ClockSource, Phase};

use crate::{Lane, Trial};

/// A figure that one lane of one trial yields. The clock source is part of the name: `prefill.engine` and
/// `prefill.server` are different metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Metric {
    /// Sent to logits of the last prompt token, stamped in the engine.
    PrefillEngine,
    /// First to last token, stamped in the engine.
    DecodeEngine,
    /// Sent to last token, stamped in the engine.
    E2eEngine,
    /// Decode time per token after the first, stamped in the engine.
    TpotEngine,
    /// Tokens after the first per second of decode, stamped in the engine.
    DecodeRateEngine,
    /// Prompt tokens per second of prefill, stamped in the engine.
    PrefillRateEngine,
    /// Decode over prefill plus decode, stamped in the engine.
    DecodeFractionEngine,
    /// First sent to last token over all lanes of a trial, stamped in the engine.
    SpanEngine,
    /// First token minus intended, stamped in the engine: what waited for the client counts.
    TtftIntendedEngine,
    /// Last token minus intended, stamped in the engine.
    E2eIntendedEngine,
    /// Sent minus intended, stamped in the engine.
    IssueErrorEngine,
    /// First token minus sent, stamped by the client.
    TtftClient,
    /// Decode time per token after the first, stamped by the client.
    TpotClient,
    /// Tokens after the first per second of decode, stamped by the client.
    DecodeRateClient,
    /// Sent to last token, stamped by the client.
    E2eClient,
    /// First sent to last token over all lanes of a trial, stamped by the client.
    SpanClient,
    /// First token minus intended, stamped by the client: what waited for the client counts.
    TtftIntendedClient,
    /// Last token minus intended, stamped by the client.
    E2eIntendedClient,
    /// Sent minus intended, stamped by the client: how late a schedule was kept.
    IssueErrorClient,
    /// Prompt evaluation as the server reports it.
    PrefillServer,
    /// Decode as the server reports it.
    DecodeServer,
    /// Load plus prompt evaluation, as the server reports them.
    TtftServer,
    /// Generated tokens per second of decode, as the server counts and times them.
    DecodeRateServer,
    /// Model load as the server reports it.
    LoadServer,
    /// Prompt tokens per second of prompt evaluation, as the server counts and times them.
    PrefillRateServer,
    /// Decode over prefill plus decode, as the server reports them.
    DecodeFractionServer,
}

impl Metric {
    /// All metrics, in the order of the documentation.
    pub const ALL: &'static [Metric] = &[
        Self::PrefillEngine,
        Self::DecodeEngine,
        Self::E2eEngine,
        Self::TpotEngine,
        Self::DecodeRateEngine,
        Self::PrefillRateEngine,
        Self::DecodeFractionEngine,
        Self::SpanEngine,
        Self::TtftIntendedEngine,
        Self::E2eIntendedEngine,
        Self::IssueErrorEngine,
        Self::TtftClient,
        Self::TpotClient,
        Self::DecodeRateClient,
        Self::E2eClient,
        Self::SpanClient,
        Self::TtftIntendedClient,
        Self::E2eIntendedClient,
        Self::IssueErrorClient,
        Self::PrefillServer,
        Self::DecodeServer,
        Self::TtftServer,
        Self::DecodeRateServer,
        Self::LoadServer,
        Self::PrefillRateServer,
        Self::DecodeFractionServer,
    ];

    /// Its name in tables, designs and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PrefillEngine => "prefill.engine",
            Self::DecodeEngine => "decode.engine",
            Self::E2eEngine => "e2e.engine",
            Self::TpotEngine => "tpot.engine",
            Self::DecodeRateEngine => "decode_rate.engine",
            Self::PrefillRateEngine => "prefill_rate.engine",
            Self::DecodeFractionEngine => "decode_fraction.engine",
            Self::SpanEngine => "span.engine",
            Self::TtftIntendedEngine => "ttft.intended.engine",
            Self::E2eIntendedEngine => "e2e.intended.engine",
            Self::IssueErrorEngine => "issue_error.engine",
            Self::TtftClient => "ttft.client",
            Self::TpotClient => "tpot.client",
            Self::DecodeRateClient => "decode_rate.client",
            Self::E2eClient => "e2e.client",
            Self::SpanClient => "span.client",
            Self::TtftIntendedClient => "ttft.intended.client",
            Self::E2eIntendedClient => "e2e.intended.client",
            Self::IssueErrorClient => "issue_error.client",
            Self::PrefillServer => "prefill.server",
            Self::DecodeServer => "decode.server",
            Self::TtftServer => "ttft.server",
            Self::DecodeRateServer => "decode_rate.server",
            Self::LoadServer => "load.server",
            Self::PrefillRateServer => "prefill_rate.server",
            Self::DecodeFractionServer => "decode_fraction.server",
        }
    }

    /// The metric of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Metric> {
        Self::ALL.iter().copied().find(|metric| metric.name() == name)
    }

    /// The metric that stands for this one of an engine where a client made the stamps: what the client saw, or, of what
    /// no client can see, what the server reports. The two are different metrics: whoever sets them side by side has to
    /// say so. A metric that is not an engine's stands for itself.
    #[must_use]
    pub fn seen_by(self, stamps: ClockSource) -> Metric {
        if stamps != ClockSource::Client {
            return self;
        }
        match self {
            Self::PrefillEngine => Self::PrefillServer,
            Self::DecodeEngine => Self::DecodeServer,
            Self::E2eEngine => Self::E2eClient,
            Self::TpotEngine => Self::TpotClient,
            Self::DecodeRateEngine => Self::DecodeRateClient,
            Self::PrefillRateEngine => Self::PrefillRateServer,
            Self::DecodeFractionEngine => Self::DecodeFractionServer,
            Self::SpanEngine => Self::SpanClient,
            Self::TtftIntendedEngine => Self::TtftIntendedClient,
            Self::E2eIntendedEngine => Self::E2eIntendedClient,
            Self::IssueErrorEngine => Self::IssueErrorClient,
            other => other,
        }
    }

    /// Unit of its values.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::DecodeRateEngine
            | Self::PrefillRateEngine
            | Self::DecodeRateClient
            | Self::DecodeRateServer
            | Self::PrefillRateServer => "tok/s",
            Self::DecodeFractionEngine | Self::DecodeFractionServer => "",
            _ => "s",
        }
    }

    /// Value for one lane, in [`Metric::unit`]; `None` where the metric is undefined.
    #[must_use]
    pub fn of_lane(self, lane: &Lane, stamps: ClockSource) -> Option<f64> {
        let engine = stamps == ClockSource::Engine;
        let client = stamps == ClockSource::Client;
        match self {
            Self::PrefillEngine if engine => span(lane.sent, lane.prompt_processed),
            Self::DecodeEngine if engine => decode(lane),
            Self::E2eEngine | Self::SpanEngine if engine => span(lane.sent, lane.last_token),
            Self::TpotEngine if engine => tpot(lane),
            Self::DecodeRateEngine if engine => rate(lane),
            Self::PrefillRateEngine if engine => positive(span(lane.sent, lane.prompt_processed))
                .zip(lane.prompt_tokens)
                .map(|(s, n)| f64::from(n) / s),
            Self::DecodeFractionEngine if engine => {
                let (prefill, decode) = span(lane.sent, lane.prompt_processed).zip(decode(lane))?;
                positive(Some(prefill + decode)).map(|both| decode / both)
            }
            Self::TtftIntendedEngine if engine => span(lane.intended, lane.first_token),
            Self::E2eIntendedEngine if engine => span(lane.intended, lane.last_token),
            Self::IssueErrorEngine if engine => span(lane.intended, lane.sent),
            Self::TtftClient if client => span(lane.sent, lane.first_token),
            Self::TpotClient if client => tpot(lane),
            Self::DecodeRateClient if client => rate(lane),
            Self::E2eClient | Self::SpanClient if client => span(lane.sent, lane.last_token),
            Self::TtftIntendedClient if client => span(lane.intended, lane.first_token),
            Self::E2eIntendedClient if client => span(lane.intended, lane.last_token),
            Self::IssueErrorClient if client => span(lane.intended, lane.sent),
            Self::PrefillServer => reported(lane, Phase::Prefill),
            Self::DecodeServer => reported(lane, Phase::Decode),
            Self::TtftServer => Some(reported(lane, Phase::Load)? + reported(lane, Phase::Prefill)?),
            Self::DecodeRateServer => {
                let tokens = lane.generated.filter(|n| *n > 0)?;
                positive(reported(lane, Phase::Decode)).map(|seconds| f64::from(tokens) / seconds)
            }
            Self::LoadServer => reported(lane, Phase::Load),
            Self::PrefillRateServer => positive(reported(lane, Phase::Prefill))
                .zip(lane.prompt_tokens)
                .map(|(seconds, n)| f64::from(n) / seconds),
            Self::DecodeFractionServer => {
                let (prefill, decode) = reported(lane, Phase::Prefill).zip(reported(lane, Phase::Decode))?;
                positive(Some(prefill + decode)).map(|both| decode / both)
            }
            _ => None,
        }
    }

    /// Value for a trial. The lanes of a batch run together: times are the mean over lanes, rates are the batch's
    /// tokens over the span of its decode. `None` when any lane lacks it.
    #[must_use]
    pub fn of(self, trial: &Trial) -> Option<f64> {
        if let [lane] = trial.lanes.as_slice() {
            return self.of_lane(lane, trial.stamps);
        }
        let values: Option<Vec<f64>> =
            trial.lanes.iter().map(|lane| self.of_lane(lane, trial.stamps)).collect::<Option<_>>();
        let values = values.filter(|values| !values.is_empty())?;
        match self {
            Self::SpanEngine | Self::SpanClient => span(
                trial.lanes.iter().filter_map(|lane| lane.sent).min(),
                trial.lanes.iter().filter_map(|lane| lane.last_token).max(),
            ),
            Self::DecodeRateEngine | Self::DecodeRateClient => batch_rate(
                trial,
                |lane| lane.generated.map(|n| n.saturating_sub(1)),
                |lane| lane.first_token.zip(lane.last_token),
            ),
            Self::PrefillRateEngine => {
                batch_rate(trial, |lane| lane.prompt_tokens, |lane| lane.sent.zip(lane.prompt_processed))
            }
            // A server's counters do not say when its lanes overlapped.
            Self::DecodeRateServer | Self::PrefillRateServer => None,
            _ => Some(values.iter().sum::<f64>() / values.len() as f64),
        }
    }
}

/// Ratio of sums over the lanes of a batch: tokens over the span from the first start to the last end.
fn batch_rate(
    trial: &Trial,
    tokens: impl Fn(&Lane) -> Option<u32>,
    span_of: impl Fn(&Lane) -> Option<(u64, u64)>,
) -> Option<f64> {
    let mut sum = 0_u64;
    let (mut start, mut end) = (u64::MAX, 0);
    for lane in &trial.lanes {
        sum += u64::from(tokens(lane)?);
        let (from, to) = span_of(lane)?;
        start = start.min(from);
        end = end.max(to);
    }
    positive(span(Some(start), Some(end))).map(|seconds| sum as f64 / seconds)
}

fn span(from: Option<u64>, to: Option<u64>) -> Option<f64> {
    let (from, to) = from.zip(to)?;
    to.checked_sub(from).map(|nanos| nanos as f64 / 1e9)
}

fn positive(value: Option<f64>) -> Option<f64> {
    value.filter(|value| *value > 0.0)
}

/// First to last token; undefined for fewer than two tokens, where it would be a zero that nobody measured.
fn decode(lane: &Lane) -> Option<f64> {
    lane.generated.filter(|n| *n >= 2)?;
    span(lane.first_token, lane.last_token)
}

fn tpot(lane: &Lane) -> Option<f64> {
    let n = lane.generated.filter(|n| *n >= 2)?;
    decode(lane).map(|seconds| seconds / f64::from(n - 1))
}

fn rate(lane: &Lane) -> Option<f64> {
    positive(tpot(lane)).map(|seconds| 1.0 / seconds)
}

fn reported(lane: &Lane, phase: Phase) -> Option<f64> {
    lane.timings
        .iter()
        .find(|timing| timing.phase == phase && timing.source == ClockSource::Server)
        .map(|timing| timing.nanos as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use chimera_core::PhaseTiming;

    use super::*;

    fn lane() -> Lane {
        Lane {
            prompt_tokens: Some(10),
            generated: Some(5),
            sent: Some(1_000_000_000),
            prompt_processed: Some(1_500_000_000),
            first_token: Some(1_500_000_000),
            last_token: Some(3_500_000_000),
            timings: vec![PhaseTiming { phase: Phase::Prefill, nanos: 0, source: ClockSource::Server }],
            ..Lane::default()
        }
    }

    #[test]
    fn formulas_by_hand() {
        let of = |metric: Metric| metric.of_lane(&lane(), ClockSource::Engine);
        assert_eq!(of(Metric::PrefillEngine), Some(0.5));
        assert_eq!(of(Metric::DecodeEngine), Some(2.0));
        assert_eq!(of(Metric::E2eEngine), Some(2.5));
        assert_eq!(of(Metric::TpotEngine), Some(0.5));
        assert_eq!(of(Metric::DecodeRateEngine), Some(2.0));
        assert_eq!(of(Metric::PrefillRateEngine), Some(20.0));
        assert_eq!(of(Metric::DecodeFractionEngine), Some(0.8));
        assert_eq!(of(Metric::PrefillServer), Some(0.0), "zero is a measurement");
        assert_eq!(of(Metric::LoadServer), None, "what nobody measured is absent");
        assert_eq!(of(Metric::TtftClient), None, "the engine's stamps are not the client's");
        assert_eq!(Metric::TtftClient.of_lane(&lane(), ClockSource::Client), Some(0.5));
    }

    #[test]
    fn intended_times_see_what_waited_for_the_client() {
        let late = Lane { intended: Some(750_000_000), ..lane() };
        let of = |metric: Metric| metric.of_lane(&late, ClockSource::Client);
        assert_eq!(of(Metric::TtftClient), Some(0.5));
        assert_eq!(of(Metric::TtftIntendedClient), Some(0.75));
        assert_eq!(of(Metric::E2eIntendedClient), Some(2.75));
        assert_eq!(of(Metric::IssueErrorClient), Some(0.25));
        assert_eq!(of(Metric::IssueErrorEngine), None, "the client's stamps are not the engine's");
        assert_eq!(Metric::IssueErrorEngine.of_lane(&late, ClockSource::Engine), Some(0.25));
        assert_eq!(Metric::TtftIntendedClient.of_lane(&lane(), ClockSource::Client), None, "no schedule");
    }

    #[test]
    fn behind_a_wire_prefill_is_the_servers_and_the_rest_the_clients() {
        let timing = |phase, nanos| PhaseTiming { phase, nanos, source: ClockSource::Server };
        let timings = vec![timing(Phase::Prefill, 500_000_000), timing(Phase::Decode, 2_000_000_000)];
        let lane = Lane { timings, ..lane() };
        let of = |metric: Metric| metric.seen_by(ClockSource::Client).of_lane(&lane, ClockSource::Client);
        assert_eq!(of(Metric::PrefillEngine), Some(0.5));
        assert_eq!(of(Metric::TpotEngine), Some(0.5));
        assert_eq!(of(Metric::E2eEngine), Some(2.5));
        assert_eq!(of(Metric::PrefillRateEngine), Some(20.0));
        assert_eq!(of(Metric::DecodeFractionEngine), Some(0.8));
        for metric in Metric::ALL {
            assert_eq!(metric.seen_by(ClockSource::Engine), *metric);
            assert!(!metric.seen_by(ClockSource::Client).name().ends_with(".engine"), "{}", metric.name());
        }
    }

    #[test]
    fn one_token_has_no_decode() {
        let one = Lane { generated: Some(1), last_token: Some(1_500_000_000), ..lane() };
        assert_eq!(Metric::DecodeEngine.of_lane(&one, ClockSource::Engine), None);
        assert_eq!(Metric::TpotEngine.of_lane(&one, ClockSource::Engine), None);
        assert_eq!(Metric::PrefillEngine.of_lane(&one, ClockSource::Engine), Some(0.5));
    }

    #[test]
    fn names_are_unique_and_found() {
        for metric in Metric::ALL {
            assert_eq!(Metric::by_name(metric.name()), Some(*metric));
        }
    }
}
