//! A backend that is honest but for one thing.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use chimera_core::{
    BackendError, BackendId, Batch, Clock, Event, EventKind, EventStream, InferenceBackend, LoadOptions,
    Logits, ModelInfo, ModelRef, Probe, Prompt, Request, Result, Score, Session, StreamError,
};
use chimera_sim::SimBackend;
use futures_util::{Stream, StreamExt, stream};

use crate::editor::{Editor, chunk};

pub(crate) type Item = Result<Event, StreamError>;

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    UnstableProbe,
    DeclaresZeroLanes,
    AnswersForUnknownModels,
    WrongErrorForUnknownModels,
    AnotherName,
    ZeroLayers,
    StampsRunBack,
    StampsFromTheFuture,
    StampsFromThePast,
    StampsWhenRead,
    TwoEnds,
    NoEnd,
    EndlessStream,
    GoesOnAfterTheEnd,
    NeverSent,
    ALaneOfNobody,
    PromptAfterTheFirstChunk,
    NoPromptEvent,
    CountsWrongly,
    HidesCounts,
    IdOfSeveralTokens,
    DiffersEachTime,
    GreedyUsesTheSeed,
    OneTokenMore,
    IgnoresTheBudgetOfZero,
    StopsAtTheEnd,
    CallsEveryEndStop,
    CallsEveryEndLength,
    BreaksCharacters,
    AddsAToken,
    SilentChat,
    FabricatedPhase,
    ZeroPrefill,
    ZeroDecode,
    PhaseTwice,
    HidesPhases,
    PhasesLongerThanTheTotal,
    TotalBeyondTheStamps,
    SpoiltByADrop,
    IgnoresCancel,
    MixesGenerations,
    MixesLanes,
    CountsPadding,
    TakesAnyBatch,
    CutsLongPrompts,
    RefusesLongPromptsWithoutAReason,
    ErrorBecomesAnEnd,
    ErrorBecomesSilence,
    HidesAbilities,
    RefusesByTheWrongName,
    UnstableTokens,
    SpecialTokens,
    LikelierThanCertain,
    NoNumber,
    OneScoreTooMany,
    SeesTheFuture,
    OneRowTooMany,
    NoNumberAmongLogits,
    PaddedRows,
    LogitsOfTheFuture,
    ShiftedLogits,
    FlatLogits,
    TakesAnyToken,
    RefusesTokensWithoutAReason,
    SpoiltByDroppedLogits,
    LogitsAfterUnload,
    IgnoresUnload,
    FailsTheSecondUnload,
    Hangs,
}

#[derive(Debug)]
pub(crate) struct Liar {
    inner: SimBackend,
    lie: Lie,
    clock: Arc<dyn Clock>,
    probes: AtomicU32,
}

impl Liar {
    pub(crate) fn new(inner: SimBackend, lie: Lie, clock: Arc<dyn Clock>) -> Self {
        Self { inner, lie, clock, probes: AtomicU32::new(0) }
    }
}

#[derive(Debug)]
struct LiarSession {
    inner: Arc<dyn Session>,
    info: ModelInfo,
    lie: Lie,
    clock: Arc<dyn Clock>,
    calls: AtomicU32,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Streams whose reader is gone.
    zombies: Mutex<Vec<EventStream>>,
    /// Prompts of generations that have begun and not ended.
    begun: Mutex<Vec<Prompt>>,
    spoilt: Mutex<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

#[async_trait]
impl InferenceBackend for Liar {
    fn id(&self) -> &BackendId {
        self.inner.id()
    }

    async fn probe(&self) -> Result<Probe> {
        let mut probe = self.inner.probe().await?;
        let count = self.probes.fetch_add(1, Ordering::Relaxed);
        let able = &mut probe.capabilities;
        match self.lie {
            Lie::UnstableProbe => probe.version = Some(format!("sim {count}")),
            Lie::DeclaresZeroLanes => able.max_batch = Some(0),
            Lie::DiffersEachTime => able.deterministic = true,
            Lie::TakesAnyBatch => able.max_batch = Some(2),
            Lie::HidesAbilities => able.tokenize = false,
            Lie::RefusesByTheWrongName => able.scoring = false,
            _ => {}
        }
        Ok(probe)
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let mut asked = model.clone();
        if self.lie == Lie::AnswersForUnknownModels {
            asked = ModelRef::named("tiny");
        }
        let inner = match self.inner.load(&asked, options).await {
            Err(error) if self.lie == Lie::WrongErrorForUnknownModels => {
                return Err(BackendError::failed(error.backend(), "status 500"));
            }
            other => other?,
        };
        let mut info = inner.model().clone();
        match self.lie {
            Lie::AnotherName => info.name = "other".into(),
            Lie::ZeroLayers => info.layers = Some(0),
            _ => {}
        }
        Ok(Arc::new(LiarSession {
            inner,
            info,
            lie: self.lie,
            clock: Arc::clone(&self.clock),
            calls: AtomicU32::new(0),
            shared: Arc::default(),
        }))
    }
}

#[async_trait]
impl Session for LiarSession {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn generate(&self, mut batch: Batch) -> EventStream {
        for request in &mut batch.0 {
            self.change(request);
        }
        if self.lie == Lie::MixesLanes && batch.0.len() > 1 {
            let first = batch.0[0].prompt.clone();
            batch.0[0].prompt = std::mem::replace(&mut batch.0[1].prompt, first);
        }
        if self.lie == Lie::TakesAnyBatch {
            batch.0.truncate(8);
        }
        if self.lie == Lie::Hangs {
            return stream::pending().boxed();
        }
        let padding = batch.0.iter().map(|request| length(&request.prompt)).max().unwrap_or(0);
        let prompts: Vec<Prompt> = batch.0.iter().map(|request| request.prompt.clone()).collect();
        let mut editor = Editor::new(self.lie, Arc::clone(&self.clock), padding);
        let mixing = self.lie == Lie::MixesGenerations;
        let inner = if mixing {
            // The prompt of whoever began first is answered to all.
            let shared = Arc::clone(&self.shared);
            let session = Arc::clone(&self.inner);
            let own = prompts.first().cloned();
            stream::once(async move {
                let mut begun = shared.begun.lock().unwrap();
                if let Some(own) = own {
                    begun.push(own);
                }
                if let (Some(first), Some(request)) = (begun.first(), batch.0.first_mut()) {
                    request.prompt = first.clone();
                }
                session.generate(batch)
            })
            .flatten()
            .boxed()
        } else {
            self.inner.generate(batch)
        };
        let shared = Arc::clone(&self.shared);
        let ended = stream::once(async move {
            if mixing {
                shared.begun.lock().unwrap().pop();
            }
        })
        .filter_map(|()| async { None });
        let edited = inner.flat_map(move |item| stream::iter(editor.edit(item)));
        let mut edited = edited.chain(ended).boxed();
        if self.lie == Lie::EndlessStream {
            let more = Event { at: self.clock.now(), lane: 0, kind: EventKind::Headers };
            edited = edited
                .take(1)
                .chain(stream::repeat_with(move || Ok(Event { kind: chunk("x"), ..more.clone() })))
                .boxed();
        }
        Box::pin(Kept { stream: Some(edited), shared: Arc::clone(&self.shared), lie: self.lie })
    }

    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.inner.tokenize(text).await?;
        match self.lie {
            Lie::UnstableTokens => ids.push(self.calls.fetch_add(1, Ordering::Relaxed) % 200),
            Lie::SpecialTokens => ids.insert(0, 1),
            _ => {}
        }
        Ok(ids)
    }

    async fn score(&self, tokens: &[u32]) -> Result<Score> {
        if self.lie == Lie::RefusesByTheWrongName {
            return Err(BackendError::failed(&BackendId::new("sim"), "no"));
        }
        let mut score = self.inner.score(tokens).await?;
        let all = &mut score.log_probabilities;
        match self.lie {
            Lie::LikelierThanCertain => all.iter_mut().for_each(|p| *p = -*p),
            Lie::NoNumber => all.iter_mut().for_each(|p| *p = f32::NEG_INFINITY),
            Lie::OneScoreTooMany => all.push(-1.0),
            Lie::SeesTheFuture => all.iter_mut().for_each(|p| *p -= tokens.len() as f32),
            _ => {}
        }
        Ok(score)
    }

    async fn logits(&self, tokens: &[u32]) -> Result<Logits> {
        let honest = |tokens: Vec<u32>| async move { self.inner.logits(&tokens).await };
        if self.lie == Lie::SpoiltByDroppedLogits {
            // Whoever goes away before the answer leaves the session spoilt.
            let mut guard = Spoils(&self.shared, true);
            yield_once().await;
            guard.1 = false;
            let spoilt = *self.shared.spoilt.lock().unwrap();
            let mut logits = honest(tokens.to_vec()).await?;
            if spoilt {
                logits.values.iter_mut().for_each(|logit| *logit += 1.0);
            }
            return Ok(logits);
        }
        let mut asked = tokens.to_vec();
        if self.lie == Lie::TakesAnyToken {
            asked.iter_mut().for_each(|id| *id %= 257);
        }
        if self.lie == Lie::LogitsAfterUnload && self.calls.load(Ordering::Relaxed) > 0 {
            return Ok(Logits { values: vec![0.0; 257 * tokens.len()], vocabulary: 257 });
        }
        let mut logits = match honest(asked).await {
            Err(error) if self.lie == Lie::RefusesTokensWithoutAReason => {
                return Err(BackendError::failed(error.backend(), "status 500"));
            }
            other => other?,
        };
        let width = logits.vocabulary;
        let all = &mut logits.values;
        match self.lie {
            Lie::OneRowTooMany => all.extend(vec![0.0; width]),
            Lie::NoNumberAmongLogits => all.iter_mut().skip(3).take(1).for_each(|logit| *logit = f32::NAN),
            Lie::PaddedRows => {
                let padded = all.chunks(width).flat_map(|row| row.iter().copied().chain([0.0]));
                (logits.values, logits.vocabulary) = (padded.collect(), width + 1);
            }
            Lie::LogitsOfTheFuture => all.iter_mut().for_each(|logit| *logit -= tokens.len() as f32),
            // What was held before a token in the place of what was held after it.
            Lie::ShiftedLogits if !all.is_empty() => all.rotate_right(width),
            Lie::FlatLogits => all.iter_mut().for_each(|logit| *logit *= 0.5),
            _ => {}
        }
        Ok(logits)
    }

    async fn idle(&self) {
        loop {
            let Some(mut zombie) = self.shared.zombies.lock().unwrap().pop() else { break };
            while zombie.next().await.is_some() {}
        }
        self.inner.idle().await;
    }

    async fn unload(&self) -> Result<()> {
        match self.lie {
            Lie::IgnoresUnload => Ok(()),
            Lie::LogitsAfterUnload => {
                self.calls.fetch_add(1, Ordering::Relaxed);
                self.inner.unload().await
            }
            Lie::FailsTheSecondUnload if self.calls.fetch_add(1, Ordering::Relaxed) > 0 => {
                Err(BackendError::Closed { backend: BackendId::new("sim") })
            }
            _ => self.inner.unload().await,
        }
    }
}

/// Spoils the session when it is dropped while it is armed.
struct Spoils<'a>(&'a Shared, bool);

impl Drop for Spoils<'_> {
    fn drop(&mut self) {
        if self.1 {
            *self.0.spoilt.lock().unwrap() = true;
        }
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl LiarSession {
    fn change(&self, request: &mut Request) {
        match self.lie {
            Lie::OneTokenMore => request.max_tokens += 1,
            Lie::IgnoresTheBudgetOfZero => request.max_tokens = request.max_tokens.max(1),
            Lie::StopsAtTheEnd => request.ignore_eos = false,
            Lie::GreedyUsesTheSeed => request.sampling.temperature = 1.0,
            Lie::SilentChat if matches!(request.prompt, Prompt::Chat(_)) => {
                request.prompt = Prompt::Text("x".into());
                request.max_tokens = 0;
            }
            Lie::AddsAToken => {
                if let Prompt::Tokens(ids) = &request.prompt {
                    request.prompt = Prompt::Tokens([&[1], &ids[..]].concat().into());
                }
            }
            Lie::CutsLongPrompts => {
                if let Prompt::Text(text) = &request.prompt {
                    request.prompt = Prompt::Text(text.chars().take(1000).collect::<String>().into());
                }
            }
            Lie::SpoiltByADrop if *self.shared.spoilt.lock().unwrap() => {
                request.prompt = Prompt::Text("spoilt".into());
            }
            _ => {}
        }
    }
}

fn length(prompt: &Prompt) -> u32 {
    match prompt {
        Prompt::Text(text) => u32::try_from(text.len()).unwrap(),
        Prompt::Tokens(ids) => u32::try_from(ids.len()).unwrap(),
        _ => 0,
    }
}

/// Notices that its reader is gone.
struct Kept {
    stream: Option<EventStream>,
    shared: Arc<Shared>,
    lie: Lie,
}

impl Stream for Kept {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        match &mut self.stream {
            Some(stream) => {
                let item = std::task::ready!(stream.poll_next_unpin(cx));
                if item.is_none() {
                    self.stream = None;
                }
                Poll::Ready(item)
            }
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            *self.shared.spoilt.lock().unwrap() = true;
            if self.lie == Lie::IgnoresCancel {
                self.shared.zombies.lock().unwrap().push(stream);
            }
        }
    }
}
