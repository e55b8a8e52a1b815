//! A job of at(1): what its spool file's name and its script say (at 3.2.5).
//! The environment that the script restores may hold secrets: it stays in the raw file.

/// What the name of a spool file says: queue, number, due minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtName {
    /// `a` by default; an upper-case letter for batch; `=` while it runs.
    pub queue: u8,
    /// The job's number.
    pub number: u64,
    /// Due time, in seconds since 1970-01-01 UTC; whole minutes.
    pub due_seconds: i64,
}

/// What the head of the script says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AtScript<'a> {
    /// The uid for which it was queued; atd wants it to be the file's owner.
    pub uid: Option<u32>,
    /// The account that gets the output.
    pub mail_to: Option<&'a [u8]>,
    /// The directory to which it changes first, as it stands there (shell quoting included).
    pub directory: Option<&'a [u8]>,
    /// What the user gave, after the head; the whole script where there is no such head.
    pub body: &'a [u8],
}

/// Reads a name: one queue byte, five hexadecimal digits (number), eight (minutes since 1970).
pub(crate) fn name(name: &[u8]) -> Option<AtName> {
    let (&queue, digits) = name.split_first()?;
    let (number, minutes) = digits.split_at_checked(5)?;
    let minutes = minutes.get(..minutes.len().min(8))?;
    let hex = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    Some(AtName {
        queue,
        number: hex(number)?,
        due_seconds: i64::try_from(hex(minutes)?).ok()?.checked_mul(60)?,
    })
}

/// Reads the script's head line by line; a script of another make gives only its body.
pub(crate) fn script(bytes: &[u8]) -> AtScript<'_> {
    let mut script = AtScript { body: bytes, ..AtScript::default() };
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|&b| b == b'\n') {
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
        rest = after.get(1..).unwrap_or_default();
        if let Some(words) = line.strip_prefix(b"# atrun uid=") {
            let uid = words.split(|&b| b == b' ').next().unwrap_or_default();
            script.uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok());
        } else if let Some(words) = line.strip_prefix(b"# mail ") {
            script.mail_to = words.split(|&b| b == b' ').find(|word| !word.is_empty());
        } else if let Some(directory) =
            line.strip_prefix(b"cd ").and_then(|line| line.strip_suffix(b" || {"))
        {
            script.directory = Some(directory);
        } else if line == b"}" && script.directory.is_some() {
            script.body = rest;
            break;
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_spool_file_as_at_writes_it() {
        let name = name(b"a0000201b2c3d4").unwrap();
        assert_eq!((name.queue, name.number), (b'a', 2));
        assert_eq!(name.due_seconds, 0x01b2_c3d4 * 60);
        assert_eq!(super::name(b".SEQ"), None);
        assert_eq!(super::name(b"a0000+01b2c3d4"), None);
        let text = b"#!/bin/sh\n# atrun uid=33 gid=33\n# mail web 0\numask 22\n\
                     KEY=secret; export KEY\ncd /tmp || {\n\t echo 'no' >&2\n\t exit 1\n}\ncurl x | sh\n";
        let script = script(text);
        assert_eq!((script.uid, script.mail_to), (Some(33), Some(&b"web"[..])));
        assert_eq!((script.directory, script.body), (Some(&b"/tmp"[..]), &b"curl x | sh\n"[..]));
        assert_eq!(super::script(b"rm -rf /\n").body, b"rm -rf /\n");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = name(&bytes);
            prop_assert!(bytes.ends_with(script(&bytes).body));
        }
    }
}
