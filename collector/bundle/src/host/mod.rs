//! One host's session as a tar in UAC's layout: what dissect.target, plaso and any tar program
//! open without knowing Cleanroom. Writes only to the writer it is given.

pub mod bodyfile;
pub mod names;
pub mod root;
pub mod tarball;
