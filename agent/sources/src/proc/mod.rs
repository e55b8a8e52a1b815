//! Formats of `/proc`: parsers that take bytes and know no path, and the few ways to read such
//! files. Nothing here opens a path of its own or keeps what it read.

pub mod fields;
pub mod fs;
pub mod maps;
pub mod mounts;
pub mod net;
pub mod stat;
pub mod status;
pub mod view;
