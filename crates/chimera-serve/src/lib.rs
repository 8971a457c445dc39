//! Two servers. One puts Ollama's and OpenAI's HTTP interfaces in front of any [`chimera_core::InferenceBackend`]. The
//! other plays a script to the letter and logs when it wrote what: the ground truth that clients are judged by. Neither
//! measures anything.
//!
//! ```
//! use std::sync::Arc;
//! use chimera_serve::{ServeOptions, ServedModel, Server};
//! use chimera_sim::{SimBackend, SimModel};
//!
//! let backend = Arc::new(SimBackend::builder().model(SimModel::new("tiny")).build());
//! let server = Server::start(backend, vec![ServedModel::named("tiny")], ServeOptions::default())?;
//! assert!(server.url().starts_with("http://127.0.0.1:"));
//! server.stop();
//! # Ok::<(), chimera_serve::ServeError>(())
//! ```

mod app;
mod http;
mod ollama;
mod openai;
mod options;
pub mod script;
mod server;
pub mod truth;
mod work;

pub use options::{ServeError, ServeOptions, ServedModel};
pub use server::Server;
