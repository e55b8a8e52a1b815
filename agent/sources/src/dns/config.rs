//! Lines of resolver configuration as keys and values. It says what the files say; it never
//! decides what a resolver would make of them.

/// Lines of one file at most that become records.
pub const LINES: usize = 20_000;
/// Bytes of a key or a value at most.
const PART_BYTES: usize = 4096;

/// How the lines of a file are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A word, then the rest: resolv.conf(5), gai.conf(5), host.conf(5), nscd.conf(5), and hosts(5)
    /// with the address as the key.
    Words,
    /// `key: value`: nsswitch.conf(5), unbound.conf(5).
    Colon,
    /// `key=value` or a key alone: dnsmasq(8), environment files.
    Equals,
    /// `[Section]` and `Key=Value`: resolved.conf(5). The key is given as `Section.Key`.
    Sections,
    /// Not lines (named.conf): only kept raw.
    Raw,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The key as written; with its section, for [`Format::Sections`].
    pub key: Vec<u8>,
    /// The value as written, without outer white space and comment; empty where there is none.
    pub value: Vec<u8>,
}

/// The lines of a file, and whether there were more than [`LINES`].
pub fn parse(bytes: &[u8], format: Format) -> (Vec<Line>, bool) {
    let mut section: &[u8] = b"";
    let mut lines = Vec::new();
    if format == Format::Raw {
        return (lines, false);
    }
    for line in bytes.split(|&b| b == b'\n') {
        let line = without_comment(line, format).trim_ascii();
        if line.is_empty() {
            continue;
        }
        if format == Format::Sections
            && let Some(name) = line.strip_prefix(b"[").and_then(|l| l.strip_suffix(b"]"))
        {
            section = name;
            continue;
        }
        if lines.len() >= LINES {
            return (lines, true);
        }
        let separates = |b: &u8| match format {
            Format::Colon => *b == b':',
            Format::Equals | Format::Sections => *b == b'=',
            Format::Words | Format::Raw => b.is_ascii_whitespace(),
        };
        let at = line.iter().position(separates).unwrap_or(line.len());
        let key = bounded(line.get(..at).unwrap_or_default());
        let value = bounded(line.get(at + 1..).unwrap_or_default());
        let key = match section {
            b"" => key,
            section => [bounded(section).as_slice(), b".", &key].concat(),
        };
        lines.push(Line { key, value });
    }
    (lines, false)
}

fn bounded(part: &[u8]) -> Vec<u8> {
    let part = part.trim_ascii();
    part.get(..PART_BYTES).unwrap_or(part).to_vec()
}

fn without_comment(line: &[u8], format: Format) -> &[u8] {
    let starts_comment = |line: &[u8]| {
        let marks: &[u8] = if format == Format::Equals { b"#" } else { b"#;" };
        line.trim_ascii_start().first().is_some_and(|first| marks.contains(first))
    };
    if starts_comment(line) {
        return b"";
    }
    // A `#` later in the line is a comment after white space only (a dnsmasq server is `IP#PORT`).
    let at = line
        .windows(2)
        .position(|pair| matches!(pair, [before, b'#'] if before.is_ascii_whitespace()));
    match at.filter(|_| format != Format::Sections) {
        Some(at) => line.get(..at).unwrap_or(line),
        None => line,
    }
}

/// Absolute paths that a configuration names as log files: dnsmasq's `log-facility`, unbound's
/// `logfile`, and every `file "…"` of named.
pub fn log_paths(bytes: &[u8], format: Format) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    let unquote = |value: &[u8]| -> Vec<u8> {
        let is_quote = |b: &u8| *b != b'"';
        value.iter().copied().filter(|b| is_quote(b)).collect()
    };
    if format == Format::Raw {
        let words: Vec<&[u8]> = bytes
            .split(|b| b.is_ascii_whitespace() || *b == b';')
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            if let [b"file", path] = pair {
                paths.push(unquote(path));
            }
        }
    } else {
        for line in parse(bytes, format).0 {
            if matches!(&line.key[..], b"log-facility" | b"logfile") {
                paths.push(unquote(&line.value));
            }
        }
    }
    paths.retain(|path| path.first() == Some(&b'/') && path.len() < PART_BYTES);
    paths.truncate(32);
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str, format: Format) -> Vec<(String, String)> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let lines = parse(text.as_bytes(), format).0;
        lines.into_iter().map(|line| (text_of(line.key), text_of(line.value))).collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn reads_each_format() {
        let text = "# by dhcp\n; old\nnameserver 10.0.0.2\n search\ta.internal b.internal # x\noptions edns0\n";
        let wanted = [
            pair("nameserver", "10.0.0.2"),
            pair("search", "a.internal b.internal"),
            pair("options", "edns0"),
        ];
        assert_eq!(pairs(text, Format::Words), wanted);
        assert_eq!(
            pairs("127.0.0.1 localhost  h # c\n", Format::Words),
            [pair("127.0.0.1", "localhost  h")]
        );
        assert_eq!(pairs("hosts:  files dns\n", Format::Colon), [pair("hosts", "files dns")]);
        let text = "server=10.0.0.1#5353\nno-resolv\naddress=/x/1.2.3.4 # c\n#a=b";
        let wanted =
            [pair("server", "10.0.0.1#5353"), pair("no-resolv", ""), pair("address", "/x/1.2.3.4")];
        assert_eq!(pairs(text, Format::Equals), wanted);
        let text = "[Resolve]\n#DNS=\nDNS=9.9.9.9#dns.example\n[Other]\nX = y";
        let wanted = [pair("Resolve.DNS", "9.9.9.9#dns.example"), pair("Other.X", "y")];
        assert_eq!(pairs(text, Format::Sections), wanted);
    }

    #[test]
    fn finds_log_files() {
        assert_eq!(
            log_paths(b"log-facility=/var/log/q.log\nlog-facility=DAEMON", Format::Equals),
            [b"/var/log/q.log"]
        );
        assert_eq!(log_paths(b"server:\n logfile: \"/var/log/u\"", Format::Colon), [b"/var/log/u"]);
        let named = b"channel q { file \"/var/log/named/q.log\" versions 3; };";
        assert_eq!(log_paths(named, Format::Raw), [b"/var/log/named/q.log"]);
    }

    #[test]
    fn is_bounded() {
        let (lines, more) = parse(&b"a b\n".repeat(LINES + 1), Format::Words);
        assert_eq!((lines.len(), more), (LINES, true));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for format in [Format::Words, Format::Colon, Format::Equals, Format::Sections, Format::Raw] {
                let _ = (parse(&bytes, format), log_paths(&bytes, format));
            }
        }
    }
}
