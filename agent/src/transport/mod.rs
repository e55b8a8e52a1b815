//! The only gRPC client of the project: dials, enrols, streams, resumes.

mod enrol;
mod stream;
mod tls;

pub use enrol::Identity;
pub use stream::{Established, Link, Session, TransportError, enrol_patiently, send_spool};
pub use tls::{Collector, chain, collector_address};
