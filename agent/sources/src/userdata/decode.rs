//! The encodings around user data: gzip, base64, quoted-printable and uuencode, with the
//! tolerance of the Python functions that cloud-init calls. Output is bounded in every case.

use super::params::hex;
use flate2::bufread::GzDecoder;
use std::io::{BufRead, Read};

/// What a gzip stream held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gunzipped {
    /// At most as many bytes as were allowed.
    pub bytes: Vec<u8>,
    /// True when there were more.
    pub cut: bool,
}

/// True for bytes that begin as a gzip stream does (RFC 1952, section 2.3.1).
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Unpacks all members of a gzip stream, at most `limit` bytes of output. Zero bytes between and
/// after members are passed over; other trailing bytes, a wrong checksum or an early end are
/// errors, as for Python's `gzip` (cloud-init then takes the bytes as they are). Nothing gives
/// nothing.
pub fn gunzip(bytes: &[u8], limit: usize) -> Result<Gunzipped, String> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if !is_gzip(rest) {
            return Err(match rest.len() == bytes.len() {
                true => "not a gzip stream".to_owned(),
                false => format!("{} bytes after the gzip stream", rest.len()),
            });
        }
        let mut member = GzDecoder::new(rest);
        let room = limit.saturating_sub(out.len());
        let ceiling = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut member).take(ceiling).read_to_end(&mut out);
        if out.len() > limit {
            out.truncate(limit);
            return Ok(Gunzipped { bytes: out, cut: true });
        }
        read.map_err(|error| format!("gzip: {error}"))?;
        let mut after = member.into_inner();
        let zeros = after.iter().take_while(|&&b| b == 0).count();
        after.consume(zeros);
        rest = after;
    }
    Ok(Gunzipped { bytes: out, cut: false })
}

/// Base64 of a MIME part: line ends and foreign characters are passed over, missing padding is
/// added. `None` where Python's `decode_b` gives up and keeps the text (one lone character).
pub fn base64_mime(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|b| !b"\r\n".contains(b)).collect();
    base64_lenient(&text).or_else(|| base64_lenient(&[&text, &b"=="[..]].concat()))
}

/// Base64 of a whole user data text, nothing but alphabet, padding and white space in it.
pub fn base64_whole(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let padding = text.iter().rev().take_while(|&&b| b == b'=').count();
    let data = text.get(..text.len() - padding)?;
    let fits = padding <= 2 && text.len().is_multiple_of(4) && !data.is_empty();
    (fits && data.iter().all(|&b| sextet(b).is_some())).then(|| base64_lenient(&text))?
}

/// As `binascii.a2b_base64`: `None` where it raises.
fn base64_lenient(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut place, mut pads, mut bits) = (0u8, 0u8, 0u8);
    for &byte in text {
        if byte == b'=' {
            if place >= 2 {
                pads += 1;
                if place + pads >= 4 {
                    return Some(out);
                }
            }
            continue;
        }
        let Some(value) = sextet(byte) else { continue };
        pads = 0;
        match place {
            0 => bits = value,
            1 => {
                out.push(bits << 2 | value >> 4);
                bits = value & 0x0f;
            }
            2 => {
                out.push(bits << 4 | value >> 2);
                bits = value & 0x03;
            }
            _ => out.push(bits << 6 | value),
        }
        place = (place + 1) % 4;
    }
    (place == 0).then_some(out)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Quoted-printable (RFC 2045, section 6.7). An escape that is none stays as it is.
pub fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'=' {
            out.push(first);
            continue;
        }
        match tail {
            [] => {}
            [b'\n', after @ ..] => rest = after,
            [b'\r', ..] => {
                // A soft line break: everything up to the line feed goes.
                let end = tail.iter().position(|&b| b == b'\n');
                rest = end.and_then(|at| tail.get(at + 1..)).unwrap_or_default();
            }
            [b'=', after @ ..] => {
                out.push(b'=');
                rest = after;
            }
            [high, low, after @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'='),
            },
            _ => out.push(b'='),
        }
    }
    out
}

/// Uuencode from its `begin` line to its `end`; `None` where there is no such line.
pub fn uudecode(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = text.split(|&b| b == b'\n');
    lines.find(|line| {
        let mut words = line.split(|&b| b == b' ');
        words.next() == Some(b"begin")
            && words.next().is_some_and(|mode| mode.iter().all(|b| (b'0'..=b'7').contains(b)))
            && words.next().is_some()
    })?;
    let mut out = Vec::new();
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii() == b"end" {
            break;
        }
        let Some((&length, data)) = line.split_first() else {
            continue;
        };
        let start = out.len();
        let length = usize::from(length.wrapping_sub(0x20) & 0x3f);
        for group in data.chunks(4) {
            let mut values = [0u8; 4];
            for (value, byte) in values.iter_mut().zip(group) {
                *value = byte.wrapping_sub(0x20) & 0x3f;
            }
            let [a, b, c, d] = values;
            out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        }
        out.resize(start + length, 0);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_members_zeros_and_garbage_as_python() {
        let two = [gzip(b"one "), vec![0; 3], gzip(b"two"), vec![0; 9]].concat();
        assert_eq!(gunzip(&two, 100).unwrap().bytes, b"one two");
        let garbage = [gzip(b"one"), b"#!".to_vec()].concat();
        assert!(gunzip(&garbage, 100).unwrap_err().contains("2 bytes after"));
        let whole = gzip(b"hello");
        assert!(gunzip(&whole[..whole.len() - 1], 100).is_err());
        let mut wrong_sum = whole.clone();
        let at = whole.len() - 8;
        wrong_sum[at] ^= 1;
        assert!(gunzip(&wrong_sum, 100).is_err());
        assert!(gunzip(b"plain", 100).unwrap_err().contains("not a gzip"));
        assert_eq!(gunzip(b"", 100).unwrap().bytes, b"");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![b'#'; 30 << 20]);
        assert!(bomb.len() < 64 << 10);
        let out = gunzip(&bomb, 1 << 20).unwrap();
        assert_eq!((out.bytes.len(), out.cut), (1 << 20, true));
        assert!(out.bytes.capacity() < 4 << 20);
        let exact = gunzip(&gzip(&[7; 100]), 100).unwrap();
        assert_eq!((exact.bytes.len(), exact.cut), (100, false));
    }

    // Expected values: email.message.Message.get_payload(decode=True), Python 3.11.
    #[test]
    fn base64_as_python_takes_it() {
        let cases: [(&[u8], Option<&[u8]>); 8] = [
            (b"aGVsbG8=", Some(b"hello")),
            (b"aGVs\r\nbG8", Some(b"hello")),
            (b"aGVs bG8=!!", Some(b"hello")),
            (b"aGVsbG8=aGVsbG8=", Some(b"hello")),
            (b"aG=VsbG8=", Some(b"hello")),
            (b"A", None),
            (b"====", Some(b"")),
            (b"", Some(b"")),
        ];
        for (text, expected) in cases {
            assert_eq!(base64_mime(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(base64_whole(b"aGVs\nbG8=\n").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64_whole(b"aGVs-G8="), None);
        assert_eq!(base64_whole(b""), None);
    }

    #[test]
    fn quoted_printable_as_python_takes_it() {
        let cases: [(&[u8], &[u8]); 7] = [
            (b"a=3Db=\nc", b"a=bc"),
            (b"a=\r\nb", b"ab"),
            (b"a=\rxyz\nb", b"ab"),
            (b"a==3D", b"a=3D"),
            (b"=zz=4", b"=zz=4"),
            (b"end=", b"end"),
            (b"=C3=a9 \t\n", b"\xc3\xa9 \t\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted_printable(text), expected, "{text:?}");
        }
    }

    #[test]
    fn uuencode_as_python_takes_it() {
        let text = b"begin 644 x\n+:&5L;&\\@=V]R;&0 \n \nend\n";
        assert_eq!(uudecode(text).as_deref(), Some(&b"hello world"[..]));
        assert_eq!(uudecode(b"no begin line"), None);
    }

    proptest! {
        #[test]
        fn round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(gunzip(&gzip(&bytes), 500).unwrap().bytes, bytes.clone());
            let text = STANDARD.encode(&bytes);
            prop_assert_eq!(base64_mime(text.as_bytes()).unwrap(), bytes.clone());
            if !bytes.is_empty() {
                prop_assert_eq!(base64_whole(text.as_bytes()).unwrap(), bytes.clone());
            }
            let quoted: String = bytes.iter().map(|b| format!("={b:02X}")).collect();
            prop_assert_eq!(quoted_printable(quoted.as_bytes()), bytes);
        }

        #[test]
        fn any_bytes_stay_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            if let Ok(out) = gunzip(&[&[0x1f, 0x8b, 8, 0], bytes.as_slice()].concat(), 64) {
                prop_assert!(out.bytes.len() <= 64);
            }
            prop_assert!(quoted_printable(&bytes).len() <= bytes.len());
            base64_mime(&bytes);
            base64_whole(&bytes);
            uudecode(&[b"begin 644 x\n", bytes.as_slice()].concat());
        }
    }
}
