//! The only unsafe code of this crate: system calls that neither std nor nix offers.
//! Each function is a thin, checked wrapper; none keeps a pointer after it returns.

pub mod block;
pub mod file;
pub mod packet;
pub mod procfs;
pub mod quiet;
