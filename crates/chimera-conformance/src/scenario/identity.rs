//! What a backend says of itself and of its models.

use chimera_core::BackendError;

use crate::{Failure, context::Context, table::ensure};

pub(crate) async fn probe_is_stable(context: &Context<'_>) -> Result<(), Failure> {
    let backend = &context.subject.backend;
    let id = backend.id().clone();
    ensure!(!id.0.is_empty(), "an id without a name");
    let (first, second) = (backend.probe().await?, backend.probe().await?);
    ensure!(*backend.id() == id, "the id changes from {id} to {}", backend.id());
    ensure!(first.availability == second.availability, "the availability changes");
    ensure!(first.capabilities == second.capabilities, "the capabilities change");
    ensure!(first.version == second.version, "the version changes");
    // Values may move (free memory), their names and order may not.
    let keys = |probe: &chimera_core::Probe| -> Vec<String> {
        probe.details.iter().map(|(key, _)| key.clone()).collect()
    };
    ensure!(keys(&first) == keys(&second), "the details change their names or their order");
    let capabilities = &first.capabilities;
    ensure!(capabilities.max_batch != Some(0), "a largest batch of zero");
    ensure!(capabilities.max_in_flight != Some(0), "no generation at all in flight");
    ensure!(capabilities.prefill_chunk != Some(0), "a prefill chunk of no tokens");
    let mut phases: Vec<_> = capabilities.phases.iter().map(|(phase, _)| *phase).collect();
    phases.sort_unstable();
    ensure!(phases.windows(2).all(|pair| pair.first() != pair.last()), "a phase is declared twice");
    Ok(())
}

pub(crate) async fn unknown_model_is_not_found(context: &Context<'_>) -> Result<(), Failure> {
    let fixture = context.fixture();
    match context.subject.backend.load(&fixture.unknown, &fixture.options).await {
        Err(BackendError::ModelNotFound { model, backend, .. }) => {
            ensure!(model == *fixture.unknown.name, "the error names {model}");
            ensure!(backend == *context.subject.backend.id(), "the error is of backend {backend}");
            Ok(())
        }
        Err(error) => Err(Failure::new(format_args!("not model-not-found but {}: {error}", error.code()))),
        Ok(_) => Err(Failure::new("a model that does not exist is loaded")),
    }
}

pub(crate) async fn model_is_described(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let info = session.model();
    let asked = &context.fixture().model.name;
    ensure!(info.name == **asked, "asked for {asked}, it calls itself {}", info.name);
    if let Some(parameters) = info.parameters {
        ensure!(parameters.active <= parameters.total, "more active parameters than there are");
        ensure!(parameters.active > 0, "zero parameters: what is not known has no entry");
    }
    for (what, value) in [
        ("layers", info.layers),
        ("width", info.width),
        ("heads", info.heads),
        ("key/value heads", info.kv_heads),
        ("vocabulary", info.vocabulary),
        ("context", info.context),
    ] {
        ensure!(value != Some(0), "{what} of zero: what is not known has no entry");
    }
    ensure!(info.digest.as_deref() != Some(""), "an empty digest");
    Ok(())
}
