//! The server over the simulator, by plain sockets.

mod ollama;
mod openai;
mod support;
