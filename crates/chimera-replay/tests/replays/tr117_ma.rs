//! Tests of tr117_ma: golden values on the published data, planted values on the synthetic ones.
