//! The agent: runs the sources, spools their evidence, streams it to a collector.
//!
//! It never learns what an item means, never writes to the host unless it is told a file, and
//! never forks. `cleanroom-agent` is a thin `main` over [`cli`]; the collector's `capture` starts
//! the same code as a process of its own.

#![forbid(unsafe_code)]

pub mod cli;
mod collect;
mod frames;
mod offline;
mod profile;
mod run;
mod spool;
mod state;
mod throttle;
mod transport;

pub use profile::{BUILT_IN, Profile};
pub use transport::chain as error_chain;
