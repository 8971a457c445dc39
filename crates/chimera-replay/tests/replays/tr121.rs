//! Tests of tr121: golden values on the published data, planted values on the synthetic ones.
