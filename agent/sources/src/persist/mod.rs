//! What the `persistence` source knows: its table of places, the paths they mean on a host, and
//! the commands that the files there name.

pub(crate) mod places;
pub(crate) mod runs;
pub(crate) mod walk;
