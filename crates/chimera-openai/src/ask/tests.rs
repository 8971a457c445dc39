//! Requests as they go out, by flavour.

use serde_json::{Value, json};

use super::*;

fn held(flavour: Flavour) -> Held {
    Held { model: "m".into(), flavour, cache_prompt: false, completions: true, chat: true }
}

fn id() -> BackendId {
    BackendId::new("o")
}

fn body(flavour: Flavour, request: &Request) -> Value {
    serde_json::from_slice(&held(flavour).generation(request, &id()).unwrap().json).unwrap()
}

fn chat() -> Request {
    let messages = [
        Message { role: Role::System, content: "Be brief.".into() },
        Message { role: Role::User, content: "Hi".into() },
    ];
    Request::new(Prompt::Chat(messages.into()), 7)
}

const ALL: [Flavour; 7] = [
    Flavour::Plain,
    Flavour::LlamaCpp,
    Flavour::Vllm,
    Flavour::Tgi,
    Flavour::SgLang,
    Flavour::LmStudio,
    Flavour::Chimera,
];

#[test]
fn each_kind_is_asked_in_its_own_words() {
    let greedy = Request::text("größer", 7).seed(3);
    assert_eq!(
        body(Flavour::Plain, &greedy),
        json!({
            "model": "m", "prompt": "größer", "max_tokens": 7, "stream": true,
            "stream_options": {"include_usage": true}, "seed": 3, "temperature": 0.0, "top_p": 1.0,
            "presence_penalty": 0.0, "frequency_penalty": 0.0,
        })
    );
    assert_eq!(
        body(Flavour::LlamaCpp, &greedy),
        json!({
            "model": "m", "prompt": "größer", "max_tokens": 7, "stream": true,
            "stream_options": {"include_usage": true}, "seed": 3, "temperature": 0.0, "top_p": 1.0, "top_k": 1,
            "min_p": 0.0, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "ignore_eos": false, "cache_prompt": false, "timings_per_token": false,
        })
    );
    for flavour in [Flavour::Vllm, Flavour::SgLang] {
        assert_eq!(
            body(flavour, &greedy.clone().exact()),
            json!({
                "model": "m", "prompt": "größer", "max_tokens": 7, "stream": true,
                "stream_options": {"include_usage": true, "continuous_usage_stats": true}, "seed": 3,
                "temperature": 0.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
                "presence_penalty": 0.0, "frequency_penalty": 0.0, "ignore_eos": true,
            })
        );
    }
    // No temperature is greedy for a raw completion of TGI, a zero for its chat; its penalties are left alone.
    let tgi = body(Flavour::Tgi, &greedy);
    assert_eq!(
        (&tgi["temperature"], &tgi["top_p"], &tgi["presence_penalty"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(body(Flavour::Tgi, &chat())["temperature"], json!(0.0));
}

#[test]
fn sampling_is_sent_or_refused_and_never_forgotten() {
    let hot = Sampling { temperature: 0.5, top_k: Some(9), top_p: Some(0.25), repeat_penalty: 1.5 };
    let request = Request::text("x", 7).sampling(hot);
    for flavour in ALL {
        match held(flavour).generation(&request, &id()) {
            Ok(_) => {
                let body = body(flavour, &request);
                let penalty = body.get("repeat_penalty").or(body.get("repetition_penalty"));
                assert_eq!(
                    (&body["temperature"], &body["top_k"], &body["top_p"], penalty),
                    (&json!(0.5), &json!(9), &json!(0.25), Some(&json!(1.5))),
                    "{flavour}"
                );
            }
            Err(error) => {
                assert!(matches!(flavour, Flavour::Plain | Flavour::Tgi), "{flavour}: {error}");
                assert_eq!(error.code(), "unsupported");
            }
        }
    }
    // What cuts below the largest logit does not matter when it is taken.
    let cold = Sampling { temperature: 0.0, top_k: Some(9), top_p: Some(0.25), repeat_penalty: 1.0 };
    for flavour in ALL {
        held(flavour).generation(&Request::text("x", 7).sampling(cold), &id()).unwrap();
    }
    let open = Sampling { temperature: 1.0, ..Sampling::default() };
    assert_eq!(body(Flavour::LlamaCpp, &Request::text("x", 1).sampling(open))["top_k"], json!(0));
    assert_eq!(body(Flavour::Tgi, &Request::text("x", 1).sampling(open))["temperature"], json!(1.0));
}

#[test]
fn chats_and_token_ids_go_where_they_belong() {
    for flavour in ALL {
        let asked = held(flavour).generation(&chat(), &id()).unwrap();
        assert!(asked.path.ends_with("/chat/completions"), "{flavour}");
        let json: Value = serde_json::from_slice(&asked.json).unwrap();
        assert_eq!(
            json["messages"],
            json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
        );
        let ids = held(flavour).generation(&Request::tokens(vec![1, 2], 3), &id());
        match ids {
            Ok(asked) => {
                let json: Value = serde_json::from_slice(&asked.json).unwrap();
                assert_eq!(json["prompt"], json!([1, 2]));
                assert!(flavour.takes_ids() && asked.path == "/v1/completions");
            }
            Err(error) => assert!(!flavour.takes_ids() && error.code() == "unsupported", "{flavour}"),
        }
    }
    let asked = held(Flavour::LmStudio).generation(&Request::text("x", 1), &id()).unwrap();
    assert_eq!(asked.path, "/api/v0/completions");
}

#[test]
fn what_a_server_cannot_do_is_refused_before_it_is_asked() {
    let code = |request: Request| held(Flavour::Plain).generation(&request, &id()).unwrap_err().code();
    assert_eq!(code(Request::text("x", 0)), "unsupported");
    assert_eq!(code(Request::text("x", 2).exact()), "unsupported");
    assert_eq!(code(Request::tokens(vec![1], 2)), "unsupported");
    assert_eq!(code(Request::text("", 2)), "invalid-request");
    assert_eq!(code(Request::new(Prompt::Chat([].into()), 2)), "invalid-request");
    assert_eq!(code(Request::text("x", u32::MAX)), "invalid-request");
    let sampled = |sampling| code(Request::text("x", 1).sampling(sampling));
    let base = Sampling::default();
    assert_eq!(sampled(Sampling { temperature: -1.0, ..base }), "invalid-request");
    assert_eq!(sampled(Sampling { temperature: f32::NAN, ..base }), "invalid-request");
    assert_eq!(sampled(Sampling { top_p: Some(0.0), ..base }), "invalid-request");
    assert_eq!(sampled(Sampling { repeat_penalty: 0.0, ..base }), "invalid-request");
    assert_eq!(sampled(Sampling { repeat_penalty: 1.1, ..base }), "unsupported");
    assert_eq!(sampled(Sampling { temperature: 1.0, top_k: Some(2), ..base }), "unsupported");
    let empty = held(Flavour::Vllm).generation(&Request::tokens(vec![], 2), &id());
    assert_eq!(empty.unwrap_err().code(), "invalid-request");
}

#[test]
fn what_was_switched_off_is_not_asked() {
    let chats = Held { completions: false, ..held(Flavour::Vllm) };
    assert_eq!(chats.generation(&Request::text("x", 1), &id()).unwrap_err().code(), "unsupported");
    assert_eq!(chats.generation(&Request::tokens(vec![1], 1), &id()).unwrap_err().code(), "unsupported");
    assert_eq!(chats.nudge(&id()).unwrap().path, "/v1/chat/completions");
    let raw = Held { chat: false, ..held(Flavour::Vllm) };
    assert_eq!(raw.generation(&chat(), &id()).unwrap_err().code(), "unsupported");
    let nudge: Value = serde_json::from_slice(&raw.nudge(&id()).unwrap().json).unwrap();
    assert_eq!((&nudge["stream"], &nudge["max_tokens"]), (&json!(false), &json!(1)));
    assert_eq!(nudge.get("stream_options"), None);
}

#[test]
fn a_budget_has_two_names() {
    let asked = held(Flavour::Plain).generation(&chat(), &id()).unwrap();
    let other: Value = serde_json::from_slice(&renamed(&asked.json).unwrap()).unwrap();
    let mut meant: Value = serde_json::from_slice(&asked.json).unwrap();
    let budget = meant.as_object_mut().unwrap().remove("max_tokens").unwrap();
    meant["max_completion_tokens"] = budget;
    assert_eq!(other, meant);
    assert_eq!(renamed(&renamed(&asked.json).unwrap()), None);
}

#[test]
fn seeds_are_never_negative_and_small_ones_are_kept() {
    assert_eq!((seed(0), seed(42), seed(0x7fff_ffff)), (0, 42, 0x7fff_ffff));
    assert_ne!(seed(1), seed(1 << 40));
    assert!(seed(u64::MAX) <= 0x7fff_ffff);
}
