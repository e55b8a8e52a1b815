//! The contract between agent and collector: generated messages and services ([`pb`]), and the one
//! place where they become domain types.
//!
//! This crate knows neither sources nor the store. What comes from the wire is checked here:
//! sizes, digests, names of sources; beyond it only domain types travel.

#![forbid(unsafe_code)]

pub mod archive;
mod convert;
mod frame;

pub use convert::{WireError, clock_from, clock_to};
pub use frame::{Frame, FrameBody};

/// Generated from `proto/cleanroom/v1/cleanroom.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod pb {
    include!("generated/cleanroom.v1.rs");
}

/// The name in the collector's certificate: an agent checks it whatever address it dials.
pub const COLLECTOR_NAME: &str = "collector.cleanroom";

/// Largest message that either side decodes, in bytes: a chunk and its framing fit many times.
pub const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of a note's JSON at most.
pub const MAX_NOTE_BYTES: usize = 32 * 1024;
