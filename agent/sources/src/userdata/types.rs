//! What cloud-init takes a part for: by its media type, and for the types that it does not trust
//! by the first characters of the payload. Never looks further into the payload.

use cleanroom_evidence::RawBytes;
use serde::Serialize;

/// What a part of user data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// YAML configuration; `bootcmd` and `runcmd` in it run as root.
    CloudConfig,
    /// A script that runs as root.
    XShellscript,
    /// A script that runs as root early in every boot.
    Boothook,
    /// URLs whose content is taken as user data.
    IncludeUrl,
    /// Python code that handles other parts.
    PartHandler,
    /// A template; the type of its result is that of its second line.
    Jinja,
    /// A job for upstart (old releases).
    Upstart,
    /// A YAML list of parts.
    Archive,
    /// Nothing that cloud-init handles.
    Unknown,
}

/// URLs kept of one part; a count tells of the others.
pub const MAX_URLS: usize = 256;
/// Bytes kept of one URL.
pub const MAX_URL_BYTES: usize = 4096;

/// Beginnings in lower case and the media type that cloud-init gives; a longer one wins over a
/// shorter one, so it stands first.
const BEGINNINGS: &[(&str, &str)] = &[
    ("#cloud-config-archive", "text/cloud-config-archive"),
    ("#cloud-config-jsonp", "text/cloud-config-jsonp"),
    ("## template: jinja", "text/jinja2"),
    ("#cloud-boothook", "text/cloud-boothook"),
    ("#include-once", "text/x-include-once-url"),
    ("#cloud-config", "text/cloud-config"),
    ("#part-handler", "text/part-handler"),
    ("#upstart-job", "text/upstart-job"),
    ("#include", "text/x-include-url"),
    ("#!", "text/x-shellscript"),
];

/// Media types under which a part is unpacked before it is typed.
const GZIP_TYPES: &[&str] = &[
    "application/gzip",
    "application/gzip-compressed",
    "application/gzipped",
    "application/x-compress",
    "application/x-compressed",
    "application/x-gunzip",
    "application/x-gzip",
    "application/x-gzip-compressed",
];

/// Characters that are looked at: more than the longest beginning, after white space is gone.
const LOOK_CHARS: usize = 64;

/// The media type that the first characters tell, white space before them and case ignored.
pub fn by_beginning(payload: &[u8]) -> Option<&'static str> {
    // Only the beginning is decoded: a byte that is no UTF-8 further on changes nothing here.
    let start = payload
        .iter()
        .position(|b| !b.is_ascii_whitespace() && !matches!(b, 0x0b | 0x1c..=0x1f))?;
    let end = payload.len().min(start.saturating_add(LOOK_CHARS * 4));
    let text = String::from_utf8_lossy(payload.get(start..end)?);
    let space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let text: String = text.trim_start_matches(space).to_lowercase();
    BEGINNINGS
        .iter()
        .find(|(beginning, _)| text.starts_with(beginning))
        .map(|(_, media_type)| *media_type)
}

/// True where cloud-init unpacks the part before it looks at it.
pub fn is_gzip_type(media_type: &[u8]) -> bool {
    GZIP_TYPES.iter().any(|known| known.as_bytes() == media_type)
}

/// The media type by which cloud-init handles the part: the declared one, except where that is
/// plain text, a shell script, absent or not to be trusted and the payload says otherwise.
pub fn effective(media_type: &[u8], payload: &[u8]) -> Vec<u8> {
    let doubted: [&[u8]; 3] = [b"text/plain", b"text/x-not-multipart", b"text/x-shellscript"];
    let found = doubted.contains(&media_type).then(|| by_beginning(payload)).flatten();
    found.map_or_else(|| media_type.to_vec(), |found| found.as_bytes().to_vec())
}

/// The kind of part that a media type means.
pub fn kind(media_type: &[u8]) -> PartKind {
    match media_type {
        b"text/cloud-config" | b"text/cloud-config-jsonp" => PartKind::CloudConfig,
        b"text/x-shellscript"
        | b"text/x-shellscript-per-boot"
        | b"text/x-shellscript-per-instance"
        | b"text/x-shellscript-per-once" => PartKind::XShellscript,
        b"text/cloud-boothook" => PartKind::Boothook,
        b"text/x-include-url" | b"text/x-include-once-url" => PartKind::IncludeUrl,
        b"text/part-handler" => PartKind::PartHandler,
        b"text/jinja2" => PartKind::Jinja,
        b"text/upstart-job" => PartKind::Upstart,
        b"text/cloud-config-archive" => PartKind::Archive,
        _ => PartKind::Unknown,
    }
}

/// The URLs of an include part, and how many there are: one a line, also after the marker itself;
/// comments are none. Nothing is fetched.
pub fn include_urls(payload: &[u8]) -> (Vec<RawBytes>, u64) {
    let (mut urls, mut total) = (Vec::new(), 0);
    for line in payload.split(|b| matches!(b, b'\n' | b'\r' | 0x0b | 0x0c | 0x1c..=0x1e)) {
        let lower = line.get(..13).unwrap_or(line).to_ascii_lowercase();
        let marker = match () {
            () if lower.starts_with(b"#include-once") => 13,
            () if lower.starts_with(b"#include") => 8,
            () => 0,
        };
        let rest = line.get(marker..).unwrap_or_default();
        let url = match marker {
            0 => rest,
            _ => rest.trim_ascii_start(),
        };
        let trimmed = url.trim_ascii();
        if url.starts_with(b"#") || trimmed.is_empty() {
            continue;
        }
        total += 1;
        if urls.len() < MAX_URLS {
            urls.push(trimmed.get(..MAX_URL_BYTES).unwrap_or(trimmed).into());
        }
    }
    (urls, total)
}

/// For a template, the media type that its second line tells.
pub fn template_of(payload: &[u8]) -> Option<&'static str> {
    let end = payload.iter().position(|&b| b == b'\n')?;
    by_beginning(payload.get(end..)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_beginning_is_found_before_a_shorter_one() {
        for (beginning, media_type) in BEGINNINGS {
            let text = format!(" \n\t{}\nrest", beginning.to_uppercase());
            assert_eq!(by_beginning(text.as_bytes()), Some(*media_type), "{beginning}");
        }
        assert!(BEGINNINGS.is_sorted_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len())));
        assert_eq!(by_beginning(b"echo hi"), None);
        assert_eq!(by_beginning("\u{feff}#!/bin/sh".as_bytes()), None);
        assert_eq!(by_beginning("\u{a0}#!/bin/sh".as_bytes()), Some("text/x-shellscript"));
        assert_eq!(by_beginning(b"#!/bin/sh \xff"), Some("text/x-shellscript"));
    }

    #[test]
    fn only_doubted_types_are_retyped() {
        let of = |media: &str, text: &str| {
            String::from_utf8(effective(media.as_bytes(), text.as_bytes())).unwrap()
        };
        assert_eq!(of("text/plain", "#cloud-config\n"), "text/cloud-config");
        assert_eq!(of("text/x-shellscript", "#cloud-config\n"), "text/cloud-config");
        assert_eq!(of("text/x-shellscript", "echo"), "text/x-shellscript");
        assert_eq!(of("text/cloud-config", "#!/bin/sh"), "text/cloud-config");
        assert_eq!(of("application/octet-stream", "#!/bin/sh"), "application/octet-stream");
    }

    #[test]
    fn urls_of_an_include() {
        let text = b"#include\nhttp://a/1\n# no\n\n#include-once http://b/2 \r\n #not-a-comment\n\
            #Include http://c\n#include #x\nfile:///etc/shadow";
        let (urls, total) = include_urls(text);
        let urls: Vec<&[u8]> = urls.iter().map(RawBytes::as_bytes).collect();
        let expected: [&[u8]; 5] =
            [b"http://a/1", b"http://b/2", b"#not-a-comment", b"http://c", b"file:///etc/shadow"];
        assert_eq!(urls, expected);
        assert_eq!(total, 5);
        let many = "#include\n".to_owned() + &"u\n".repeat(1000);
        let (urls, total) = include_urls(many.as_bytes());
        assert_eq!((urls.len(), total), (MAX_URLS, 1000));
    }

    #[test]
    fn a_template_tells_what_it_becomes() {
        let text = b"## template: jinja\n#cloud-config\nruncmd: [{{ x }}]";
        assert_eq!(kind(&effective(b"text/x-not-multipart", text)), PartKind::Jinja);
        assert_eq!(template_of(text), Some("text/cloud-config"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            kind(&effective(b"text/plain", &bytes));
            include_urls(&bytes);
            template_of(&bytes);
        }
    }
}
