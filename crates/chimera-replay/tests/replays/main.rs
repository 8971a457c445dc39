//! Tests of the replays. Golden tests read the published data, which are no part of this project; where they are not
//! there, the test says so and is counted as skipped. Planted tests read small synthetic tables and always run.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a test may fail loudly and say what it skips")]

mod common;
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
