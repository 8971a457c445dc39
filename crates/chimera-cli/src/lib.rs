//! The binaries: chimera and one per phase. The only place that names adapters.
