//! What in-process adapters share: tokenizers, sampler, worker thread with cancel-on-drop.
