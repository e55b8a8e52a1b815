//! What the host is: system, kernel, clocks, accounts, disks, network, and which EC2 instance.
//!
//! The caches of the kernel come first because they change; the metadata service is asked last
//! because it may take its second. Password hashes are read to tell locked accounts, never emitted.

mod accounts;
mod blocks;
mod identity;
mod instance;
mod kernel;
mod netlink;
mod network;
mod read;
mod rtnl;
#[cfg(test)]
mod tests;

use crate::{Emitter, Host, Options, SinkClosed, Source, Volatility};
use cleanroom_evidence::Outcome;

/// Files that other tools read to tell what a host is; links are taken as links.
const RAW: &[&[u8]] = &[
    b"/etc/hostname",
    b"/etc/os-release",
    b"/usr/lib/os-release",
    b"/etc/system-release",
    b"/etc/debian_version",
    b"/etc/machine-id",
    b"/etc/timezone",
    b"/etc/localtime",
    b"/etc/fstab",
];
/// Of each at most so many bytes.
const RAW_BYTES: u64 = 1024 * 1024;

/// The `host` source.
pub struct HostFacts;

impl Source for HostFacts {
    fn name(&self) -> &'static str {
        "host"
    }

    fn about(&self) -> &'static str {
        "system, kernel, clocks, users, mounts, disks with EBS volume ids, network, EC2 instance"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Kernel
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        if host.is_live() {
            network::emit(out)?;
            kernel::modules(host, out)?;
            kernel::mounts(host, out)?;
            blocks::emit(host, out)?;
        } else {
            kernel::fstab(host, out)?;
        }
        accounts::emit(host, out)?;
        for path in RAW {
            out.file(host, path, &[], RAW_BYTES, 0)?;
        }
        let instance = instance::ask(host, options, out)?;
        identity::emit(host, instance, out)?;
        out.outcome()
    }
}
