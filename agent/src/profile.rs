//! Collection profiles are data: which sources run and within which limits.

use cleanroom_sources::{Options, Source, by_name};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The profiles inside the binary, as TOML.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("volatile", include_str!("../profiles/volatile.toml")),
    ("triage", include_str!("../profiles/triage.toml")),
    ("full", include_str!("../profiles/full.toml")),
];

/// A profile file is read up to this size.
const MAX_PROFILE_BYTES: u64 = 1024 * 1024;

/// A collection profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name, shown in the case.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// Names of the sources; they run in the order of volatility whatever the order here.
    pub sources: Vec<String>,
    /// SHA-256 of the executables of running processes.
    #[serde(default = "yes")]
    pub hash_executables: bool,
    /// Ask the instance metadata service.
    #[serde(default = "yes")]
    pub imds: bool,
    /// Largest file that is taken whole, in bytes.
    pub max_file_bytes: Option<u64>,
    /// Files to take whole, as absolute paths.
    #[serde(default)]
    pub files: Vec<String>,
    /// Volumes to hash whole.
    #[serde(default)]
    pub volumes: Vec<PathBuf>,
}

fn yes() -> bool {
    true
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No built-in profile has that name.
    #[error("there is no profile {0:?}; built in are: {1} (others with --profile-file)")]
    Unknown(String, String),
    /// The file could not be read.
    #[error("cannot read the profile {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not such a file.
    #[error("the profile {name} is not usable: {why}")]
    Syntax {
        /// File or name.
        name: String,
        /// What is wrong, with line and column.
        why: String,
    },
    /// It names a source that does not exist.
    #[error("the profile {profile} names the source {source_name:?}; there are: {known}")]
    UnknownSource {
        /// The profile.
        profile: String,
        /// What it names.
        source_name: String,
        /// What there is.
        known: String,
    },
}

impl Profile {
    /// A built-in profile.
    pub fn built_in(name: &str) -> Result<Self, ProfileError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(name, text),
            None => {
                let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                Err(ProfileError::Unknown(name.to_owned(), known.join(", ")))
            }
        }
    }

    /// A profile from a TOML file.
    pub fn from_file(path: &Path) -> Result<Self, ProfileError> {
        use std::io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_PROFILE_BYTES).read_to_string(&mut text))
            .map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text).map_err(|error| ProfileError::Syntax {
            name: name.to_owned(),
            why: error.to_string(),
        })?;
        profile.sources()?;
        Ok(profile)
    }

    /// The sources, in the order of volatility.
    pub fn sources(&self) -> Result<Vec<&'static dyn Source>, ProfileError> {
        let find = |name: &String| {
            by_name(name).ok_or_else(|| ProfileError::UnknownSource {
                profile: self.name.clone(),
                source_name: name.clone(),
                known: cleanroom_sources::ALL
                    .iter()
                    .map(|source| source.name())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
        };
        let mut sources = self.sources.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        sources.sort_by_key(|source| source.volatility());
        sources.dedup_by_key(|source| source.name());
        Ok(sources)
    }

    /// What the sources are told.
    pub fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            hash_executables: self.hash_executables,
            imds: self.imds,
            max_file_bytes: self.max_file_bytes.unwrap_or(defaults.max_file_bytes),
            files: self.files.iter().map(|path| path.clone().into_bytes()).collect(),
            volumes: self.volumes.clone(),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_usable_and_sorted_by_volatility() {
        for (name, _) in BUILT_IN {
            let profile = Profile::built_in(name).unwrap();
            assert_eq!(profile.name, *name);
            assert!(profile.sources().unwrap().iter().map(|s| s.volatility()).is_sorted());
        }
    }

    #[test]
    fn a_bad_profile_says_what_is_wrong() {
        let unknown = Profile::parse("p", "name='p'\nabout=''\nsources=['nope']").unwrap_err();
        assert!(unknown.to_string().contains("nope") && unknown.to_string().contains("crontabs"));
        let typo = Profile::parse("p", "name='p'\nabout=''\nsource=[]").unwrap_err();
        assert!(typo.to_string().contains("line 3"), "{typo}");
        assert!(Profile::built_in("everything").unwrap_err().to_string().contains("triage"));
    }
}
