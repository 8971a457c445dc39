//! Native parts that are built in where `cargo xtask fetch` brought what building them takes. Every cargo that xtask
//! starts gets the features and the environment of all of them: features that differ from call to call would have them
//! built several times. A new part is one line in [`PARTS`].

use std::{ffi::OsString, process::Command};

use crate::fetch;

/// A native part.
struct Part {
    /// Features that need it, each with its package: `chimera-cli/llamacpp`.
    features: &'static [&'static str],
    /// The environment that building and running it takes; `None` where something is missing.
    environment: fn() -> Option<Vec<(&'static str, OsString)>>,
}

const PARTS: &[Part] = &[
    Part { features: fetch::llama_cpp::FEATURES, environment: fetch::llama_cpp::environment },
    Part { features: fetch::tensorrt::FEATURES, environment: fetch::tensorrt::environment },
];

/// Sets the environment of every part that is here.
pub(crate) fn equip(command: &mut Command) {
    for part in PARTS {
        for (name, value) in (part.environment)().unwrap_or_default() {
            command.env(name, value);
        }
    }
}

/// Adds the features of every part that is here: those of one package, or of all.
pub(crate) fn features(command: &mut Command, package: Option<&str>) {
    let here = PARTS.iter().filter(|part| (part.environment)().is_some());
    let list = select(here.flat_map(|part| part.features.iter().copied()), package);
    if !list.is_empty() {
        command.arg("--features").arg(list);
    }
}

fn select<'a>(features: impl Iterator<Item = &'a str>, package: Option<&str>) -> String {
    let of =
        |feature: &str| feature.split_once('/').is_some_and(|(name, _)| package.is_none_or(|p| p == name));
    features.filter(|feature| of(feature)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_gets_its_own_features() {
        let all = ["chimera-cli/a", "chimera-benches/a", "chimera-cli/b"];
        assert_eq!(select(all.into_iter(), None), "chimera-cli/a,chimera-benches/a,chimera-cli/b");
        assert_eq!(select(all.into_iter(), Some("chimera-cli")), "chimera-cli/a,chimera-cli/b");
        assert_eq!(select(all.into_iter(), Some("chimera-stats")), "");
    }

    #[test]
    fn every_feature_names_its_package() {
        for part in PARTS {
            assert!(
                part.features.iter().all(|feature| feature.starts_with("chimera-")),
                "{:?}",
                part.features
            );
        }
    }
}
