//! What a model in process keeps for texts: its tokenizer and its chat template, or why it has none. A model without them
//! takes token ids.

use std::{path::Path, sync::Arc};

use crate::{ChatError, ChatTemplate, Tokenizer, TokenizerError};

/// A model's tokenizer and chat template.
#[derive(Debug, Clone)]
pub struct Texts {
    /// The tokenizer, or why there is none.
    pub tokenizer: Result<Arc<Tokenizer>, String>,
    /// The chat template, or why there is none.
    pub chat: Result<Arc<ChatTemplate>, String>,
}

impl Texts {
    /// What was found in a place, a file or a folder.
    #[must_use]
    pub fn new(
        place: &Path,
        tokenizer: Result<Tokenizer, TokenizerError>,
        chat: Result<Option<ChatTemplate>, ChatError>,
    ) -> Self {
        let chat = match chat {
            Ok(Some(template)) => Ok(Arc::new(template)),
            Ok(None) => Err(format!("{} brings no chat template", place.display())),
            Err(error) => Err(error.to_string()),
        };
        Self { tokenizer: tokenizer.map(Arc::new).map_err(|error| error.to_string()), chat }
    }

    /// What lies in a model's folder; see [`Tokenizer::beside`] and [`ChatTemplate::beside`].
    #[must_use]
    pub fn beside(folder: &Path, family: &str, vocabulary: usize) -> Self {
        Self::new(folder, Tokenizer::beside(folder, family, vocabulary), ChatTemplate::beside(folder))
    }
}
