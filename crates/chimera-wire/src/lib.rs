//! What HTTP adapters share: pure decoders of streamed answers (NDJSON, server-sent events), and a timed HTTP/1.1 stream
//! that stamps bytes where they arrive. It knows no inference server and no model; what lines mean is the adapters'
//! business.
