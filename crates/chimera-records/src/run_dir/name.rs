//! Names of runs: the time in UTC and a random part. Two runs that start in the same second have different names.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

/// Wall-clock time in milliseconds since 1970; 0 on a machine whose clock stands before it.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// `20260131T235959Z-1a2b3c`.
pub(super) fn run_id(unix_ms: u64) -> String {
    // Every RandomState has random keys: that is all the randomness a name needs.
    let mut random = RandomState::new().build_hasher();
    random.write_u32(std::process::id());
    format!("{}-{:06x}", utc(unix_ms), random.finish() & 0xff_ffff)
}

/// Date and time of a moment, by the days-to-civil algorithm (H. Hinnant, "chrono-compatible low-level date
/// algorithms"), which is exact for the proleptic Gregorian calendar.
fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468; // Days since 0000-03-01.
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_by_hand() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_782_399_999), "20000228T235959Z");
        assert_eq!(utc(951_782_400_000), "20000229T000000Z");
        assert_eq!(utc(1_709_251_199_000), "20240229T235959Z");
        assert_eq!(utc(4_107_542_400_000), "21000301T000000Z", "2100 is no leap year");
    }

    #[test]
    fn names_of_the_same_moment_differ() {
        let names: std::collections::BTreeSet<String> = (0..100).map(|_| run_id(0)).collect();
        assert!(names.len() > 90, "{} names of 100", names.len());
        assert!(names.iter().all(|name| name.len() == "19700101T000000Z-123456".len()));
    }
}
