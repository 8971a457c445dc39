//! Samplers of the host: pressure, steal, load, memory.
