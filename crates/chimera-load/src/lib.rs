//! A load generator over any [`chimera_core::InferenceBackend`]: closed loops, open loops by intended time, sweeps. Its
//! trials are records like those of every other run. It computes no statistics and prints nothing.
