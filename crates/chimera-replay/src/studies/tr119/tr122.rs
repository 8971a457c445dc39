//! TR122: the power of the idle GPU, the poller's timing, heat. Its data were never published, and the modules that wrote
//! them neither: nothing can be computed again, and every quantity says so.

use chimera_report::{Column, Headline, Section, Table, Verdict};

use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

const REASON: &str = "the traces, events and baseline of this report were never published";

/// Quantity, and what would be needed to compute it.
const QUANTITIES: [(&str, &str); 15] = [
    ("idle.mean_w", "samples of the idle trace"),
    ("idle.sd_w", "samples of the idle trace"),
    ("idle.min_w", "samples of the idle trace"),
    ("idle.max_w", "samples of the idle trace"),
    ("idle.temperature_c", "samples of the idle trace"),
    ("idle.sem_w", "samples of the idle trace and their autocorrelation"),
    ("poller.median_ms", "time stamps of the power trace"),
    ("poller.p95_ms", "time stamps of the power trace"),
    ("poller.max_gap_ms", "time stamps of the power trace"),
    ("poller.dropped", "time stamps of the power trace"),
    ("poller.read_errors", "the `read_ok` flag of the power trace"),
    ("poller.valid", "the `read_ok` flag of the power trace"),
    ("heat.slope_c_per_min", "temperatures of the power trace by phase"),
    ("vram.peak_gb", "memory of the power trace by phase"),
    ("energy.events_without_data", "events with their sample counts"),
];

/// The study.
pub(super) struct Tr122;

impl Replay for Tr122 {
    fn id(&self) -> &'static str {
        "tr122"
    }

    fn title(&self) -> &'static str {
        "What does the machine draw when idle, and can its energy meter follow an inference?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn replay(&self, _data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut table = Table::new("needed", "What would be needed")
            .caption("Each quantity that the report states, and the data from which it could be computed.")
            .column(Column::text("quantity", "Quantity"))
            .column(Column::text("needed", "Needed"))
            .column(Column::number("value", "Value", ""));
        for (name, needed) in QUANTITIES {
            values.lacks(name, REASON);
            table.push_row([name.into(), needed.into(), chimera_report::Cell::missing(REASON)]);
        }
        let headline = Headline::new(
            "idle",
            "The GPU idles at a known power",
            Verdict::NotMeasured,
            "No sample of it is published. The replay of TR119 takes the stated mean as an input and says so.",
        );
        Ok(Replayed {
            values,
            headline: vec![headline],
            sections: vec![Section::new("needed", "Nothing to compute").table(table)],
            limits: Limits {
                can: Vec::new(),
                cannot: [
                    "Anything by itself: traces, events and baseline were never published, nor the modules that wrote them.",
                    "An idle power that is a state: the stated minimum and maximum suggest two states, and their mean is none of \
                     them.",
                    "The error of the idle mean: the stated one assumes independent samples at the nominal rate.",
                    "That the sensor follows a load: the report's own test of that failed.",
                ]
                .map(str::to_owned)
                .to_vec(),
            },
        })
    }
}
