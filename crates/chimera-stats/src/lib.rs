//! Pure statistics on slices: estimates that carry their intervals.
