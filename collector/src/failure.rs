//! How a command fails: one line for a person and an exit code for a script. Every layer of this
//! crate that can fail for a reason that only a person can mend gives one of these.

use cleanroom_agent::cli::{EXIT_FAILED, EXIT_USAGE};
use std::{error::Error, fmt};

pub use cleanroom_agent::error_chain as chain;

/// A bundle does not hold.
const EXIT_UNVERIFIED: u8 = 4;

/// Why a command failed, for one line on standard error.
#[derive(Debug)]
pub struct Failure {
    text: String,
    exit: u8,
}

impl Failure {
    /// A failure of the command.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: EXIT_FAILED }
    }

    /// A wrong use of the command.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: EXIT_USAGE }
    }

    /// A bundle that does not hold.
    pub fn unverified(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: EXIT_UNVERIFIED }
    }

    /// The line for standard error; still to be made printable.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The process's exit code.
    pub fn exit(&self) -> u8 {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(chain(&error))
    }
}
