//! Finding out what kind of server it is, by what it answers to harmless requests, never by a version table.

use chimera_core::BackendError;
use serde_json::Value;

use crate::{
    flavour::Flavour,
    models::Listed,
    refusal::{KEY, refused},
    server::Server,
};

/// What was found out.
#[derive(Debug)]
pub(crate) struct Found {
    /// Never [`Flavour::Auto`].
    pub(crate) flavour: Flavour,
    /// Why it is taken for that.
    pub(crate) evidence: String,
    pub(crate) version: Option<String>,
    pub(crate) models: Vec<Listed>,
    /// Generations at once, where that is told.
    pub(crate) slots: Option<u32>,
}

/// Asks a server what it is and what it has.
///
/// # Errors
/// Why that could not be found out: nobody answers, a key is wanted, or it is no such server.
pub(crate) async fn find(server: &Server, asked: Flavour) -> Result<Found, BackendError> {
    let looked = server.look("/v1/models").await.map_err(|error| server.teller.wire(error))?;
    let models = looked.json().as_ref().and_then(Listed::read);
    if models.is_none() && looked.status != 404 {
        return Err(match looked.status {
            200 => {
                let excerpt =
                    String::from_utf8_lossy(looked.body.get(..120).unwrap_or(&looked.body)).into_owned();
                server
                    .teller
                    .protocol(format_args!("/v1/models answers what is no list of models: {excerpt}"))
            }
            401 | 403 => server.teller.unavailable(format_args!(
                "status {} from /v1/models: the server wants a key; {KEY}",
                looked.status
            )),
            status => refused(&server.teller, status, &looked.body, "", "/v1/models"),
        });
    }
    let listed = models.is_some();
    let models = models.unwrap_or_default();
    let owners = |owner: &str| models.iter().any(|model| model.owner == owner);
    let by_owner = [
        ("llamacpp", Flavour::LlamaCpp),
        ("vllm", Flavour::Vllm),
        ("sglang", Flavour::SgLang),
        ("chimera-serve", Flavour::Chimera),
    ]
    .into_iter()
    .find(|(owner, _)| owners(owner));
    let (flavour, evidence) = match (asked, by_owner) {
        (Flavour::Auto, Some((owner, flavour))) => (flavour, format!("its models are owned by `{owner}`")),
        (Flavour::Auto, None) if looked.server.eq_ignore_ascii_case("llama.cpp") => {
            (Flavour::LlamaCpp, "it calls itself llama.cpp".to_owned())
        }
        (Flavour::Auto, None) => by_paths(server).await,
        (said, _) => (said, "it was said".to_owned()),
    };
    let mut found = Found { flavour, evidence, version: None, models, slots: None };
    found.own(server).await;
    if !listed && found.models.is_empty() {
        return Err(server
            .teller
            .unsupported("/v1/models: the server lists no models, so none can be found"));
    }
    Ok(found)
}

/// The paths that only one kind has, in an order that does not matter: each is known by what it answers.
async fn by_paths(server: &Server) -> (Flavour, String) {
    for (path, flavour) in [
        ("/props", Flavour::LlamaCpp),
        ("/info", Flavour::Tgi),
        ("/get_model_info", Flavour::SgLang),
        ("/api/v0/models", Flavour::LmStudio),
    ] {
        if server.look_json(path).await.is_some_and(|answer| is_of(flavour, &answer)) {
            return (flavour, format!("it answers {path}"));
        }
    }
    (Flavour::Plain, "nothing that one kind alone has".to_owned())
}

/// Whether an answer is one that this kind gives to its own path.
fn is_of(flavour: Flavour, answer: &Value) -> bool {
    let has = |key: &str| answer.get(key).is_some();
    match flavour {
        Flavour::LlamaCpp => has("default_generation_settings"),
        Flavour::Tgi => has("model_id") && (has("max_total_tokens") || has("max_concurrent_requests")),
        Flavour::SgLang => has("model_path") && has("is_generation"),
        Flavour::LmStudio => answer.get("data").and_then(Value::as_array).is_some_and(|list| {
            list.iter().any(|entry| entry.get("compatibility_type").is_some() || entry.get("state").is_some())
        }),
        _ => false,
    }
}

impl Found {
    /// Asks what only this kind tells. What is not answered is not known.
    async fn own(&mut self, server: &Server) {
        let string = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number =
            |value: Option<&Value>| -> Option<u32> { value?.as_u64().filter(|n| *n > 0)?.try_into().ok() };
        match self.flavour {
            Flavour::LlamaCpp => {
                let Some(props) = server.look_json("/props").await else { return };
                self.version = string(&props, "build_info");
                self.slots = number(props.get("total_slots"));
                let settings = props.get("default_generation_settings");
                let context = number(settings.and_then(|settings| settings.get("n_ctx")));
                // A router serves several models, and these are the properties of none of them.
                if let [model] = &mut self.models[..] {
                    model.context = context.or(model.context);
                    model.quantisation = model.quantisation.take().or_else(|| string(&props, "model_ftype"));
                }
            }
            Flavour::Vllm => {
                let answer = server.look_json("/version").await;
                self.version = answer.and_then(|answer| string(&answer, "version"));
            }
            Flavour::SgLang => {
                let answer = server.look_json("/get_server_info").await;
                self.version = answer.and_then(|answer| string(&answer, "version"));
            }
            Flavour::Chimera => {
                let answer = server.look_json("/api/version").await;
                self.version = answer.and_then(|answer| string(&answer, "version"));
            }
            Flavour::Tgi => {
                let Some(info) = server.look_json("/info").await else { return };
                self.version = string(&info, "version");
                let context = number(info.get("max_total_tokens"));
                if self.models.is_empty() {
                    let id = string(&info, "model_id").filter(|id| !id.is_empty());
                    self.models.extend(id.map(|id| Listed { id, ..Listed::default() }));
                }
                if let [model] = &mut self.models[..] {
                    model.context = context.or(model.context);
                }
            }
            Flavour::LmStudio => {
                let answer = server.look_json("/api/v0/models").await;
                if let Some(models) = answer.as_ref().and_then(Listed::read).filter(|list| !list.is_empty()) {
                    self.models = models;
                }
            }
            Flavour::Auto | Flavour::Plain => {}
        }
    }

    /// The listed model of a name.
    ///
    /// # Errors
    /// [`BackendError::ModelNotFound`] with what is listed.
    pub(crate) fn model(&self, server: &Server, name: &str) -> Result<&Listed, BackendError> {
        if let Some(model) = self.models.iter().find(|model| model.is_called(name)) {
            return Ok(model);
        }
        let mut names: Vec<&str> = self.models.iter().map(|model| model.id.as_str()).take(8).collect();
        if self.models.len() > names.len() {
            names.push("…");
        }
        let names = server.teller.shown(&names.join(", "));
        // llama.cpp answers to any name with the one model that it has.
        let any = if self.flavour == Flavour::LlamaCpp && self.models.len() == 1 {
            " and would answer with it to any name, so the name must be the listed one"
        } else {
            ""
        };
        Err(server.teller.not_found(name, format_args!("/v1/models lists {names}{any}")))
    }
}
