//! Makes the requests of a level: prompts, budgets and nonces. It is done one request ahead of the schedule, so that
//! nothing but sending is left when a request is due.

use std::sync::Arc;

use chimera_core::{BackendError, Capabilities, Message, Prompt, Request, Role, Session};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{LoadConfig, LoadPlan, Prompts};

/// Words that tokenizers of English have whole, with the space before them.
const WORDS: [&str; 64] = [
    " the", " of", " and", " to", " in", " is", " that", " for", " it", " as", " was", " with", " be", " by",
    " on", " not", " he", " his", " but", " at", " are", " this", " have", " from", " or", " had", " an",
    " they", " which", " one", " you", " were", " all", " her", " she", " there", " would", " their", " we",
    " him", " been", " has", " when", " who", " will", " no", " more", " if", " out", " so", " up", " said",
    " what", " its", " about", " than", " into", " them", " can", " only", " other", " time", " new",
    " some",
];

/// Letters of a nonce. A letter after a space is one token nearly everywhere, so all prompts get equally longer; twelve
/// make two equal nonces in a million requests a matter of one in a hundred thousand.
const NONCE: u32 = 12;

/// What a stream of random numbers is for. Streams of one block are shared by its levels: they then differ in the level
/// alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Arrivals = 1,
    Requests = 2,
    Order = 3,
}

/// The random numbers of one purpose in one block.
pub(crate) fn stream(seed: u64, block: u32, purpose: Purpose) -> Xoshiro256PlusPlus {
    let mut own = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x6c6f_6164);
    for _ in 0..3 {
        // One jump of the generator per field keeps streams apart, whatever the numbers.
        own =
            Xoshiro256PlusPlus::seed_from_u64(own.random::<u64>() ^ (u64::from(block) << 8) ^ purpose as u64);
    }
    own
}

/// Token ids of words and letters, where the backend takes ids.
#[derive(Debug, Clone)]
pub(crate) struct Vocabulary {
    words: Vec<u32>,
    letters: Vec<u32>,
}

impl Vocabulary {
    /// Asks the backend, where it can be asked; `None` where prompts are to be text.
    pub(crate) async fn of(
        plan: &LoadPlan,
        session: &dyn Session,
        capabilities: &Capabilities,
    ) -> Result<Option<Self>, BackendError> {
        let config = plan.config();
        let synthetic = matches!(config.prompts, Prompts::Synthetic { .. });
        if !synthetic || config.chat || !capabilities.tokenize || !capabilities.token_prompts {
            return Ok(None);
        }
        let words = session.tokenize(&WORDS.concat()).await?;
        let letters = session.tokenize(&('a'..='z').map(|c| format!(" {c}")).collect::<String>()).await?;
        let enough = !words.is_empty() && !letters.is_empty();
        Ok(enough.then_some(Self { words, letters }))
    }
}

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) request: Request,
    /// Prompt tokens, where they are known exactly.
    pub(crate) expected: Option<u32>,
}

/// Makes requests one after the other. A block's levels get the same ones, nonces excepted.
pub(crate) struct Maker<'a> {
    plan: &'a LoadPlan,
    vocabulary: Option<&'a Vocabulary>,
    exact: bool,
    rng: Xoshiro256PlusPlus,
    nonces: Xoshiro256PlusPlus,
    order: Vec<u32>,
    made: u64,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(
        plan: &'a LoadPlan,
        vocabulary: Option<&'a Vocabulary>,
        capabilities: &Capabilities,
        block: u32,
        nonces: Xoshiro256PlusPlus,
    ) -> Self {
        let config = plan.config();
        let mut rng = stream(config.seed, block, Purpose::Requests);
        let mut order: Vec<u32> = (0_u32..).take(plan.prompts.len()).collect();
        order.shuffle(&mut rng);
        let exact = config.exact && capabilities.exact_budget;
        Self { plan, vocabulary, exact, rng, nonces, order, made: 0 }
    }

    /// The generator of nonces, for the level that comes next.
    pub(crate) fn into_nonces(self) -> Xoshiro256PlusPlus {
        self.nonces
    }

    pub(crate) fn next(&mut self) -> Prepared {
        let plan = self.plan;
        let config = plan.config();
        let number = self.made;
        self.made += 1;
        let (prompt, own_budget, expected) = match &config.prompts {
            Prompts::Synthetic { tokens } => {
                let tokens = tokens.draw(&mut self.rng);
                let (prompt, expected) = self.synthetic(config, tokens);
                (prompt, None, expected)
            }
            Prompts::File { .. } => {
                let place = (number % self.order.len().max(1) as u64) as usize;
                let index = self.order.get(place).copied().unwrap_or(0) as usize;
                match plan.prompts.get(index) {
                    Some(found) => (self.text(config, &found.prompt), found.max_tokens, None),
                    // A plan with a file has prompts; an empty one would be refused by the backend.
                    None => (Prompt::Text(Arc::from("")), None, None),
                }
            }
        };
        // Drawn whether or not it is used, so that one prompt's own budget does not shift the others.
        let drawn = config.output.draw(&mut self.rng);
        let request = Request {
            prompt,
            max_tokens: own_budget.unwrap_or(drawn),
            seed: config.seed.wrapping_add(number),
            ignore_eos: self.exact,
            sampling: config.sampling,
        };
        Prepared { request, expected }
    }

    fn synthetic(&mut self, config: &LoadConfig, tokens: u32) -> (Prompt, Option<u32>) {
        let nonce = if config.nonce { NONCE.min(tokens) } else { 0 };
        if let Some(vocabulary) = self.vocabulary {
            let mut ids = Vec::with_capacity(tokens as usize);
            for place in 0..tokens {
                let (from, rng) = if place < nonce {
                    (&vocabulary.letters, &mut self.nonces)
                } else {
                    (&vocabulary.words, &mut self.rng)
                };
                ids.extend(from.get(rng.random_range(0..from.len())));
            }
            return (Prompt::Tokens(ids.into()), Some(tokens));
        }
        let mut text = String::with_capacity(tokens as usize * 6);
        self.push_nonce(&mut text, nonce);
        for _ in nonce..tokens {
            text.push_str(WORDS.get(self.rng.random_range(0..WORDS.len())).copied().unwrap_or_default());
        }
        (wrap(config, text), None)
    }

    fn text(&mut self, config: &LoadConfig, prompt: &Arc<str>) -> Prompt {
        if !config.nonce {
            return if config.chat { chat(prompt) } else { Prompt::Text(Arc::clone(prompt)) };
        }
        let mut text = String::with_capacity(prompt.len() + 2 * NONCE as usize + 1);
        self.push_nonce(&mut text, NONCE);
        text.push('\n');
        text.push_str(prompt);
        wrap(config, text)
    }

    fn push_nonce(&mut self, text: &mut String, letters: u32) {
        for _ in 0..letters {
            text.push(' ');
            text.push(char::from(b'a' + self.nonces.random_range(0..26_u8)));
        }
    }
}

fn wrap(config: &LoadConfig, text: String) -> Prompt {
    let text = Arc::from(text);
    if config.chat { chat(&text) } else { Prompt::Text(text) }
}

fn chat(content: &Arc<str>) -> Prompt {
    Prompt::Chat(Arc::from([Message { role: Role::User, content: Arc::clone(content) }]))
}
