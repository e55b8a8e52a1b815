//! Messages of rtnetlink(7): bytes to links, addresses, routes and neighbours. Numbers are in the
//! machine's byte order, lengths may lie, and nothing here panics on any bytes.

use cleanroom_evidence::RawBytes;
use serde::Serialize;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// One netlink message without its header.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its type, e.g. `RTM_NEWLINK`.
    pub kind: u16,
    /// `NLM_F_DUMP_INTR`: the table changed between the parts of the dump.
    pub interrupted: bool,
    payload: &'a [u8],
}

impl Message<'_> {
    /// The error that a message of type `NLMSG_ERROR` carries.
    pub fn error(&self) -> io::Error {
        match signed(self.payload, 0) {
            Some(code) if code < 0 => io::Error::from_raw_os_error(code.saturating_neg()),
            _ => io::Error::other("netlink answered without a table"),
        }
    }
}

fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let part = bytes.get(at..at.checked_add(2)?)?;
    part.try_into().ok().map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let part = bytes.get(at..at.checked_add(4)?)?;
    part.try_into().ok().map(u32::from_ne_bytes)
}

fn signed(bytes: &[u8], at: usize) -> Option<i32> {
    word(bytes, at).map(u32::cast_signed)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(8)?)?;
    part.try_into().ok().map(u64::from_ne_bytes)
}

/// The messages of one datagram, up to the first whose length does not fit.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(word(bytes, 0)?).ok()?;
        let message = Message {
            kind: short(bytes, 4)?,
            interrupted: short(bytes, 6)? & 0x10 != 0,
            payload: bytes.get(16..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Attributes: type and value, up to the first whose length does not fit.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(short(rest, 0)?);
        // The two upper bits say "nested" and "network byte order".
        let kind = short(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|b| Ipv4Addr::from(b).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|b| Ipv6Addr::from(b).into()),
        _ => None,
    }
}

fn mac(bytes: &[u8]) -> Option<String> {
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    (!hex.is_empty()).then(|| hex.join(":"))
}

fn text(bytes: &[u8]) -> RawBytes {
    bytes.strip_suffix(b"\0").unwrap_or(bytes).into()
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: RawBytes,
    /// Hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Largest packet, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// `up`, `down`, `unknown`, … (RFC 2863 ifOperStatus).
    pub state: &'static str,
    /// IFF_UP: somebody switched it on.
    pub enabled: bool,
    /// It takes frames for others: somebody listens, or it is part of a bridge.
    pub promiscuous: bool,
    /// What made it: `veth`, `bridge`, `tun`, …; absent for hardware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<RawBytes>,
    /// Bytes received since it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
    /// Bytes sent since it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
}

const OPERATIONAL: [&str; 7] =
    ["unknown", "not-present", "down", "lower-layer-down", "testing", "dormant", "up"];

/// Reads `RTM_NEWLINK`.
pub fn link(message: &Message<'_>) -> Option<Link> {
    if message.kind != libc::RTM_NEWLINK {
        return None;
    }
    let flags = word(message.payload, 8)?;
    let mut link = Link {
        index: word(message.payload, 4)?,
        state: "unknown",
        enabled: flags & 1 != 0,
        promiscuous: flags & 0x100 != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(message.payload.get(16..)?) {
        match kind {
            libc::IFLA_ADDRESS => link.mac = mac(value),
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_MTU => link.mtu = word(value, 0),
            libc::IFLA_OPERSTATE => {
                let at = byte(value, 0).map(usize::from).unwrap_or(0);
                link.state = OPERATIONAL.get(at).copied().unwrap_or("unknown");
            }
            libc::IFLA_LINKINFO => {
                link.kind = attributes(value)
                    .find(|(kind, _)| *kind == libc::IFLA_INFO_KIND)
                    .map(|(_, name)| text(name));
            }
            libc::IFLA_STATS64 => {
                link.received_bytes = long(value, 16);
                link.sent_bytes = long(value, 24);
            }
            libc::IFLA_PROMISCUITY => link.promiscuous |= word(value, 0) != Some(0),
            _ => {}
        }
    }
    Some(link)
}

/// Reads `RTM_NEWADDR`: the interface's number and `ADDRESS/BITS`.
pub fn interface_address(message: &Message<'_>) -> Option<(u32, String)> {
    if message.kind != libc::RTM_NEWADDR {
        return None;
    }
    let bits = byte(message.payload, 1)?;
    let index = word(message.payload, 4)?;
    let mut found = None;
    for (kind, value) in attributes(message.payload.get(8..)?) {
        // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is always ours.
        match kind {
            libc::IFA_LOCAL => found = address(value),
            libc::IFA_ADDRESS if found.is_none() => found = address(value),
            _ => {}
        }
    }
    Some((index, format!("{}/{bits}", found?)))
}

/// A route, or one next hop of a route with several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Route {
    /// `ADDRESS/BITS`; the default route has 0 bits.
    pub destination: String,
    /// The next hop; absent where the destination is on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Source address that is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Routing table: 254 main, 255 local.
    pub table: u32,
    /// Lower wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Who made it: `kernel`, `boot`, `static`, `dhcp`, …
    pub protocol: String,
    /// `unicast`, `local`, `blackhole`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of the interface.
    #[serde(skip)]
    pub interface_index: Option<u32>,
}

fn route_protocol(code: u8) -> String {
    match code {
        1 => "redirect".into(),
        2 => "kernel".into(),
        3 => "boot".into(),
        4 => "static".into(),
        9 => "ra".into(),
        16 => "dhcp".into(),
        186 => "bgp".into(),
        other => other.to_string(),
    }
}

fn route_kind(code: u8) -> String {
    const KINDS: [&str; 12] = [
        "unspecified",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "nat",
        "xresolve",
    ];
    let name = KINDS.get(usize::from(code)).copied();
    name.map_or_else(|| code.to_string(), str::to_owned)
}

/// Reads `RTM_NEWROUTE` of IPv4 or IPv6: one route per next hop.
pub fn routes(message: &Message<'_>) -> Vec<Route> {
    parse_route(message).unwrap_or_default()
}

fn parse_route(message: &Message<'_>) -> Option<Vec<Route>> {
    let payload = message.payload;
    let any = match i32::from(byte(payload, 0)?) {
        _ if message.kind != libc::RTM_NEWROUTE => return None,
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let bits = byte(payload, 1)?;
    let mut route = Route {
        destination: format!("{any}/{bits}"),
        table: byte(payload, 4)?.into(),
        protocol: route_protocol(byte(payload, 5)?),
        kind: route_kind(byte(payload, 7)?),
        ..Route::default()
    };
    let mut hops: &[u8] = &[];
    for (kind, value) in attributes(payload.get(12..)?) {
        match kind {
            libc::RTA_DST => {
                if let Some(to) = address(value) {
                    route.destination = format!("{to}/{bits}");
                }
            }
            libc::RTA_PRIORITY => route.metric = word(value, 0),
            libc::RTA_PREFSRC => route.source = address(value).map(|a| a.to_string()),
            libc::RTA_TABLE => route.table = word(value, 0).unwrap_or(route.table),
            libc::RTA_MULTIPATH => hops = value,
            _ => next_hop(&mut route, kind, value),
        }
    }
    let mut all = Vec::new();
    while let Some(length) = short(hops, 0).map(usize::from) {
        let Some(attributes_of_hop) = hops.get(8..length) else {
            break;
        };
        let mut hop = Route { interface_index: word(hops, 4), ..route.clone() };
        attributes(attributes_of_hop).for_each(|(kind, value)| next_hop(&mut hop, kind, value));
        all.push(hop);
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    if all.is_empty() {
        all.push(route);
    }
    Some(all)
}

fn next_hop(route: &mut Route, kind: u16, value: &[u8]) {
    match kind {
        libc::RTA_OIF => route.interface_index = word(value, 0),
        libc::RTA_GATEWAY => route.gateway = address(value).map(|a| a.to_string()),
        // RTA_VIA: a gateway of another family, after two bytes that name it.
        18 => route.gateway = value.get(2..).and_then(address).map(|a| a.to_string()),
        _ => {}
    }
}

/// An entry of the ARP or neighbour-discovery cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// The neighbour's address.
    pub address: String,
    /// Its hardware address; absent where it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `REACHABLE`, `STALE`, `FAILED`, `PERMANENT`, …
    pub state: String,
    /// Number of the interface.
    #[serde(skip)]
    pub interface_index: u32,
}

/// Reads `RTM_NEWNEIGH`.
pub fn neighbour(message: &Message<'_>) -> Option<Neighbour> {
    const STATES: [&str; 8] =
        ["INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "NOARP", "PERMANENT"];
    if message.kind != libc::RTM_NEWNEIGH {
        return None;
    }
    let bits = short(message.payload, 8)?;
    let names = STATES.iter().enumerate();
    let set: Vec<&str> =
        names.filter(|(at, _)| bits >> at & 1 != 0).map(|(_, name)| *name).collect();
    let mut found = None;
    let mut hardware = None;
    for (kind, value) in attributes(message.payload.get(12..)?) {
        match kind {
            libc::NDA_DST => found = address(value),
            libc::NDA_LLADDR => hardware = mac(value),
            _ => {}
        }
    }
    Some(Neighbour {
        address: found?.to_string(),
        mac: hardware,
        state: if set.is_empty() { "NONE".into() } else { set.join("|") },
        interface_index: word(message.payload, 4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, payload: &[u8]) -> Message<'_> {
        Message { kind, interrupted: false, payload }
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn a_route_with_two_next_hops() {
        let hop = |index: u32, gateway: [u8; 4]| {
            let rest =
                [vec![0, 0], index.to_ne_bytes().to_vec(), attribute(libc::RTA_GATEWAY, &gateway)]
                    .concat();
            let length = u16::try_from(rest.len() + 2).unwrap();
            [length.to_ne_bytes().to_vec(), rest].concat()
        };
        let hops = [hop(2, [10, 0, 0, 1]), hop(3, [10, 0, 0, 2])].concat();
        let payload = [
            vec![2, 16, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0],
            attribute(libc::RTA_DST, &[172, 16, 0, 0]),
            attribute(libc::RTA_TABLE, &1000u32.to_ne_bytes()),
            attribute(libc::RTA_MULTIPATH, &hops),
        ]
        .concat();
        let routes = routes(&message(libc::RTM_NEWROUTE, &payload));
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0].destination, "172.16.0.0/16");
        assert_eq!((routes[0].table, routes[0].protocol.as_str()), (1000, "static"));
        assert_eq!(routes[1].gateway.as_deref(), Some("10.0.0.2"));
        assert_eq!(routes[1].interface_index, Some(3));
    }

    #[test]
    fn a_neighbour_and_an_address() {
        let payload = [
            vec![10, 0, 0, 0],
            7u32.to_ne_bytes().to_vec(),
            0x04u16.to_ne_bytes().to_vec(),
            vec![0, 0],
            attribute(libc::NDA_DST, &Ipv6Addr::LOCALHOST.octets()),
            attribute(libc::NDA_LLADDR, &[2, 0, 0, 0xaa, 0xbb, 0xcc]),
        ]
        .concat();
        let found = neighbour(&message(libc::RTM_NEWNEIGH, &payload)).unwrap();
        assert_eq!((found.address.as_str(), found.state.as_str()), ("::1", "STALE"));
        assert_eq!(found.mac.as_deref(), Some("02:00:00:aa:bb:cc"));
        assert_eq!(found.interface_index, 7);
        let payload = [
            vec![2, 24, 0, 0],
            7u32.to_ne_bytes().to_vec(),
            attribute(libc::IFA_ADDRESS, &[10, 9, 9, 2]),
            attribute(libc::IFA_LOCAL, &[10, 9, 9, 1]),
        ]
        .concat();
        let found = interface_address(&message(libc::RTM_NEWADDR, &payload));
        assert_eq!(found, Some((7, "10.9.9.1/24".into())));
    }

    #[test]
    fn lengths_that_lie_end_the_datagram() {
        assert_eq!(messages(&[255; 40]).count(), 0);
        assert_eq!(messages(&[0; 40]).count(), 0);
        assert_eq!(attributes(&[0; 12]).count(), 0);
        let short = [&4u16.to_ne_bytes()[..], &[1, 0], &[255; 3]].concat();
        assert_eq!(attributes(&short).count(), 1);
    }

    proptest! {
        #[test]
        fn never_panics_and_ends(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 16u16..32
        ) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            let message = message(kind, &bytes);
            let _ = (link(&message), interface_address(&message), neighbour(&message));
            prop_assert!(routes(&message).len() <= bytes.len() + 1);
        }
    }
}
