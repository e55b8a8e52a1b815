//! Typed ids. Every id becomes a folder name, so each is checked once, where it enters.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// Longest id, in bytes: safe as a file name on every file system.
const MAX_LEN: usize = 64;

/// An id broke the one rule: 1–64 of `a–z 0–9 - _ .`, and the first a letter or a digit.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} {given:?} is not usable: 1 to 64 characters of a-z 0-9 - _ . and the first a letter or digit"
)]
pub struct BadId {
    what: &'static str,
    given: String,
}

fn check(what: &'static str, text: &str) -> Result<(), BadId> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    let first_fits =
        text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first_fits && text.len() <= MAX_LEN && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(BadId { what, given: text.chars().take(MAX_LEN).collect() })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as text; safe as one file name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                check($what, text).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// A case: one incident, one custody log.
    CaseId,
    "case id"
);
id!(
    /// A host of a case: the EC2 instance id where there is one, else a name that the
    /// responder gave.
    HostId,
    "host id"
);
id!(
    /// One run of the agent on a host; kept when the agent is killed and started again.
    SessionId,
    "session id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_leave_its_folder() {
        for bad in ["", ".", "..", "a/b", "../x", "A", "a b", "a\0", ".a", "-a", "é"] {
            assert!(bad.parse::<CaseId>().is_err(), "{bad}");
        }
        assert!("a".repeat(65).parse::<HostId>().is_err());
        assert_eq!("i-0abc".parse::<HostId>().unwrap().as_str(), "i-0abc");
    }
}
