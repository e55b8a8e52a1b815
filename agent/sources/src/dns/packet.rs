//! IPv4, IPv6, UDP and TCP headers in front of DNS. Checksums are not looked at: the host's own
//! packets carry none yet when the capture sees them. Nothing is reassembled here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Extension headers of one packet at most.
const EXTENSIONS: usize = 16;

/// A UDP datagram or TCP segment with a DNS port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Sender.
    pub source: IpAddr,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver.
    pub destination: IpAddr,
    /// Receiver's port.
    pub destination_port: u16,
    /// UDP or TCP.
    pub transport: Transport,
    /// What follows the headers.
    pub payload: &'a [u8],
    /// VLAN id of a tag inside the packet (one that the kernel did not take off).
    pub vlan: Option<u16>,
    /// Why the payload is not the whole datagram, where it is not.
    pub partial: Option<&'static str>,
}

/// What the transport header adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A segment.
    Tcp {
        /// Sequence number of the first byte (of SYN, where it is set).
        sequence: u32,
        /// SYN flag.
        syn: bool,
        /// FIN flag.
        fin: bool,
        /// RST flag.
        reset: bool,
    },
}

/// True for the ports of DNS and multicast DNS.
pub fn is_dns(port: u16) -> bool {
    matches!(port, 53 | 5353)
}

/// Reads a packet that begins with the network header (or with the rest of a VLAN tag). `None`:
/// not DNS. An error: a header that claims to be IP and is broken.
pub fn parse(ether_type: u16, bytes: &[u8]) -> Result<Option<Packet<'_>>, &'static str> {
    let (mut ether_type, mut bytes, mut vlan) = (ether_type, bytes, None);
    for _ in 0..2 {
        // With a tag's EtherType the kernel may still have put us behind the tag (its versions
        // differ): it is a tag only when an EtherType that we know follows.
        let tagged = matches!(ether_type, 0x8100 | 0x88a8);
        match bytes {
            [t0, t1, e0 @ (0x08 | 0x86 | 0x81 | 0x88), e1, rest @ ..] if tagged => {
                vlan = Some(u16::from_be_bytes([*t0, *t1]) & 0x0fff);
                ether_type = u16::from_be_bytes([*e0, *e1]);
                bytes = rest;
            }
            [first, ..] if tagged => ether_type = if first >> 4 == 6 { 0x86dd } else { 0x0800 },
            _ => {}
        }
    }
    let packet = match ether_type {
        0x0800 => v4(bytes)?,
        0x86dd => v6(bytes)?,
        _ => None,
    };
    Ok(packet.map(|packet| Packet { vlan, ..packet }))
}

fn v4(bytes: &[u8]) -> Result<Option<Packet<'_>>, &'static str> {
    let &[first, _, l0, l1, _, _, f0, f1, _, protocol, _, _, a, b, c, d, e, f, g, h, ..] = bytes
    else {
        return Err("shorter than an IPv4 header");
    };
    let header = usize::from(first & 15) * 4;
    if first >> 4 != 4 || header < 20 {
        return Err("not an IPv4 header");
    }
    let fragment = u16::from_be_bytes([f0, f1]);
    if fragment & 0x1fff != 0 {
        return Ok(None);
    }
    // A total length of 0 stands for one beyond 16 bits (large sends before segmentation).
    let total = match usize::from(u16::from_be_bytes([l0, l1])) {
        0 => bytes.len(),
        total => total,
    };
    let mut partial = (fragment & 0x2000 != 0).then_some(FRAGMENT);
    if total > bytes.len() {
        partial = partial.or(Some(CUT));
    }
    let data =
        bytes.get(header..total.min(bytes.len())).ok_or("an IPv4 header longer than its packet")?;
    transport(
        protocol,
        Ipv4Addr::new(a, b, c, d).into(),
        Ipv4Addr::new(e, f, g, h).into(),
        data,
        partial,
    )
}

const FRAGMENT: &str = "the first fragment of a fragmented packet; the others are not joined";
const CUT: &str = "the packet is cut short of its announced length";

fn v6(bytes: &[u8]) -> Result<Option<Packet<'_>>, &'static str> {
    let (header, rest) = bytes.split_at_checked(40).ok_or("shorter than an IPv6 header")?;
    let (Some(&first), Some(&next)) = (header.first(), header.get(6)) else {
        return Err("shorter than an IPv6 header");
    };
    if first >> 4 != 6 {
        return Err("not an IPv6 header");
    }
    let address = |from: usize| {
        let octets: [u8; 16] = header.get(from..from + 16)?.try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(octets)))
    };
    let (Some(source), Some(destination)) = (address(8), address(24)) else {
        return Err("shorter than an IPv6 header");
    };
    let length = match header {
        [_, _, _, _, 0, 0, ..] => rest.len(),
        [_, _, _, _, l0, l1, ..] => usize::from(u16::from_be_bytes([*l0, *l1])),
        _ => rest.len(),
    };
    let mut partial = (length > rest.len()).then_some(CUT);
    let (mut next, mut data) = (next, rest.get(..length).unwrap_or(rest));
    for _ in 0..EXTENSIONS {
        let &[after, length, f0, f1, ..] = data else {
            return Err("an IPv6 packet without a transport header");
        };
        let skip = match next {
            0 | 43 | 60 => 8 + usize::from(length) * 8,
            44 => {
                let fragment = u16::from_be_bytes([f0, f1]);
                if fragment & 0xfff8 != 0 {
                    return Ok(None);
                }
                if fragment & 1 != 0 {
                    partial = Some(FRAGMENT);
                }
                8
            }
            _ => return transport(next, source, destination, data, partial),
        };
        data = data.get(skip..).ok_or("an IPv6 extension header runs past the end")?;
        next = after;
    }
    Err("too many IPv6 extension headers")
}

fn transport<'a>(
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    data: &'a [u8],
    partial: Option<&'static str>,
) -> Result<Option<Packet<'a>>, &'static str> {
    if !matches!(protocol, 6 | 17) {
        return Ok(None);
    }
    let &[s0, s1, d0, d1, ..] = data else {
        return Err("no room for ports");
    };
    let source_port = u16::from_be_bytes([s0, s1]);
    let destination_port = u16::from_be_bytes([d0, d1]);
    if !is_dns(source_port) && !is_dns(destination_port) {
        return Ok(None);
    }
    let mut packet = Packet {
        source,
        source_port,
        destination,
        destination_port,
        transport: Transport::Udp,
        payload: &[],
        vlan: None,
        partial,
    };
    match (protocol, data) {
        (17, [_, _, _, _, l0, l1, _, _, rest @ ..]) => {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            // 0: longer than 16 bits can say.
            let wanted = if length == 0 { rest.len() } else { length.saturating_sub(8) };
            if wanted > rest.len() {
                packet.partial = packet.partial.or(Some(CUT));
            }
            packet.payload = rest.get(..wanted).unwrap_or(rest);
        }
        (6, [_, _, _, _, q0, q1, q2, q3, _, _, _, _, offset, flags, ..]) => {
            packet.transport = Transport::Tcp {
                sequence: u32::from_be_bytes([*q0, *q1, *q2, *q3]),
                fin: flags & 1 != 0,
                syn: flags & 2 != 0,
                reset: flags & 4 != 0,
            };
            let header = usize::from(offset >> 4) * 4;
            packet.payload =
                data.get(header..).filter(|_| header >= 20).ok_or("a broken TCP header")?;
        }
        _ => return Err("shorter than its transport header"),
    }
    Ok(Some(packet))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A UDP datagram from 10.0.0.2 to 10.0.0.1.
    pub(crate) fn udp4(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x45, 0];
        out.extend((28 + payload.len() as u16).to_be_bytes());
        out.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        out.extend(udp(from, to, payload));
        out
    }

    fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = from.to_be_bytes().to_vec();
        out.extend(to.to_be_bytes());
        out.extend((8 + payload.len() as u16).to_be_bytes());
        out.extend([0, 0]);
        out.extend(payload);
        out
    }

    /// A TCP segment from 10.0.0.2 to 10.0.0.1.
    pub(crate) fn tcp4(from: u16, to: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x45, 0];
        out.extend((40 + payload.len() as u16).to_be_bytes());
        out.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        out.extend(from.to_be_bytes());
        out.extend(to.to_be_bytes());
        out.extend(sequence.to_be_bytes());
        out.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        out.extend(payload);
        out
    }

    fn v6(next: u8, data: &[u8]) -> Vec<u8> {
        let mut out = vec![0x60, 0, 0, 0];
        out.extend((data.len() as u16).to_be_bytes());
        out.extend([next, 64]);
        out.extend(Ipv6Addr::LOCALHOST.octets());
        out.extend(Ipv6Addr::UNSPECIFIED.octets());
        out.extend(data);
        out
    }

    #[test]
    fn reads_udp_and_tcp_over_both() {
        let bytes = udp4(4000, 53, b"hello");
        let packet = parse(0x0800, &bytes).unwrap().unwrap();
        assert_eq!((packet.payload, packet.partial), (&b"hello"[..], None));
        assert_eq!(packet.source.to_string(), "10.0.0.2");
        let bytes = v6(17, &udp(4000, 5353, b"hi"));
        assert_eq!(parse(0x86dd, &bytes).unwrap().unwrap().payload, b"hi");
        let bytes = tcp4(53, 9, 77, 0x12, b"x");
        let packet = parse(0x0800, &bytes).unwrap().unwrap();
        let wanted = Transport::Tcp { sequence: 77, syn: true, fin: false, reset: false };
        assert_eq!((packet.transport, packet.payload), (wanted, &b"x"[..]));
        assert_eq!(parse(0x0800, &udp4(4000, 54, b"")).unwrap(), None);
    }

    #[test]
    fn looks_behind_extension_headers_and_tags() {
        let mut data = vec![60, 1];
        data.extend([0; 14]);
        data.extend([17, 0, 0, 0, 0, 0, 0, 0]);
        data.extend(udp(53, 1, b"deep"));
        assert_eq!(parse(0x86dd, &v6(0, &data)).unwrap().unwrap().payload, b"deep");
        let tagged = [&[0x20, 7, 8, 0][..], &udp4(1, 53, b"t")].concat();
        assert_eq!(parse(0x8100, &tagged).unwrap().unwrap().vlan, Some(7));
        assert_eq!(parse(0x8100, &udp4(1, 53, b"t")).unwrap().unwrap().payload, b"t");
        let double = [&[0, 5, 0x81, 0, 0, 9, 8, 0][..], &udp4(1, 53, b"q")].concat();
        assert_eq!(parse(0x88a8, &double).unwrap().unwrap().vlan, Some(9));
    }

    #[test]
    fn fragments_and_cut_packets_say_so() {
        let mut bytes = udp4(1, 53, b"abcdef");
        bytes[6] = 0x20;
        assert_eq!(parse(0x0800, &bytes).unwrap().unwrap().partial, Some(FRAGMENT));
        bytes[7] = 9;
        assert_eq!(parse(0x0800, &bytes).unwrap(), None);
        let bytes = udp4(1, 53, b"abcdef");
        let packet = parse(0x0800, &bytes[..31]).unwrap().unwrap();
        assert_eq!((packet.partial, packet.payload), (Some(CUT), &b"abc"[..]));
        let first = [&[17, 0, 0, 1, 0, 0, 0, 0][..], &udp(1, 53, b"f")].concat();
        assert_eq!(parse(0x86dd, &v6(44, &first)).unwrap().unwrap().partial, Some(FRAGMENT));
    }

    proptest! {
        #[test]
        fn never_panics(kind in prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x8100), any::<u16>()], bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(kind, &bytes);
        }

        #[test]
        fn never_panics_on_damaged_packets(at in 0usize..60, byte: u8, cut in 0usize..80, six: bool) {
            let (kind, mut bytes) = if six {
                (0x86dd, v6(0, &[&[17, 0, 0, 0, 0, 0, 0, 0][..], &udp(53, 1, b"payload")].concat()))
            } else {
                (0x0800, tcp4(53, 2, 1, 2, b"payload"))
            };
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            bytes.truncate(cut);
            let _ = parse(kind, &bytes);
        }
    }
}
