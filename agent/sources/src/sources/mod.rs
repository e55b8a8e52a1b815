//! The sources, one file each. The list that counts is [`crate::ALL`].

pub mod crontabs;
pub mod dns;
pub mod dns_watch;
pub mod files;
pub mod host_facts;
pub mod persistence;
pub mod processes;
pub mod sockets;
pub mod user_data;
pub mod volumes;
