//! What the DNS sources are made of. The parsers take bytes and know no socket; the capture
//! (`capture`) and the socket-to-process lookup (`attribution`) are the only parts that ask the
//! kernel. Nothing here sends a DNS packet.

pub mod attribution;
pub mod cache;
pub mod capture;
pub mod config;
pub mod filter;
pub mod message;
pub mod names;
pub mod owner;
pub mod packet;
pub mod places;
pub mod queue;
pub mod rdata;
pub mod record;
pub mod sock_diag;
pub mod tcp;
pub mod tracker;
