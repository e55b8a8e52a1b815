//! Cases on disk: content-addressed blobs, append-only sessions, a tamper-evident custody log.
//!
//! ```text
//! <store>/keys/custody.pk8                                   Ed25519, 0600
//! <store>/cases/<id>/case.json, lock
//! <store>/cases/<id>/blobs/sha256/ab/<hex>                   0400, never overwritten
//! <store>/cases/<id>/sessions/<host>/<session>/session.json, items.jsonl, incoming/
//! <store>/cases/<id>/custody/entries.log, checkpoint
//! ```
//!
//! What a call acknowledges is on the disk: bytes, their name, the item's line and the signed
//! custody entry. One process at a time writes a case (a lock); any number read it.
//!
//! This crate is synchronous and local. It never talks to a network, never interprets evidence,
//! and never makes a path from anything that a host sent: folders are typed ids, blobs are named
//! by digest.

#![forbid(unsafe_code)]

mod blobs;
mod case;
mod clock;
mod commit;
pub mod custody;
mod disk;
mod error;
mod event;
mod incoming;
mod lines;
mod quota;
mod reader;
mod recover;
mod resume;
mod session;
mod session_info;
mod slot;
mod store;

pub use case::{Case, CaseDraft, CaseInfo, Closed};
pub use clock::now as clock_now;
pub use custody::{Custody, CustodyLog, Signer};
pub use error::StoreError;
pub use event::{Actor, Cut, Entry, Event, Tool};
pub use lines::Resumed;
pub use quota::Usage;
pub use reader::{CaseReader, Note, StoredItem};
pub use resume::{Durable, PartialItem, Resume};
pub use session::Session;
pub use session_info::{SessionInfo, SessionOpen};
pub use store::Store;
