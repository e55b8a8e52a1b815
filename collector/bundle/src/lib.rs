//! The case bundle: a BagIt bag whose hosts are UAC-layout tars, with the custody log and one
//! signature over all of it; and its verification with nothing but the bundle.
//!
//! ```text
//! data/{case.json, timeline/…, certificates/…}
//! data/hosts/<host>/<session>/{items,outcomes,notes}.jsonl, session.json, records/, raw/, volumes/
//! data/hosts/<host>/<session>/uac-<host>-linux-<time>.tar.gz
//! bag-info.txt bagit.txt manifest-sha256.txt tagmanifest-sha256.txt
//! custody/{bundle.dsse.json, checkpoint, key.pem, key.pub, log.jsonl, tile/…}
//! ```
//! Members stand in that order, so a bundle of any size is written and verified in one pass.
//!
//! This crate never talks to a network and never changes a case but for the event that it was
//! exported.

#![forbid(unsafe_code)]

mod bag;
mod copy;
mod custody;
pub mod documents;
mod dsse;
mod error;
mod export;
mod host;
mod item;
mod layout;
mod out;
mod report;
mod tar;
#[cfg(test)]
mod testing;
mod timesketch;
mod uac_log;
mod verify;
mod view;

pub use self::tar::read::TarError;
pub use dsse::DsseError;
pub use error::BundleError;
pub use export::{Exported, Options, export};
pub use item::{Item, ItemLine, Place};
pub use verify::{Verified, VerifyError, VerifyOptions, verify};
pub use view::{CaseView, SessionView};
