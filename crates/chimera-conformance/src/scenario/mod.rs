//! The scenarios, by subject. Each is a law of the contract in `chimera-core`, tried on a backend.

mod budget;
mod cancel;
mod identity;
mod lanes;
mod lifetime;
mod logits;
mod phases;
mod stream;
mod text;
mod tokens;
mod trouble;

pub(crate) use budget::*;
pub(crate) use cancel::*;
pub(crate) use identity::*;
pub(crate) use lanes::*;
pub(crate) use lifetime::*;
pub(crate) use logits::*;
pub(crate) use phases::*;
pub(crate) use stream::*;
pub(crate) use text::*;
pub(crate) use tokens::*;
pub(crate) use trouble::*;
