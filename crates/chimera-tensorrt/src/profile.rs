//! Optimisation profiles: for which shapes an engine is built, and which of them a shape falls into. A shape that falls
//! into none is an error that names what there is; there is no profile to fall back to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One extent of a shape: its least, usual and greatest value. The kernels are chosen for the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32, u32)", into = "(u32, u32, u32)")]
pub struct Extent {
    min: u32,
    opt: u32,
    max: u32,
}

impl Extent {
    /// An extent.
    ///
    /// # Errors
    /// The values are not in order.
    pub fn new(min: u32, opt: u32, max: u32) -> Result<Self, ProfileError> {
        if min <= opt && opt <= max {
            return Ok(Self { min, opt, max });
        }
        Err(ProfileError::Order { min, opt, max })
    }

    /// An extent of one value.
    #[must_use]
    pub fn fixed(value: u32) -> Self {
        Self { min: value, opt: value, max: value }
    }

    /// The least value.
    #[must_use]
    pub fn min(self) -> u32 {
        self.min
    }

    /// The value that kernels are chosen for.
    #[must_use]
    pub fn opt(self) -> u32 {
        self.opt
    }

    /// The greatest value.
    #[must_use]
    pub fn max(self) -> u32 {
        self.max
    }

    fn holds(self, value: u32) -> bool {
        (self.min..=self.max).contains(&value)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            opt: self.opt.saturating_add(other.opt),
            max: self.max.saturating_add(other.max),
        }
    }
}

impl TryFrom<(u32, u32, u32)> for Extent {
    type Error = ProfileError;
    fn try_from((min, opt, max): (u32, u32, u32)) -> Result<Self, ProfileError> {
        Self::new(min, opt, max)
    }
}

impl From<Extent> for (u32, u32, u32) {
    fn from(extent: Extent) -> Self {
        (extent.min, extent.opt, extent.max)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            return write!(f, "{}", self.min);
        }
        write!(f, "{}..{}..{}", self.min, self.opt, self.max)
    }
}

/// The shape of one forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Lanes.
    pub batch: u32,
    /// Tokens of each lane that this pass reads.
    pub sequence: u32,
    /// Positions of each lane that were read before.
    pub past: u32,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {}, sequence {}, past {}", self.batch, self.sequence, self.past)
    }
}

/// Shapes that one set of kernels is chosen for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    name: String,
    batch: Extent,
    sequence: Extent,
    past: Extent,
}

impl Profile {
    /// A profile.
    ///
    /// # Errors
    /// No name, no lane, no token, or more positions than can be counted.
    pub fn new(
        name: impl Into<String>,
        batch: Extent,
        sequence: Extent,
        past: Extent,
    ) -> Result<Self, ProfileError> {
        let profile = Self { name: name.into(), batch, sequence, past };
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let refuse = |what| Err(ProfileError::Empty { profile: self.name.clone(), what });
        if self.name.trim().is_empty() {
            return refuse("name");
        }
        if self.batch.min == 0 {
            return refuse("lane");
        }
        if self.sequence.min == 0 {
            return refuse("token");
        }
        if self.sequence.max.checked_add(self.past.max).is_none_or(|all| all > i32::MAX as u32) {
            return Err(ProfileError::TooLong { profile: self.name.clone() });
        }
        Ok(())
    }

    /// Its name, for errors and records.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lanes.
    #[must_use]
    pub fn batch(&self) -> Extent {
        self.batch
    }

    /// Tokens of each lane that one pass reads.
    #[must_use]
    pub fn sequence(&self) -> Extent {
        self.sequence
    }

    /// Positions of each lane that were read before.
    #[must_use]
    pub fn past(&self) -> Extent {
        self.past
    }

    /// Positions that a pass attends to: those before it and its own.
    #[must_use]
    pub fn total(&self) -> Extent {
        self.past.plus(self.sequence)
    }

    /// Whether a shape falls into it.
    #[must_use]
    pub fn admits(&self, shape: Shape) -> bool {
        self.batch.holds(shape.batch) && self.sequence.holds(shape.sequence) && self.past.holds(shape.past)
    }

    /// How much it covers: of several that admit a shape the narrowest has kernels nearest to it.
    fn breadth(&self) -> u128 {
        u128::from(self.batch.max) * u128::from(self.sequence.max) * u128::from(self.total().max)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (batch {}, sequence {}, past {})", self.name, self.batch, self.sequence, self.past)
    }
}

/// The profiles of one engine, in the order in which it is built with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Profile>", into = "Vec<Profile>")]
pub struct Profiles(Vec<Profile>);

impl Profiles {
    /// Some profiles.
    ///
    /// # Errors
    /// None at all, two of one name, or one that is none.
    pub fn new(profiles: Vec<Profile>) -> Result<Self, ProfileError> {
        if profiles.is_empty() {
            return Err(ProfileError::None);
        }
        for (index, profile) in profiles.iter().enumerate() {
            profile.check()?;
            if profiles.iter().skip(index + 1).any(|other| other.name == profile.name) {
                return Err(ProfileError::Twice { profile: profile.name.clone() });
            }
        }
        Ok(Self(profiles))
    }

    /// What generating takes: one profile that reads prompts in pieces of up to `chunk` tokens, and one that reads a
    /// token at a time. `context` is the longest prompt and answer together.
    ///
    /// # Errors
    /// No lane, no token, or a context too short for one step.
    pub fn for_generation(lanes: u32, chunk: u32, context: u32) -> Result<Self, ProfileError> {
        if lanes == 0 || chunk == 0 || context < 2 {
            let (name, what) = ("generation".to_owned(), if lanes == 0 { "lane" } else { "token" });
            return Err(ProfileError::Empty { profile: name, what });
        }
        let chunk = chunk.min(context);
        let batch = Extent::new(1, 1, lanes)?;
        let prefill =
            Profile::new("prefill", batch, Extent::new(1, chunk, chunk)?, Extent::new(0, 0, context - 1)?)?;
        let decode =
            Profile::new("decode", batch, Extent::fixed(1), Extent::new(1, context / 2, context - 1)?)?;
        Self::new(vec![prefill, decode])
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Profile] {
        &self.0
    }

    /// The profile that a shape falls into: of several the narrowest, of equals the first.
    ///
    /// # Errors
    /// It falls into none.
    pub fn select(&self, shape: Shape) -> Result<usize, OutOfProfile> {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, profile)| profile.admits(shape))
            .min_by_key(|(_, profile)| profile.breadth())
            .map(|(index, _)| index)
            .ok_or_else(|| OutOfProfile { shape, profiles: self.to_string() })
    }

    /// Most lanes that a first piece of a prompt may have.
    #[must_use]
    pub fn max_batch(&self) -> u32 {
        self.starts().map(|profile| profile.batch.max).max().unwrap_or(0)
    }

    /// Most tokens of a first piece of a prompt.
    #[must_use]
    pub fn max_chunk(&self) -> u32 {
        self.starts().map(|profile| profile.sequence.max).max().unwrap_or(0)
    }

    /// Most positions that some pass attends to.
    #[must_use]
    pub fn max_total(&self) -> u32 {
        self.0.iter().map(|profile| profile.total().max).max().unwrap_or(0)
    }

    /// Those that take a prompt's beginning.
    fn starts(&self) -> impl Iterator<Item = &Profile> {
        self.0.iter().filter(|profile| profile.past.min == 0)
    }
}

impl TryFrom<Vec<Profile>> for Profiles {
    type Error = ProfileError;
    fn try_from(profiles: Vec<Profile>) -> Result<Self, ProfileError> {
        Self::new(profiles)
    }
}

impl From<Profiles> for Vec<Profile> {
    fn from(profiles: Profiles) -> Self {
        profiles.0
    }
}

impl fmt::Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, profile) in self.0.iter().enumerate() {
            write!(f, "{}{profile}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Profiles that cannot be: change them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// An extent whose values are out of order.
    #[error(
        "an extent of {min}..{opt}..{max}: the least, the usual and the greatest value must be in this order"
    )]
    Order {
        /// Least.
        min: u32,
        /// Usual.
        opt: u32,
        /// Greatest.
        max: u32,
    },
    /// A profile that admits a pass over nothing.
    #[error("profile {profile:?} admits no {what}: it must have one at least")]
    Empty {
        /// Which.
        profile: String,
        /// What it lacks.
        what: &'static str,
    },
    /// More positions than a 32-bit index counts.
    #[error("profile {profile:?} reaches beyond 2^31 positions")]
    TooLong {
        /// Which.
        profile: String,
    },
    /// Two of one name.
    #[error("two profiles are called {profile:?}")]
    Twice {
        /// The name.
        profile: String,
    },
    /// None at all.
    #[error("an engine needs one profile at least")]
    None,
}

/// A shape that the engine was not built for: ask for another, or build with a profile that admits it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shape} is outside every profile of the engine (least..usual..greatest): {profiles}")]
pub struct OutOfProfile {
    /// What was asked.
    pub shape: Shape,
    /// What there is.
    pub profiles: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(batch: u32, sequence: u32, past: u32) -> Shape {
        Shape { batch, sequence, past }
    }

    #[test]
    fn wrong_extents_and_profiles_are_refused() {
        assert_eq!(Extent::new(2, 1, 3), Err(ProfileError::Order { min: 2, opt: 1, max: 3 }));
        assert!(Extent::new(1, 4, 3).is_err());
        let one = Extent::fixed(1);
        let none = Extent::new(0, 1, 1).unwrap();
        for (name, batch, sequence) in [("p", none, one), ("p", one, none), (" ", one, one)] {
            assert!(matches!(Profile::new(name, batch, sequence, none), Err(ProfileError::Empty { .. })));
        }
        let far = Extent::new(0, 0, i32::MAX as u32).unwrap();
        assert!(matches!(Profile::new("p", one, one, far), Err(ProfileError::TooLong { .. })));
        let profile = Profile::new("p", one, one, none).unwrap();
        assert_eq!(Profiles::new(vec![]), Err(ProfileError::None));
        assert!(matches!(Profiles::new(vec![profile.clone(), profile]), Err(ProfileError::Twice { .. })));
        assert!(Profiles::for_generation(0, 8, 64).is_err());
        assert!(Profiles::for_generation(1, 0, 64).is_err());
        assert!(Profiles::for_generation(1, 8, 1).is_err());
    }

    #[test]
    fn a_shape_falls_into_the_narrowest_profile() {
        let profiles = Profiles::for_generation(2, 16, 64).unwrap();
        assert_eq!(profiles.select(shape(1, 16, 0)), Ok(0));
        assert_eq!(profiles.select(shape(2, 7, 48)), Ok(0));
        // One token after others is in both; the kernels of `decode` are chosen for it.
        assert_eq!(profiles.select(shape(1, 1, 5)), Ok(1));
        assert_eq!(profiles.select(shape(1, 1, 0)), Ok(0));
        assert_eq!((profiles.max_batch(), profiles.max_chunk(), profiles.max_total()), (2, 16, 79));
    }

    #[test]
    fn a_shape_outside_names_what_there_is() {
        let profiles = Profiles::for_generation(2, 16, 64).unwrap();
        for outside in [shape(3, 1, 4), shape(1, 17, 0), shape(1, 1, 64), shape(0, 1, 1)] {
            let said = profiles.select(outside).unwrap_err().to_string();
            assert!(said.starts_with(&outside.to_string()), "{said}");
            assert!(said.contains("prefill (batch 1..1..2, sequence 1..16..16, past 0..0..63)"), "{said}");
            assert!(said.contains("decode (batch 1..1..2, sequence 1, past 1..32..63)"), "{said}");
        }
    }

    #[test]
    fn profiles_are_read_as_they_are_written_and_checked() {
        let profiles = Profiles::for_generation(1, 8, 32).unwrap();
        let text = serde_json::to_string(&profiles).unwrap();
        assert_eq!(serde_json::from_str::<Profiles>(&text).unwrap(), profiles);
        assert!(serde_json::from_str::<Profiles>(&text.replacen("[1,8,8]", "[9,8,8]", 1)).is_err());
        assert!(serde_json::from_str::<Profiles>(&text.replacen("[1,8,8]", "[0,8,8]", 1)).is_err());
        assert!(serde_json::from_str::<Profiles>("[]").is_err());
    }
}
