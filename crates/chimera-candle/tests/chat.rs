//! Chats: the template of a GGUF file and of a folder, and models that bring none. What templates make of messages is
//! tested in `chimera-engine`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use std::path::Path;

use chimera_candle::CandleBackend;
use chimera_conformance::models::with_template;
use chimera_core::{
    InferenceBackend, Message, ModelRef, Prompt, Request, Role, Session, SessionExt, SystemClock,
};
use chimera_zoo::Variant;
use futures_executor::block_on;

const MODEL: &str = "llama-0.1m";

/// Says nothing but how many messages there are, and the tokens that begin and end.
const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ eos_token }}";

fn chat() -> Prompt {
    let message = |role, content: &str| Message { role, content: content.into() };
    Prompt::Chat([message(Role::System, "Be brief."), message(Role::User, "The quick")].into())
}

fn load(at: &Path) -> std::sync::Arc<dyn Session> {
    let backend = CandleBackend::builder(SystemClock::new()).build();
    block_on(backend.load(&ModelRef::at(MODEL, at), &Default::default())).unwrap()
}

#[test]
fn the_template_of_a_gguf_file_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let plain = std::fs::read(common::files(MODEL, Variant::F32Gguf).weights).unwrap();
    let path = folder.path().join("chat.gguf");
    std::fs::write(&path, with_template(&plain, TEMPLATE).unwrap()).unwrap();
    let session = load(&path);
    assert_eq!(session.model().chat, Some(true));
    let asked = block_on(session.run(Request::new(chat(), 4).exact())).unwrap();
    // The same as the text that the template makes, which here begins and ends with control tokens of the file or none.
    let text = "system: Be brief.\nuser: The quick\n";
    let ids = block_on(session.tokenize(text)).unwrap();
    let told = asked.prompt.unwrap() as usize;
    assert!((ids.len()..=ids.len() + 2).contains(&told), "{told} tokens for {} of the text", ids.len());
    // Another template is another prompt.
    std::fs::write(&path, with_template(&plain, "{{ raise_exception('never') }}").unwrap()).unwrap();
    let refused = block_on(load(&path).run(Request::new(chat(), 4))).unwrap_err();
    assert!(refused.to_string().contains("never"), "{refused}");
}

#[test]
fn a_model_without_a_template_says_so_and_goes_on() {
    let session = common::session(MODEL, Variant::F32Safetensors);
    assert_eq!(session.model().chat, Some(false));
    let refused = block_on(session.run(Request::new(chat(), 4))).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("no chat template") && said.contains("plain prompts work"), "{said}");
    block_on(session.run(Request::text("The quick", 2))).unwrap();
}

#[test]
fn a_template_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(common::files(MODEL, Variant::F32Safetensors).dir).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    std::fs::write(folder.path().join("chat_template.jinja"), "{% if %}").unwrap();
    let session = load(folder.path());
    assert_eq!(session.model().chat, Some(false));
    let refused = block_on(session.run(Request::new(chat(), 4))).unwrap_err();
    assert!(refused.to_string().contains("cannot be used"), "{refused}");
}
