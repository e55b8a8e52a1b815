//! The custody log of a case: one RFC 6962 log over every event, with a signed checkpoint.
//!
//! Live it is two files: `entries.log` (one JSON object a line) and `checkpoint`. Tiles are
//! derived at export. What an event says is decided elsewhere ([`crate::Event`]).

mod log;
pub mod merkle;
pub mod note;
mod signer;
mod snapshot;
pub mod tiles;

pub use log::CustodyLog;
pub(crate) use log::{Opened, Tail};
pub use note::{Checkpoint, NoteError, VerifierKey};
pub use signer::{Signer, spki_pem, verify_signature};
pub use snapshot::{Custody, Entries};
pub use tiles::{ENTRY_BYTES, for_each_tile, write_tiles};

use cleanroom_evidence::CaseId;

/// The log's entries, one a line.
pub(crate) const ENTRIES: &str = "entries.log";
/// The signed tree head.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The name of a case's log, and of the key that signs its checkpoints. With the case in it, a
/// checkpoint of one case never passes for another's.
pub fn origin(case: &CaseId) -> String {
    format!("cleanroom/case/{case}")
}

/// The public key that a case's checkpoints verify with.
pub fn verifier_key(signer: &Signer, case: &CaseId) -> VerifierKey {
    VerifierKey { name: origin(case), public_key: signer.public_key() }
}
