//! The data of resource records in presentation form. What it does not know, or what does not
//! parse, is given as RFC 3597 writes unknown data: `\# length hex`. It never fails.

use super::names::{self, push_hex};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of one record's presentation at most (64 answers of this size are kept).
pub const DATA_BYTES: usize = 4096;

/// Writes `message[start..start + length]` as the data of a record of type `kind`. Names in it may
/// be compressed against the whole message. At most [`DATA_BYTES`]; the flag says it was cut.
pub fn present(message: &[u8], start: usize, length: usize, kind: u16) -> (Vec<u8>, bool) {
    let end = start.saturating_add(length);
    let data = message.get(start..end).unwrap_or_default();
    let known = match kind {
        1 => <[u8; 4]>::try_from(data)
            .ok()
            .map(|octets| Ipv4Addr::from(octets).to_string().into_bytes()),
        28 => <[u8; 16]>::try_from(data)
            .ok()
            .map(|octets| Ipv6Addr::from(octets).to_string().into_bytes()),
        2 | 5 | 12 | 39 => fields(message, start, end, &[Field::Name]),
        15 | 18 | 36 => fields(message, start, end, &[Field::Number16, Field::Name]),
        33 => fields(
            message,
            start,
            end,
            &[Field::Number16, Field::Number16, Field::Number16, Field::Name],
        ),
        6 => fields(
            message,
            start,
            end,
            &[
                Field::Name,
                Field::Name,
                Field::Number32,
                Field::Number32,
                Field::Number32,
                Field::Number32,
                Field::Number32,
            ],
        ),
        16 | 99 | 13 => strings(data),
        257 => caa(data),
        64 | 65 => service(message, start, end),
        _ => None,
    };
    let mut text = known.unwrap_or_else(|| unknown(data));
    let cut = text.len() > DATA_BYTES;
    text.truncate(DATA_BYTES);
    (text, cut)
}

enum Field {
    Name,
    Number16,
    Number32,
}

fn number<const N: usize>(message: &[u8], at: usize) -> Option<[u8; N]> {
    message.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Fields one after the other, separated by spaces; `None` unless they fill the data exactly.
fn fields(message: &[u8], start: usize, end: usize, wanted: &[Field]) -> Option<Vec<u8>> {
    let (mut at, mut out) = (start, Vec::new());
    for field in wanted {
        if !out.is_empty() {
            out.push(b' ');
        }
        match field {
            Field::Name => {
                let (name, after) = names::read(message.get(..end)?, at).ok()?;
                out.extend_from_slice(&name);
                at = after;
            }
            Field::Number16 => {
                let value = u16::from_be_bytes(number(message, at)?);
                out.extend_from_slice(value.to_string().as_bytes());
                at += 2;
            }
            Field::Number32 => {
                let value = u32::from_be_bytes(number(message, at)?);
                out.extend_from_slice(value.to_string().as_bytes());
                at += 4;
            }
        }
    }
    (at == end).then_some(out)
}

fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Character strings, each in quotes, with `"` and `\` escaped.
fn strings(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((&length, rest)) = data.split_first() {
        let (text, rest) = rest.split_at_checked(usize::from(length))?;
        if !out.is_empty() {
            out.push(b' ');
        }
        quote(&mut out, text);
        data = rest;
    }
    Some(out)
}

/// RFC 8659, section 4.1.
fn caa(data: &[u8]) -> Option<Vec<u8>> {
    let (&flags, rest) = data.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (tag, value) = rest.split_at_checked(usize::from(length))?;
    let mut out = flags.to_string().into_bytes();
    out.push(b' ');
    out.extend_from_slice(tag);
    out.push(b' ');
    quote(&mut out, value);
    Some(out)
}

/// SVCB and HTTPS: RFC 9460, sections 2.1 and 14.3. Values without a text form here are hex.
fn service(message: &[u8], start: usize, end: usize) -> Option<Vec<u8>> {
    let mut out = u16::from_be_bytes(number(message, start)?).to_string().into_bytes();
    out.push(b' ');
    let (target, mut at) = names::read(message.get(..end)?, start + 2).ok()?;
    out.extend_from_slice(&target);
    while at < end {
        let key = u16::from_be_bytes(number(message, at)?);
        let length = usize::from(u16::from_be_bytes(number(message, at + 2)?));
        let value = message.get(at + 4..at + 4 + length)?;
        at += 4 + length;
        out.push(b' ');
        let name = match key {
            0 => "mandatory",
            1 => "alpn",
            2 => "no-default-alpn",
            3 => "port",
            4 => "ipv4hint",
            5 => "ech",
            6 => "ipv6hint",
            _ => "",
        };
        match name {
            "" => out.extend_from_slice(format!("key{key}").as_bytes()),
            name => out.extend_from_slice(name.as_bytes()),
        }
        if value.is_empty() {
            continue;
        }
        out.push(b'=');
        match (key, value) {
            (1, _) => out.extend_from_slice(&strings(value)?),
            (3, &[high, low]) => {
                out.extend_from_slice(u16::from_be_bytes([high, low]).to_string().as_bytes());
            }
            (4, _) => push_list(&mut out, value.chunks(4), |chunk| {
                Some(Ipv4Addr::from(<[u8; 4]>::try_from(chunk).ok()?).to_string())
            })?,
            (6, _) => push_list(&mut out, value.chunks(16), |chunk| {
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(chunk).ok()?).to_string())
            })?,
            _ => push_hex(&mut out, value),
        }
    }
    (at == end).then_some(out)
}

fn push_list<'a>(
    out: &mut Vec<u8>,
    chunks: impl Iterator<Item = &'a [u8]>,
    show: impl Fn(&[u8]) -> Option<String>,
) -> Option<()> {
    for (at, chunk) in chunks.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(show(chunk)?.as_bytes());
    }
    Some(())
}

/// RFC 3597, section 5.
fn unknown(data: &[u8]) -> Vec<u8> {
    let mut out = format!("\\# {}", data.len()).into_bytes();
    if !data.is_empty() {
        out.push(b' ');
        // Two digits a byte: no more than the bound is worth writing.
        push_hex(&mut out, data.get(..DATA_BYTES).unwrap_or(data));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::names::tests::wire;
    use proptest::prelude::*;

    fn show(kind: u16, data: &[u8]) -> String {
        String::from_utf8_lossy(&present(data, 0, data.len(), kind).0).into_owned()
    }

    #[test]
    fn presentation_forms() {
        assert_eq!(show(1, &[198, 51, 100, 7]), "198.51.100.7");
        assert_eq!(show(1, &[198, 51]), "\\# 2 c633");
        assert_eq!(
            show(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            "2001:db8::1"
        );
        assert_eq!(show(5, &wire(&[b"a", b"org"])), "a.org");
        assert_eq!(show(15, &[&[0, 10][..], &wire(&[b"mx"])].concat()), "10 mx");
        assert_eq!(show(16, b"\x02hi\x03a\"b\x00"), r#""hi" "a\"b" """#);
        assert_eq!(show(33, &[&[0, 1, 0, 2, 0, 53][..], &wire(&[b"s"])].concat()), "1 2 53 s");
        let soa = [
            &wire(&[b"ns"])[..],
            &wire(&[b"root"]),
            &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5],
        ]
        .concat();
        assert_eq!(show(6, &soa), "ns root 1 2 3 4 5");
        assert_eq!(show(257, b"\x00\x05issueca.org"), "0 issue \"ca.org\"");
        let https = [
            &[0, 1, 0][..],
            &[0, 1, 0, 3, 2, b'h', b'2'],
            &[0, 3, 0, 2, 1, 187],
            &[0, 4, 0, 8, 192, 0, 2, 1, 192, 0, 2, 2],
        ]
        .concat();
        assert_eq!(show(65, &https), "1 . alpn=\"h2\" port=443 ipv4hint=192.0.2.1,192.0.2.2");
        assert_eq!(show(999, &[]), "\\# 0");
    }

    proptest! {
        #[test]
        fn never_panics_and_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0usize..400, length in 0usize..70000, kind in 0u16..300) {
            prop_assert!(present(&bytes, start, length, kind).0.len() <= DATA_BYTES);
        }
    }
}
