//! What one event of a stream holds, as it stands on the wire: borrowed, and no more of it than is used.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Number, Value};

/// Text that is borrowed unless an escape forces a copy.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Debug, Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice<'a> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Text<'a>>,
    pub(super) token_ids: Option<Vec<u32>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Option<Number>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: Option<Number>,
    pub(super) completion_tokens: Option<Number>,
    pub(super) prompt_tokens_details: Option<PromptDetails>,
}

/// llama.cpp's, in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Timings {
    pub(super) prompt_ms: Option<f64>,
    pub(super) predicted_ms: Option<f64>,
    pub(super) cache_n: Option<f64>,
}

/// LM Studio's, in seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Stats {
    pub(super) time_to_first_token: Option<f64>,
    pub(super) generation_time: Option<f64>,
}

/// A list of which the first is kept, since one was asked for, and whether there are more: no list is built per token.
#[derive(Debug)]
pub(super) struct Choices<'a> {
    pub(super) first: Option<Choice<'a>>,
    pub(super) more: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<'a>(PhantomData<Choice<'a>>);
        impl<'de: 'a, 'a> Visitor<'de> for List<'a> {
            type Value = Choices<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let first = list.next_element()?;
                let mut more = false;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    more = true;
                }
                Ok(Choices { first, more })
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// One event's data, of a completion or a chat.
#[derive(Debug, Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) choices: Option<Choices<'a>>,
    pub(super) usage: Option<Usage>,
    pub(super) timings: Option<Timings>,
    pub(super) stats: Option<Stats>,
    /// llama.cpp's ids of this part.
    pub(super) tokens: Option<Vec<u32>>,
    pub(super) error: Option<Value>,
}

/// What an event says: thoughts before what they lead to, then calls of tools.
pub(super) fn said<'a>(text: Option<Text<'a>>, delta: Option<Delta<'a>>) -> Cow<'a, str> {
    let mut all = text.unwrap_or_default().0;
    let mut add = |more: Option<Text<'a>>| {
        let Some(Text(more)) = more else { return };
        if all.is_empty() {
            all = more;
        } else {
            all.to_mut().push_str(&more);
        }
    };
    if let Some(delta) = delta {
        // Some servers say the same thought under both names.
        let thought = delta.reasoning_content.filter(|text| !text.0.is_empty());
        add(thought.or(delta.reasoning));
        add(delta.content);
        for function in delta.tool_calls.into_iter().flatten().filter_map(|call| call.function) {
            add(function.name);
            add(function.arguments);
        }
    }
    all
}
