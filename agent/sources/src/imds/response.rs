//! An HTTP/1.1 answer out of bytes (RFC 9112): status line, headers, and a body by length, in
//! chunks, or to the end of the connection. Pure and bounded; any bytes give a verdict.

/// Bytes of status line and headers at most.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Bytes of one chunk's size line at most.
const MAX_CHUNK_LINE: usize = 256;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, 100–999.
    pub status: u16,
    /// The body, decoded from its chunks.
    pub body: Vec<u8>,
}

/// The answer in the bytes that have come so far; `None` while it is not whole. `ended` says that
/// no more will come. Bytes after the answer are passed over. An error where it is no HTTP/1.x
/// answer or goes beyond its bounds.
pub fn parse(bytes: &[u8], ended: bool, max_body: usize) -> Result<Option<Response>, String> {
    let Some((head, rest)) = split_head(bytes) else {
        let too_long = bytes.len() > MAX_HEAD_BYTES;
        return match (too_long, ended) {
            (true, _) => Err(format!("headers longer than {MAX_HEAD_BYTES} bytes")),
            (_, true) => Err("the answer ends within its headers".to_owned()),
            _ => Ok(None),
        };
    };
    let mut lines = head.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end);
    let status = status(lines.next().unwrap_or_default())?;
    let framing = framing(lines)?;
    let too_long = || format!("a body of more than {max_body} bytes");
    let body = match framing {
        _ if status == 204 || status == 304 => Some(Vec::new()),
        Framing::Length(length) if length > max_body => return Err(too_long()),
        Framing::Length(length) => rest.get(..length).map(<[u8]>::to_vec),
        Framing::Chunks => dechunk(rest, max_body)?,
        Framing::UntilEnd if rest.len() > max_body => return Err(too_long()),
        Framing::UntilEnd => ended.then(|| rest.to_vec()),
    };
    if body.is_none() && ended {
        return Err("the answer ends within its body".to_owned());
    }
    Ok(body.map(|body| Response { status, body }))
}

enum Framing {
    Length(usize),
    Chunks,
    UntilEnd,
}

/// Head and rest, where the blank line is there within the bound.
fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let window = bytes.get(..MAX_HEAD_BYTES).unwrap_or(bytes);
    let end = window.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 4..)?))
}

fn status(line: &[u8]) -> Result<u16, String> {
    let bad = || "not an HTTP/1.x answer".to_owned();
    let rest = line.strip_prefix(b"HTTP/1.").ok_or_else(bad)?;
    let [b'0' | b'1', b' ', code @ ..] = rest else {
        return Err(bad());
    };
    let (digits, after) = code.split_at_checked(3).ok_or_else(bad)?;
    let whole = matches!(after, [] | [b' ', ..]) && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).map_err(|_| bad())?;
    let status = text.parse().map_err(|_| bad())?;
    match (whole, status) {
        (true, 200..) => Ok(status),
        (true, 100..) => Err(format!("an interim answer (HTTP {status}) that was not asked for")),
        _ => Err(bad()),
    }
}

fn framing<'b>(headers: impl Iterator<Item = &'b [u8]>) -> Result<Framing, String> {
    let mut framing = Framing::UntilEnd;
    for line in headers {
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            return Err("a header line without a colon".to_owned());
        };
        let name = line.get(..colon).unwrap_or_default();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a transfer encoding that was not asked for".to_owned());
            }
            framing = Framing::Chunks;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok().filter(|_| digits);
            let length = length.and_then(|text| text.parse().ok());
            let length = length.ok_or("a Content-Length that is no number")?;
            match framing {
                // Chunks win over a length (RFC 9112, section 6.3).
                Framing::Chunks => {}
                Framing::Length(other) if other != length => {
                    return Err("two different lengths".to_owned());
                }
                _ => framing = Framing::Length(length),
            }
        }
    }
    Ok(framing)
}

/// The body out of its chunks; `None` while the last one is not there. Trailers are not waited
/// for: nothing in them is used.
fn dechunk(bytes: &[u8], max_body: usize) -> Result<Option<Vec<u8>>, String> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let window = rest.get(..MAX_CHUNK_LINE).unwrap_or(rest);
        let Some(end) = window.windows(2).position(|w| w == b"\r\n") else {
            return match window.len() < MAX_CHUNK_LINE {
                true => Ok(None),
                false => Err("a chunk's size line is too long".to_owned()),
            };
        };
        let line = rest.get(..end).unwrap_or_default();
        let digits = line.split(|&b| b == b';').next().unwrap_or_default();
        let digits = digits.trim_ascii();
        let fits = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits).ok().filter(|_| fits);
        let size = size.and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or("a chunk without a size")?;
        if size == 0 {
            return Ok(Some(body));
        }
        if size > max_body.saturating_sub(body.len()) {
            return Err(format!("a body of more than {max_body} bytes"));
        }
        let start = end + 2;
        let Some(data) = rest.get(start..start + size) else {
            return Ok(None);
        };
        body.extend_from_slice(data);
        rest = match rest.get(start + size..).unwrap_or_default() {
            [b'\r', b'\n', after @ ..] => after,
            [] | [b'\r'] => return Ok(None),
            _ => return Err("a chunk longer than its size".to_owned()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Result<Option<Response>, String> {
        parse(text.as_bytes(), true, 100)
    }

    fn body(text: &str) -> String {
        String::from_utf8(whole(text).unwrap().unwrap().body).unwrap()
    }

    #[test]
    fn three_ways_to_frame_a_body() {
        assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcdef"), "abc");
        assert_eq!(body("HTTP/1.0 200\r\nServer: x\r\n\r\nabc"), "abc");
        let chunked = "HTTP/1.1 404 Not\r\nTransfer-Encoding: Chunked\r\nContent-Length: 9\r\n\r\n\
            2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        let answer = whole(chunked).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (404, &b"abc"[..]));
    }

    #[test]
    fn hostile_answers_are_refused() {
        let cases = [
            ("", "within its headers"),
            ("HTTP/2 200 OK\r\n\r\n", "not an HTTP/1.x"),
            ("HTTP/1.1 2x0 OK\r\n\r\n", "not an HTTP/1.x"),
            ("HTTP/1.1 2000\r\n\r\n", "not an HTTP/1.x"),
            ("HTTP/1.1 100 Continue\r\n\r\n", "interim"),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "without a colon"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no number"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "no number"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "more than 100 bytes"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "two different"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "within its body"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "not asked for"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "more than 100"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n", "without a size"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
                "longer than its size",
            ),
        ];
        for (text, expected) in cases {
            let why = whole(text).unwrap_err();
            assert!(why.contains(expected), "{text:?}: {why}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(MAX_HEAD_BYTES));
        assert!(parse(endless.as_bytes(), false, 10).unwrap_err().contains("headers longer"));
        let body = format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(11));
        assert!(parse(body.as_bytes(), false, 10).unwrap_err().contains("more than 10"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_verdict(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            ended in any::<bool>(),
        ) {
            let heads: [&[u8]; 3] = [
                b"",
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ];
            for head in heads {
                let text = [head, &bytes].concat();
                if let Ok(Some(answer)) = parse(&text, ended, 50) {
                    prop_assert!(answer.body.len() <= 50);
                }
            }
        }

        #[test]
        fn a_prefix_waits_and_the_whole_gives_the_body(
            content in proptest::collection::vec(any::<u8>(), 0..80),
            cut in 0usize..200,
            step in 1usize..20,
        ) {
            let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in content.chunks(step) {
                chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
                chunked.extend_from_slice(chunk);
                chunked.extend(b"\r\n");
            }
            chunked.extend(b"0\r\n");
            let mut sized = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len())
                .into_bytes();
            sized.extend_from_slice(&content);
            for text in [chunked, sized] {
                let answer = parse(&text, false, 80).unwrap().unwrap();
                prop_assert_eq!(&answer.body, &content);
                if let Some(prefix) = text.get(..cut).filter(|p| p.len() < text.len()) {
                    prop_assert_eq!(parse(prefix, false, 80), Ok(None));
                }
            }
        }
    }
}
