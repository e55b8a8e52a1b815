//! From records to events and findings. Pure: it takes headers and lines, and never opens a file
//! of the case, a clock or a socket.

#![forbid(unsafe_code)]

pub mod findings;
pub mod records;
pub mod timeline;
