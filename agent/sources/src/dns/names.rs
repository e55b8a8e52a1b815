//! Domain names as bytes, and the registered names of types, classes and response codes.
//! It never decides whether a name is sensible: any byte may stand in a label.

use std::fmt::Write as _;

/// Bytes of a name on the wire at most, its length octets included (RFC 1035, section 2.3.4).
const NAME_BYTES: usize = 255;

/// Reads a name that may be compressed, beginning at `start` of `message`. Gives its presentation
/// and the offset after it. Labels are joined by dots without a final one; the root is `.`; a dot
/// inside a label is `\.` and a backslash `\\` (RFC 1035, section 5.1); every other byte is itself.
/// A pointer must lead to before the part that holds it, so no message can make this loop.
pub fn read(message: &[u8], start: usize) -> Result<(Vec<u8>, usize), &'static str> {
    let mut name = Vec::new();
    let (mut at, mut part, mut after, mut wire) = (start, start, None, 1usize);
    loop {
        let length = *message.get(at).ok_or("a name runs past the end")?;
        match length {
            0 => break,
            1..=63 => {
                let label = message
                    .get(at + 1..at + 1 + usize::from(length))
                    .ok_or("a label runs past the end")?;
                wire += label.len() + 1;
                if wire > NAME_BYTES {
                    return Err("a name longer than 255 bytes");
                }
                if !name.is_empty() {
                    name.push(b'.');
                }
                for &byte in label {
                    if matches!(byte, b'.' | b'\\') {
                        name.push(b'\\');
                    }
                    name.push(byte);
                }
                at += 1 + label.len();
            }
            0xc0..=0xff => {
                let low = *message.get(at + 1).ok_or("a pointer runs past the end")?;
                let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                after.get_or_insert(at + 2);
                if target >= part {
                    return Err("a compression pointer that does not lead back");
                }
                at = target;
                part = target;
            }
            _ => return Err("a label of an unknown kind"),
        }
    }
    if name.is_empty() {
        name.push(b'.');
    }
    Ok((name, after.unwrap_or(at + 1)))
}

/// The registered name of a record type, else `TYPE123` (RFC 3597, section 5).
pub fn type_name(number: u16) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        17 => "RP",
        18 => "AFSDB",
        24 => "SIG",
        25 => "KEY",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        36 => "KX",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        42 => "APL",
        43 => "DS",
        44 => "SSHFP",
        45 => "IPSECKEY",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        49 => "DHCID",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        62 => "CSYNC",
        63 => "ZONEMD",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        _ => return format!("TYPE{number}"),
    };
    name.to_owned()
}

/// The registered name of a class, else `CLASS123`.
pub fn class_name(number: u16) -> String {
    match number {
        1 => "IN".to_owned(),
        3 => "CH".to_owned(),
        4 => "HS".to_owned(),
        254 => "NONE".to_owned(),
        255 => "ANY".to_owned(),
        _ => format!("CLASS{number}"),
    }
}

/// The registered name of a response code (RFC 6895, section 2.3), else `RCODE123`.
pub fn rcode_name(number: u16) -> String {
    let name = match number {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        _ => return format!("RCODE{number}"),
    };
    name.to_owned()
}

/// Bytes as lower-case hexadecimal digits, added to `out`.
pub fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A name on the wire, from its labels.
    pub(crate) fn wire(labels: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for label in labels {
            out.push(label.len() as u8);
            out.extend_from_slice(label);
        }
        out.push(0);
        out
    }

    #[test]
    fn keeps_every_byte_and_escapes_dots_in_labels() {
        let message = wire(&[b"a.b", b"\xff\\", b"Ex"]);
        assert_eq!(read(&message, 0).unwrap(), (b"a\\.b.\xff\\\\.Ex".to_vec(), message.len()));
        assert_eq!(read(&[0], 0).unwrap(), (b".".to_vec(), 1));
    }

    #[test]
    fn follows_pointers_back_only() {
        let mut message = wire(&[b"example", b"org"]);
        let at = message.len();
        message.extend([3, b'w', b'w', b'w', 0xc0, 0]);
        assert_eq!(read(&message, at).unwrap(), (b"www.example.org".to_vec(), at + 6));
        for bad in [&[0xc0, 0][..], &[1, b'a', 0xc0, 0], &[0xc0, 2, 0xc0, 0], &[0x80], &[3, 1], &[]]
        {
            assert!(read(bad, 0).is_err(), "{bad:?}");
        }
        let long = wire(&[&[b'x'; 63][..]; 4]);
        assert_eq!(read(&long, 0).unwrap_err(), "a name longer than 255 bytes");
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_inside(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..700) {
            if let Ok((name, after)) = read(&bytes, at) {
                prop_assert!(after <= bytes.len());
                prop_assert!(name.len() <= 2 * NAME_BYTES);
            }
        }

        #[test]
        fn labels_come_back(labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..8)) {
            let refs: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
            let (name, _) = read(&wire(&refs), 0).unwrap();
            let (mut back, mut label, mut bytes) = (Vec::new(), Vec::new(), name.iter());
            while let Some(&byte) = bytes.next() {
                match byte {
                    b'\\' => label.push(*bytes.next().unwrap()),
                    b'.' => back.push(std::mem::take(&mut label)),
                    byte => label.push(byte),
                }
            }
            back.push(label);
            prop_assert_eq!(back, labels);
        }
    }
}
