//! Runs a plan: blocks are processes, trials are records.
