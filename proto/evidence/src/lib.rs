//! The vocabulary that both sides of Cleanroom share: what an item of evidence is, how it is
//! named, how its bytes are shown, how its collection ended.
//!
//! This crate never reads a file, a clock or a socket, and knows no other crate of the project.

#![forbid(unsafe_code)]

mod clock;
mod digest;
mod ids;
mod item;
mod outcome;
mod text;

pub use clock::{Clock, ClockOffset, Timestamp};
pub use digest::{BadDigest, Hasher, Sha256Digest};
pub use ids::{BadId, CaseId, HostId, SessionId};
pub use item::{FileKind, FileMeta, ItemHeader, ItemKind, ItemStatus, Limits, Seal};
pub use outcome::{Gap, Gaps, Outcome, SourceOutcome};
pub use text::{RawBytes, escape, printable, unescape};
