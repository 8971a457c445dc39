//! What a suite has to know of a backend: names, prompts, budgets, limits and the clock. What the backend can do is not
//! said here; the backend declares that itself.

use std::{fmt, sync::Arc, time::Duration};

use chimera_core::{Clock, InferenceBackend, LoadOptions, ModelRef, SystemClock};

type Decode = Arc<dyn Fn(&[u32]) -> String + Send + Sync>;
type Broken = Arc<dyn Fn(&Fixture, Breakage) -> Arc<dyn InferenceBackend> + Send + Sync>;

/// How the suite can tell that characters of several bytes survive.
#[derive(Clone)]
pub struct MultiByte(pub(crate) Proof);

#[derive(Clone)]
pub(crate) enum Proof {
    Contains { prompt: String, text: String },
    Decodes(Decode),
}

impl MultiByte {
    /// The answer to `prompt`, within the fixture's long budget, contains `text`, which is not ASCII: for scripted
    /// servers.
    pub fn contains(prompt: impl Into<String>, text: impl Into<String>) -> Self {
        Self(Proof::Contains { prompt: prompt.into(), text: text.into() })
    }

    /// Turns token ids into text as the model's own tokenizer does, with U+FFFD for bytes that are no character. The
    /// backend has to tell ids; it is asked to sample at temperature 1 until something comes that is not ASCII.
    pub fn decodes(decode: impl Fn(&[u32]) -> String + Send + Sync + 'static) -> Self {
        Self(Proof::Decodes(Arc::new(decode)))
    }
}

impl fmt::Debug for MultiByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Proof::Contains { prompt, text } => {
                f.debug_struct("Contains").field("prompt", prompt).field("text", text).finish()
            }
            Proof::Decodes(_) => f.write_str("Decodes"),
        }
    }
}

/// How a wire breaks in the middle of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breakage {
    /// The server says that something went wrong.
    Error,
    /// The answer just ends.
    Truncated,
}

/// What a suite has to know of a backend. Defaults suit a small model in process; everything can be set.
#[derive(Clone)]
pub struct Fixture {
    pub(crate) model: ModelRef,
    pub(crate) options: LoadOptions,
    pub(crate) unknown: ModelRef,
    pub(crate) prompt: String,
    pub(crate) multi_byte: MultiByte,
    pub(crate) too_long: Option<String>,
    pub(crate) stops: Option<(ModelRef, String, u32)>,
    pub(crate) budget: u32,
    pub(crate) long_budget: u32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time_limit: Duration,
    pub(crate) cancel_limit: Duration,
    pub(crate) tolerance: Duration,
    pub(crate) broken: Option<Broken>,
    pub(crate) may_be_absent: bool,
    pub(crate) skips: Option<Vec<&'static str>>,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Fixture {
    /// A fixture for a model that the backend finds by name, on the machine's clock.
    pub fn new(model: impl Into<Arc<str>>, multi_byte: MultiByte) -> Self {
        Self {
            model: ModelRef::named(model),
            options: LoadOptions::default(),
            unknown: ModelRef::named("no-such-model"),
            prompt: "The quick brown fox".into(),
            multi_byte,
            too_long: None,
            stops: None,
            budget: 8,
            long_budget: 64,
            clock: Arc::new(SystemClock::new()),
            time_limit: Duration::from_secs(60),
            cancel_limit: Duration::from_secs(1),
            tolerance: Duration::from_millis(2),
            broken: None,
            may_be_absent: false,
            skips: None,
        }
    }

    /// The clock, to be handed to the backend: stamps are compared with its readings.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The model that is loaded.
    #[must_use]
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// Sets the model that is loaded, its path for instance.
    #[must_use]
    pub fn with_model(mut self, model: ModelRef) -> Self {
        self.model = model;
        self
    }

    /// Sets how models are loaded.
    #[must_use]
    pub fn options(mut self, options: LoadOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets a model that does not exist; the default is named `no-such-model` and has no path.
    #[must_use]
    pub fn unknown(mut self, model: ModelRef) -> Self {
        self.unknown = model;
        self
    }

    /// Sets an ordinary prompt of a few tokens.
    #[must_use]
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = prompt.into();
        self
    }

    /// Sets a text that is longer than the model's context. By default it is made from [`chimera_core::ModelInfo`].
    #[must_use]
    pub fn too_long(mut self, prompt: impl Into<String>) -> Self {
        self.too_long = Some(prompt.into());
        self
    }

    /// Names a model and a prompt whose answer ends by itself before the budget is used up.
    #[must_use]
    pub fn stops(mut self, model: ModelRef, prompt: impl Into<String>, budget: u32) -> Self {
        self.stops = Some((model, prompt.into(), budget));
        self
    }

    /// Sets the tokens of an ordinary answer (8, at least 2) and of one that is long enough to be cancelled (64).
    #[must_use]
    pub fn budgets(mut self, ordinary: u32, long: u32) -> Self {
        self.budget = ordinary.max(2);
        self.long_budget = long.max(self.budget);
        self
    }

    /// Sets how long one scenario may take by the machine's clock; the default is a minute.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets within what time a cancelled session must be idle, by the fixture's clock; the default is a second. Half of
    /// the work that the cancel saves is a limit too.
    #[must_use]
    pub fn cancel_limit(mut self, limit: Duration) -> Self {
        self.cancel_limit = limit;
        self
    }

    /// Sets by how much durations of different reporters may disagree, beside one per cent; the default is 2 ms.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Says how to make a backend whose first two generations break in the middle of the answer, so that the adapter's
    /// own decoder is judged. Without it the faults are injected by [`chimera_core::decorate::Faulty`].
    #[must_use]
    pub fn broken(
        mut self,
        make: impl Fn(&Fixture, Breakage) -> Arc<dyn InferenceBackend> + Send + Sync + 'static,
    ) -> Self {
        self.broken = Some(Arc::new(make));
        self
    }

    /// Allows that the backend is not usable here: then its scenarios are skipped with the probe's reason. By default
    /// that is a failure.
    #[must_use]
    pub fn may_be_absent(mut self) -> Self {
        self.may_be_absent = true;
        self
    }

    /// Lists the scenarios that are skipped. Then another skip fails, and so does one that is missing.
    #[must_use]
    pub fn skips(mut self, names: &[&'static str]) -> Self {
        self.skips = Some(names.to_vec());
        self
    }
}
