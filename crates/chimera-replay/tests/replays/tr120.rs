//! Tests of tr120: golden values on the published data, planted values on the synthetic ones.
