//! What scenarios share: loading, asking and reading. Nothing here judges.

use std::{sync::Arc, time::Duration};

use chimera_core::{Batch, Capabilities, Clock, Request, Session};

use crate::{
    Failure, Fixture, Subject,
    transcript::{Lane, Transcript},
};

/// A scenario's view of its subject.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) capabilities: Capabilities,
}

impl Context<'_> {
    pub(crate) fn fixture(&self) -> &Fixture {
        &self.subject.fixture
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.subject.fixture.clock
    }

    pub(crate) async fn load(&self) -> Result<Arc<dyn Session>, Failure> {
        let fixture = self.fixture();
        Ok(self.subject.backend.load(&fixture.model, &fixture.options).await?)
    }

    /// A greedy request with as exact a budget as the backend can do.
    pub(crate) fn ask(&self, prompt: impl Into<Arc<str>>, tokens: u32) -> Request {
        let request = Request::text(prompt, tokens);
        if self.capabilities.exact_budget { request.exact() } else { request }
    }

    /// The ordinary request.
    pub(crate) fn ordinary(&self) -> Request {
        self.ask(self.fixture().prompt.as_str(), self.fixture().budget)
    }

    /// Prompts that differ in length and in their words.
    pub(crate) fn prompts(&self, count: usize) -> Vec<String> {
        const WORDS: [&str; 4] = [" one", " two", " three", " four"];
        (0..count)
            .map(|i| {
                let word = WORDS.get(i % WORDS.len()).copied().unwrap_or_default();
                format!("{}{}", self.fixture().prompt, word.repeat(i))
            })
            .collect()
    }

    pub(crate) async fn read(&self, session: &dyn Session, batch: Batch) -> Result<Transcript, Failure> {
        let lanes = batch.0.len();
        Transcript::read(self.clock(), session.generate(batch), lanes).await
    }

    pub(crate) async fn batch(&self, session: &dyn Session, batch: Batch) -> Result<Vec<Lane>, Failure> {
        self.read(session, batch).await?.lanes()
    }

    /// The lane of one request that should succeed.
    pub(crate) async fn one(&self, session: &dyn Session, request: Request) -> Result<Lane, Failure> {
        let lane = self.batch(session, request.into()).await?.pop();
        lane.ok_or_else(|| Failure::new("no lane"))
    }

    /// How far two reporters of one duration may be apart.
    pub(crate) fn slack(&self, of: Duration) -> Duration {
        self.fixture().tolerance + of / 100
    }
}
