//! Text: whole characters, and the same words for the same request.

use chimera_core::{Message, Prompt, Request, Role, Sampling};

use crate::{Failure, context::Context, fixture::Proof, table::ensure};

pub(crate) async fn same_seed_same_text(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let hot = Sampling { temperature: 1.0, ..Sampling::default() };
    for request in [context.ordinary(), context.ordinary().sampling(hot).seed(7)] {
        let first = context.one(&*session, request.clone()).await?;
        // Something else in between must not leave a trace.
        context.one(&*session, context.ask("Another text", 3)).await?;
        let second = context.one(&*session, request).await?;
        ensure!(first.text == second.text, "{:?}, then {:?}", first.text, second.text);
        ensure!(first.ids == second.ids, "the same text of other tokens");
    }
    // Greedy answers do not depend on the seed.
    let first = context.one(&*session, context.ordinary().seed(1)).await?;
    let second = context.one(&*session, context.ordinary().seed(2)).await?;
    ensure!(first.text == second.text, "greedy answers depend on the seed");
    // Nor on the session.
    let other = context.load().await?;
    let third = context.one(&*other, context.ordinary().seed(1)).await?;
    ensure!(first.text == third.text, "another session says {:?} for {:?}", third.text, first.text);
    Ok(())
}

pub(crate) async fn multi_byte_text_stays_whole(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let budget = context.fixture().long_budget;
    match &context.fixture().multi_byte.0 {
        Proof::Contains { prompt, text } => {
            ensure!(!text.is_ascii(), "the fixture's text {text:?} has no character of several bytes");
            let lane = context.one(&*session, context.ask(prompt.as_str(), budget)).await?;
            ensure!(lane.text.contains(text.as_str()), "{text:?} is not in {:?}", lane.text);
            ensure!(!lane.text.contains(char::REPLACEMENT_CHARACTER), "broken characters in {:?}", lane.text);
            Ok(())
        }
        Proof::Decodes(decode) => {
            for seed in 0..16 {
                let hot = Sampling { temperature: 1.0, ..Sampling::default() };
                let request = context.ask(context.fixture().prompt.as_str(), budget).sampling(hot).seed(seed);
                let lane = context.one(&*session, request).await?;
                let Some(ids) = &lane.ids else {
                    return Err(Failure::new("the fixture decodes ids, and the chunks do not tell them"));
                };
                let whole = decode(ids);
                // What is still open when the budget ends may be kept back or shown as broken.
                let kept = |text: &str| text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned();
                ensure!(
                    kept(&lane.text) == kept(&whole),
                    "streamed {:?}, decoded at once {whole:?}",
                    lane.text
                );
                if !kept(&whole).is_ascii() {
                    return Ok(());
                }
            }
            Err(Failure::new("16 sampled answers without a character of several bytes prove nothing"))
        }
    }
}

pub(crate) async fn token_prompts_are_taken_as_they_are(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let ids: Vec<u32> = if context.capabilities.tokenize {
        session.tokenize(&context.fixture().prompt).await?
    } else {
        (1..=8).collect()
    };
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let lane = context.one(&*session, Request::tokens(ids, context.fixture().budget)).await?;
    if let Some((_, Some(tokens), _)) = lane.prompt {
        ensure!(tokens == count, "a prompt of {count} ids was read as {tokens}");
    }
    if let Some(vocabulary) = session.model().vocabulary {
        let outside = context.read(&*session, Request::tokens(vec![vocabulary], 1).into()).await?;
        ensure!(outside.error().is_some(), "an id outside the vocabulary of {vocabulary} is taken");
    }
    Ok(())
}

pub(crate) async fn chat_is_answered(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let messages = [
        Message { role: Role::System, content: "Be brief.".into() },
        Message { role: Role::User, content: context.fixture().prompt.as_str().into() },
    ];
    let request = Request::new(Prompt::Chat(messages.into()), context.fixture().budget);
    let request = if context.capabilities.exact_budget { request.exact() } else { request };
    let lane = context.one(&*session, request).await?;
    ensure!(!lane.chunks.is_empty(), "no answer");
    Ok(())
}
