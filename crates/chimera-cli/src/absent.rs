//! Backends that designs name and this program does not have: a place in the failure matrix with the reason, until a later
//! version fills it. Nothing is run here.

use std::sync::Arc;

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, InferenceBackend, LoadOptions, ModelRef, Probe,
    Result, Session,
};

/// Names with their reason and remedy.
const ABSENT: &[(&str, &str, &str)] = &[(
    "pytorch",
    "PyTorch would run in a worker process of its own, and this version has no such worker",
    "none in this version: a later report brings it",
)];

/// A backend that is known by name alone.
#[derive(Debug)]
pub struct Absent {
    id: BackendId,
    availability: Availability,
}

impl Absent {
    /// The backend of this name, if it is one of these.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (_, reason, remedy) = ABSENT.iter().find(|(own, ..)| *own == name)?;
        let availability =
            Availability::NotCompiled { reason: (*reason).to_owned(), remedy: (*remedy).to_owned() };
        Some(Self { id: BackendId::new(name), availability })
    }
}

#[async_trait]
impl InferenceBackend for Absent {
    fn id(&self) -> &BackendId {
        &self.id
    }

    async fn probe(&self) -> Result<Probe> {
        Ok(Probe {
            availability: self.availability.clone(),
            capabilities: Capabilities::default(),
            version: None,
            details: Vec::new(),
        })
    }

    async fn load(&self, _: &ModelRef, _: &LoadOptions) -> Result<Arc<dyn Session>> {
        Err(BackendError::Unavailable { backend: self.id.clone(), reason: self.availability.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_backend_says_so_and_loads_nothing() {
        assert!(Absent::of("candle").is_none());
        let absent = Absent::of("pytorch").unwrap();
        let probe = futures_executor::block_on(absent.probe()).unwrap();
        assert!(!probe.availability.is_ready() && probe.availability.to_string().contains("worker"));
        let model = ModelRef::named("tiny-gpt2");
        let refused = futures_executor::block_on(absent.load(&model, &LoadOptions::default()));
        assert!(refused.is_err_and(|error| error.to_string().contains("worker")));
    }
}
