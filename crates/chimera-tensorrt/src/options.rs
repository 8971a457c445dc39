//! What an engine is built for and how hard the builder tries. Every field shapes the engine, so every field is part of
//! the cache's key. The precision is not here: networks are strongly typed, so it is the graph's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The compute capability that an engine is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Capability {
    /// That of the first device here, which must be there.
    Current,
    /// 7.5, Turing.
    Sm75,
    /// 8.0, Ampere of data centres.
    Sm80,
    /// 8.6, Ampere.
    Sm86,
    /// 8.9, Ada.
    Sm89,
    /// 12.0, Blackwell.
    Sm120,
    /// 12.1, Blackwell of workstations.
    Sm121,
}

impl Capability {
    /// Every capability that can be named without a device.
    pub const NAMED: [Self; 6] = [Self::Sm75, Self::Sm80, Self::Sm86, Self::Sm89, Self::Sm120, Self::Sm121];

    /// Major and minor number; `None` for [`Capability::Current`], which only a device knows.
    #[must_use]
    pub fn numbers(self) -> Option<(u32, u32)> {
        Some(match self {
            Self::Current => return None,
            Self::Sm75 => (7, 5),
            Self::Sm80 => (8, 0),
            Self::Sm86 => (8, 6),
            Self::Sm89 => (8, 9),
            Self::Sm120 => (12, 0),
            Self::Sm121 => (12, 1),
        })
    }

    /// The capability of these numbers, if engines can be built for it.
    #[must_use]
    pub fn from_numbers(major: u32, minor: u32) -> Option<Self> {
        Self::NAMED.into_iter().find(|known| known.numbers() == Some((major, minor)))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.numbers() {
            Some((major, minor)) => write!(f, "{major}.{minor}"),
            None => f.write_str("current"),
        }
    }
}

/// A name that is no compute capability engines can be built for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no engine is built for compute capability {0:?}: current, 7.5, 8.0, 8.6, 8.9, 12.0 and 12.1 are known"
)]
pub struct UnknownCapability(String);

impl FromStr for Capability {
    type Err = UnknownCapability;
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let plain = text.trim().to_ascii_lowercase();
        let plain = plain.strip_prefix("sm_").or_else(|| plain.strip_prefix("sm")).unwrap_or(&plain);
        [Self::Current]
            .into_iter()
            .chain(Self::NAMED)
            .find(|known| known.to_string() == plain || known.to_string().replace('.', "") == plain)
            .ok_or_else(|| UnknownCapability(text.to_owned()))
    }
}

impl TryFrom<String> for Capability {
    type Error = UnknownCapability;
    fn try_from(text: String) -> Result<Self, UnknownCapability> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.to_string()
    }
}

/// How an engine is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildOptions {
    capability: Capability,
    tf32: bool,
    level: u8,
    workspace: Option<u64>,
}

impl BuildOptions {
    /// For a capability: F32 products in full F32, the builder's usual level (3), and as much workspace as it likes.
    #[must_use]
    pub fn new(capability: Capability) -> Self {
        Self { capability, tf32: false, level: 3, workspace: None }
    }

    /// Whether F32 products may round their factors to 10 bits of mantissa (TF32). TensorRT's own default is yes; it is
    /// no here, because an engine that does so is not an F32 engine.
    #[must_use]
    pub fn tf32(mut self, allowed: bool) -> Self {
        self.tf32 = allowed;
        self
    }

    /// How long the builder searches, 0 to 5.
    ///
    /// # Errors
    /// The level that there is not.
    pub fn level(mut self, level: u8) -> Result<Self, OptionError> {
        if level > 5 {
            return Err(OptionError::Level(level));
        }
        self.level = level;
        Ok(self)
    }

    /// Most bytes of scratch memory that a kernel may take.
    ///
    /// # Errors
    /// None at all.
    pub fn workspace(mut self, bytes: u64) -> Result<Self, OptionError> {
        if bytes == 0 {
            return Err(OptionError::NoWorkspace);
        }
        self.workspace = Some(bytes);
        Ok(self)
    }

    /// The same for another capability.
    #[must_use]
    pub fn for_capability(mut self, capability: Capability) -> Self {
        self.capability = capability;
        self
    }

    /// What it is built for.
    #[must_use]
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// Whether TF32 is allowed.
    #[must_use]
    pub fn allows_tf32(&self) -> bool {
        self.tf32
    }

    /// The builder's level.
    #[must_use]
    pub fn optimisation_level(&self) -> u8 {
        self.level
    }

    /// The workspace's limit; `None` leaves it to the builder.
    #[must_use]
    pub fn workspace_limit(&self) -> Option<u64> {
        self.workspace
    }
}

impl fmt::Display for BuildOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tf32 = if self.tf32 { "on" } else { "off" };
        write!(f, "capability {}, TF32 {tf32}, level {}, workspace ", self.capability, self.level)?;
        match self.workspace {
            Some(bytes) => write!(f, "{bytes} B"),
            None => f.write_str("unlimited"),
        }
    }
}

/// What the runtime does when a shape comes for the first time. It is no part of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Specialisation {
    /// Kernels that take every shape of the profile. The cache grows by a token with each step of decoding, so no shape
    /// comes twice and nothing is gained by kernels for one.
    #[default]
    None,
    /// Kernels for the shape are compiled beside the passes and used once they are there: a measurement then has two
    /// kinds of passes in it.
    Lazy,
    /// Kernels for the shape are compiled before its first pass.
    Eager,
}

/// An option that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No such level.
    #[error("there is no optimisation level {0}: 0 to 5")]
    Level(u8),
    /// A limit of nothing.
    #[error("a workspace of 0 bytes: leave the limit out, or allow some")]
    NoWorkspace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_people_write_them() {
        for text in ["8.9", "sm89", "SM_89", "89", " 8.9 "] {
            assert_eq!(text.parse(), Ok(Capability::Sm89), "{text}");
        }
        assert_eq!("current".parse(), Ok(Capability::Current));
        // Hopper has no engines of this library.
        let said = "9.0".parse::<Capability>().unwrap_err().to_string();
        assert!(said.contains("\"9.0\"") && said.contains("12.0"), "{said}");
        assert!("".parse::<Capability>().is_err());
        for known in Capability::NAMED {
            let (major, minor) = known.numbers().unwrap();
            assert_eq!(Capability::from_numbers(major, minor), Some(known));
            assert_eq!(known.to_string().parse(), Ok(known));
        }
        assert_eq!(Capability::from_numbers(9, 0), None);
    }

    #[test]
    fn options_are_checked_and_f32_is_f32_by_default() {
        let options = BuildOptions::new(Capability::Sm89);
        assert!(!options.allows_tf32());
        assert_eq!(options.level(6), Err(OptionError::Level(6)));
        assert_eq!(options.workspace(0), Err(OptionError::NoWorkspace));
        let options = options.tf32(true).level(1).unwrap().workspace(1 << 20).unwrap();
        assert_eq!(options.to_string(), "capability 8.9, TF32 on, level 1, workspace 1048576 B");
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<BuildOptions>(&text).unwrap(), options);
    }
}
