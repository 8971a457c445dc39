//! `chimera probe`: which backends work here, and what mends the others.

use std::sync::Arc;

use chimera_core::SystemClock;
use chimera_harness::Registry;

use crate::out::say;
use crate::{
    exit::{FILES, WithExit},
    registry::{BACKENDS, Lab},
};

/// Prints one line per backend and its details below.
///
/// # Errors
/// The folder of models cannot be made.
pub fn main(json: bool) -> anyhow::Result<u8> {
    let lab = Lab::open().exit(FILES)?;
    let mut all = serde_json::Map::new();
    for name in BACKENDS {
        let clock = Arc::new(SystemClock::new());
        let probe = match lab.backend(name, clock) {
            Ok(backend) => futures_executor::block_on(backend.probe()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match probe {
            Ok(probe) if json => {
                all.insert((*name).to_owned(), serde_json::to_value(&probe).exit(FILES)?);
            }
            Ok(probe) => {
                match (probe.availability.is_ready(), &probe.version) {
                    (true, Some(version)) => say!("{name:20} ready ({version})"),
                    (true, None) => say!("{name:20} ready (it does not tell its version)"),
                    (false, _) => say!("{name:20} {}", probe.availability),
                }
                for (label, value) in &probe.details {
                    say!("                     {label}: {value}");
                }
            }
            Err(reason) if json => {
                all.insert((*name).to_owned(), serde_json::json!({ "error": reason }));
            }
            Err(reason) => say!("{name:20} {reason}"),
        }
    }
    if json {
        say!("{}", serde_json::Value::Object(all));
    }
    Ok(0)
}
