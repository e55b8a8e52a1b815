//! Evidence sources of a Linux host, one file each, and what they share.
//!
//! Everything here is synchronous, forks nothing and writes nothing to the host. A source sees the
//! host only through [`Host`] (a root path and an opener that leaves no trace) and gives evidence
//! only through [`Emitter`]; it never learns about cases, networks or who reads its bytes.

#![deny(unsafe_code)]

mod accounts;
pub mod cron;
pub mod dns;
mod emit;
mod host;
pub mod imds;
mod options;
mod persist;
pub mod proc;
pub mod quiet;
mod registry;
mod source;
#[allow(
    unsafe_code,
    reason = "system calls that neither std nor nix offers; each states why it is sound"
)]
pub mod sys;
#[cfg(test)]
pub(crate) mod testing;

pub mod sources;
pub mod userdata;
pub mod volume;

pub use emit::{Emitter, FileRead, RawRead, RawStream, Sink, SinkClosed};
pub use host::{Content, Dir, Entry, Host, Opened};
pub use options::Options;
pub use registry::{ALL, by_name};
pub use source::{Source, Volatility, Watch};
