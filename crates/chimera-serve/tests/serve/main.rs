//! The server over the simulator, by plain sockets.

mod hostile;
mod life;
mod ollama;
mod openai;
mod support;
