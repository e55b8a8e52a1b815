//! The bag as text: paths, manifests, tag files (BagIt 1.0, RFC 8493). Pure: no files, no case.

pub mod info;
pub mod manifest;
pub mod path;
