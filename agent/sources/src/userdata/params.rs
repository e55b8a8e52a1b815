//! Parameters of a MIME header value (`Content-Type`, `Content-Disposition`), as Python's email
//! package reads them, because that is what cloud-init runs on. Never decodes a charset.

/// Bytes of one header value that are looked at; a longer one is cut there.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// The value before its first `;`, trimmed, in lower case.
pub fn essence(value: &[u8]) -> Vec<u8> {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    let head = value.get(..end).unwrap_or_default();
    head.trim_ascii().to_ascii_lowercase()
}

/// The parameter `wanted` (lower case), unquoted; with RFC 2231 continuations (`name*0=`) joined
/// and percent escapes of extended values (`name*=utf-8''…`) decoded.
pub fn parameter(value: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    let value = value.get(..MAX_VALUE_BYTES).unwrap_or(value);
    let mut pieces: Vec<(u32, bool, Vec<u8>)> = Vec::new();
    for field in fields(value) {
        let (name, content) = match field.iter().position(|&b| b == b'=') {
            Some(at) => {
                (field.get(..at).unwrap_or_default(), field.get(at + 1..).unwrap_or_default())
            }
            None => (field, &b""[..]),
        };
        let name = name.trim_ascii().to_ascii_lowercase();
        let content = unquote(content.trim_ascii());
        if name == wanted {
            return Some(content);
        }
        // Plain parameters win over split or extended ones, so those only wait here.
        if let Some(rest) = name.strip_prefix(wanted).and_then(|n| n.strip_prefix(b"*")) {
            let extended = rest.is_empty() || rest.ends_with(b"*");
            let number = rest.strip_suffix(b"*").unwrap_or(rest);
            let number = match number {
                b"" => Some(0),
                digits => std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()),
            };
            if let Some(number) = number {
                pieces.push((number, extended, content));
            }
        }
    }
    if pieces.is_empty() {
        return None;
    }
    pieces.sort();
    let any_extended = pieces.iter().any(|(_, extended, _)| *extended);
    let joined: Vec<u8> = pieces
        .iter()
        .flat_map(|(_, extended, text)| match extended {
            true => percent_decoded(text),
            false => text.clone(),
        })
        .collect();
    Some(match any_extended {
        true => after_language(&joined).to_vec(),
        false => joined,
    })
}

/// The fields between semicolons; a semicolon inside double quotes does not count.
fn fields(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut before) = (false, 0u8);
    value.split(move |&byte| {
        let is_end = byte == b';' && !quoted;
        if byte == b'"' && before != b'\\' {
            quoted = !quoted;
        }
        before = byte;
        is_end
    })
}

fn unquote(text: &[u8]) -> Vec<u8> {
    match text {
        [b'"', inner @ .., b'"'] => unescape(inner),
        [b'<', inner @ .., b'>'] => inner.to_vec(),
        _ => text.to_vec(),
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [next @ (b'\\' | b'"'), after @ ..]) => {
                out.push(*next);
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = after;
            continue;
        }
        out.push(first);
        rest = tail;
    }
    out
}

/// The text of an RFC 2231 extended value: what follows `charset'language'`.
fn after_language(text: &[u8]) -> &[u8] {
    let mut quotes = text.iter().enumerate().filter(|(_, b)| **b == b'\'').map(|(at, _)| at);
    match (quotes.next(), quotes.next()) {
        (Some(_), Some(second)) => text.get(second + 1..).unwrap_or_default(),
        _ => text,
    }
}

/// The value of a hexadecimal digit.
pub fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|value| value.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(value: &str, name: &str) -> Option<String> {
        parameter(value.as_bytes(), name.as_bytes()).map(|v| String::from_utf8(v).unwrap())
    }

    // The expected values are what `Message.get_param` of Python 3.11 gives.
    #[test]
    fn reads_what_python_reads() {
        let seed = "multipart/mixed; boundary=\"//\"";
        assert_eq!(essence(seed.as_bytes()), b"multipart/mixed");
        assert_eq!(get(seed, "boundary").as_deref(), Some("//"));
        let cases = [
            ("a/b; BOUNDARY = x y ;z=1", "boundary", Some("x y")),
            ("a/b; boundary=\"a;b\\\"c\"; q=1", "boundary", Some("a;b\"c")),
            ("a/b; boundary=<q>", "boundary", Some("q")),
            ("a/b;\n\tboundary=\"==\"", "boundary", Some("==")),
            ("attachment; filename*=utf-8'en'a%20b", "filename", Some("a b")),
            ("x; filename*0=\"a\"; filename*1=\"b\"", "filename", Some("ab")),
            ("x; filename*1*=c%21; filename*0*=''ab", "filename", Some("abc!")),
            ("x; filename=p; filename*=''e", "filename", Some("p")),
            ("multipart/mixed", "boundary", None),
        ];
        for (value, name, expected) in cases {
            assert_eq!(get(value, name).as_deref(), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_value_comes_back(text in "[ -~]{0,40}") {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assume!(!text.contains('\\'));
            let header = format!("a/b; n=\"{quoted}\"");
            prop_assert_eq!(get(&header, "n"), Some(text));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            essence(&bytes);
            parameter(&bytes, b"boundary");
            parameter(&[b"a; n*", bytes.as_slice()].concat(), b"n");
        }
    }
}
