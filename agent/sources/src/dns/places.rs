//! Where resolvers keep their configuration, logs and caches. A new place is one line.

use super::config::Format;

/// A file: path, kind, format.
pub type Place = (&'static str, &'static str, Format);

/// Configuration files.
pub const FILES: &[Place] = &[
    ("/etc/resolv.conf", "resolv.conf", Format::Words),
    ("/etc/hosts", "hosts", Format::Words),
    ("/etc/nsswitch.conf", "nsswitch", Format::Colon),
    ("/etc/gai.conf", "gai", Format::Words),
    ("/etc/host.conf", "host.conf", Format::Words),
    ("/run/systemd/resolve/resolv.conf", "resolv.conf", Format::Words),
    ("/run/systemd/resolve/stub-resolv.conf", "resolv.conf", Format::Words),
    ("/run/NetworkManager/resolv.conf", "resolv.conf", Format::Words),
    ("/run/NetworkManager/no-stub-resolv.conf", "resolv.conf", Format::Words),
    ("/run/resolvconf/resolv.conf", "resolv.conf", Format::Words),
    ("/run/dnsmasq/resolv.conf", "resolv.conf", Format::Words),
    ("/etc/systemd/resolved.conf", "resolved", Format::Sections),
    ("/usr/lib/systemd/resolved.conf", "resolved", Format::Sections),
    ("/etc/dnsmasq.conf", "dnsmasq", Format::Equals),
    ("/etc/default/dnsmasq", "dnsmasq", Format::Equals),
    ("/etc/unbound/unbound.conf", "unbound", Format::Colon),
    ("/etc/nscd.conf", "nscd", Format::Words),
    ("/etc/named.conf", "named", Format::Raw),
    ("/etc/named.rfc1912.zones", "named", Format::Raw),
];

/// Folders whose files (with that suffix) are taken.
pub const FOLDERS: &[(&str, &str, &str, Format)] = &[
    ("/etc/systemd/resolved.conf.d", ".conf", "resolved", Format::Sections),
    ("/run/systemd/resolved.conf.d", ".conf", "resolved", Format::Sections),
    ("/usr/lib/systemd/resolved.conf.d", ".conf", "resolved", Format::Sections),
    ("/usr/local/lib/systemd/resolved.conf.d", ".conf", "resolved", Format::Sections),
    ("/run/systemd/resolve/netif", "", "resolved-link", Format::Equals),
    ("/etc/resolvconf/resolv.conf.d", "", "resolv.conf", Format::Words),
    ("/etc/dnsmasq.d", "", "dnsmasq", Format::Equals),
    ("/etc/NetworkManager/dnsmasq.d", "", "dnsmasq", Format::Equals),
    ("/etc/NetworkManager/dnsmasq-shared.d", "", "dnsmasq", Format::Equals),
    ("/etc/unbound/unbound.conf.d", "", "unbound", Format::Colon),
    ("/etc/unbound/conf.d", "", "unbound", Format::Colon),
    ("/etc/unbound/local.d", "", "unbound", Format::Colon),
    ("/etc/bind", "", "named", Format::Raw),
    ("/etc/named", "", "named", Format::Raw),
];

/// Logs and caches on disk: folder and the beginning of the name.
pub const LOGS: &[(&str, &str)] = &[
    ("/var/log", "dnsmasq"),
    ("/var/log", "unbound"),
    ("/var/log", "named"),
    ("/var/log", "bind"),
    ("/var/log", "nscd"),
    ("/var/log/dnsmasq", ""),
    ("/var/log/unbound", ""),
    ("/var/log/named", ""),
    ("/var/log/bind", ""),
    ("/var/named/data", ""),
    ("/var/cache/bind", "named"),
    ("/var/cache/nscd", "hosts"),
    ("/var/db/nscd", "hosts"),
    ("/var/lib/misc", "dnsmasq"),
    ("/var/lib/dnsmasq", ""),
];
