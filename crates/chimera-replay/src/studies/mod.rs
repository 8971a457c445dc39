//! One room per report of the series, each with its versions. A room reads its tables, computes `legacy.*` by the published
//! formula and the same questions by ours; what several rooms need stands in `shared`.

mod family;
pub mod shared;
mod tr108;
mod tr109;
mod tr110;
mod tr111;
mod tr112;
mod tr113;
mod tr114;
mod tr115;
mod tr116;
mod tr117;
mod tr117_ma;
mod tr118;
mod tr119;
mod tr120;
mod tr121;

use crate::Replay;

/// All of them, in the order of the series.
pub(crate) fn all() -> Vec<&'static dyn Replay> {
    [
        tr108::ALL,
        tr109::ALL,
        tr110::ALL,
        tr111::ALL,
        tr112::ALL,
        tr113::ALL,
        tr114::ALL,
        tr115::ALL,
        tr116::ALL,
        tr117_ma::ALL,
        tr117::ALL,
        tr118::ALL,
        tr119::ALL,
        tr120::ALL,
        tr121::ALL,
    ]
    .concat()
}
