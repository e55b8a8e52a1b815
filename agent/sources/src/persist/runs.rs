//! The commands that a file names, where that is cheap to see. Pure: from the first bytes of the
//! file. It shows what to look at first; the raw file stays the evidence.

/// Bytes of one record's text at most.
const TEXT_BYTES: usize = 16 * 1024;

/// How to see what a file runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parser {
    /// Not looked into.
    Nothing,
    /// The file itself is run.
    Itself,
    /// Every line that is no comment.
    Script,
    /// Every word (`ld.so.preload`: names with blanks or colons between them, ld.so(8)).
    Words,
    /// systemd units: `Exec*=` of services, `On*=` and `Unit=` of timers (systemd.unit(5)).
    Unit,
    /// `command=` and `environment=` options (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
    AuthorizedKeys,
    /// `RUN`, `PROGRAM` and `IMPORT{program}` (udev(7)).
    Udev,
    /// Lines with `pam_exec`, `pam_script` or a module given by its path (pam.conf(5)).
    Pam,
    /// `install` and `remove` lines (modprobe.d(5)).
    Modprobe,
    /// sshd_config and ssh_config keywords that run something.
    Ssh,
    /// Hooks of apt: `Pre-Invoke` and the like (apt.conf(5)).
    Apt,
    /// `Exec=` of a desktop entry or D-Bus service.
    Desktop,
    /// `up`, `pre-up`, `down`, `post-down` (interfaces(5)).
    Interfaces,
    /// The restart policy in a container's host configuration.
    Restart,
}

/// What is seen in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Commands, one a line; empty where none is seen.
    pub runs: Vec<u8>,
    /// The account that runs them, where the file says so.
    pub user: Option<Vec<u8>>,
}

impl Parser {
    /// What the file runs. `path` is what it is called, `bytes` its beginning.
    pub fn look(self, path: &[u8], bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        match self {
            Self::Nothing => {}
            Self::Itself => seen.add(path),
            Self::Script => lines(bytes).for_each(|line| seen.add(line)),
            Self::Words => {
                let code = bytes
                    .split(|&b| b == b'\n')
                    .map(|line| line.split(|&b| b == b'#').next().unwrap_or_default());
                let words = code.flat_map(|l| l.split(|&b| b == b':' || b.is_ascii_whitespace()));
                words.for_each(|word| seen.add(word));
            }
            Self::Unit => unit(bytes, &mut seen),
            Self::AuthorizedKeys => {
                for line in lines(bytes) {
                    for option in options(line) {
                        if starts(option, &[b"command=", b"environment="]) {
                            seen.add(option);
                        }
                    }
                }
            }
            Self::Udev => {
                let keys: [&[u8]; 3] = [b"RUN", b"PROGRAM", b"IMPORT{program}"];
                for line in lines(bytes) {
                    for part in commas(line).map(<[u8]>::trim_ascii) {
                        if starts(part, &keys) {
                            seen.add(part);
                        }
                    }
                }
            }
            Self::Pam => {
                let mark = |line: &[u8]| {
                    let words = || line.split(u8::is_ascii_whitespace);
                    words().any(|w| starts(w, &[b"pam_exec", b"pam_script", b"pam_python"]))
                        || words().any(|w| w.starts_with(b"/") && w.ends_with(b".so"))
                };
                lines(bytes).filter(|line| mark(line)).for_each(|line| seen.add(line));
            }
            Self::Modprobe => keyed(bytes, &["install", "remove"], &mut seen),
            Self::Ssh => keyed(
                bytes,
                &[
                    "authorizedkeyscommand",
                    "authorizedkeysfile",
                    "authorizedprincipalscommand",
                    "forcecommand",
                    "subsystem",
                    "proxycommand",
                    "localcommand",
                    "knownhostscommand",
                    "include",
                ],
                &mut seen,
            ),
            Self::Apt => {
                let mark = |line: &[u8]| {
                    let low = line.to_ascii_lowercase();
                    [&b"invoke"[..], b"pre-install-pkgs", b"proxy-auto-detect", b"run"]
                        .iter()
                        .any(|w| find(&low, w))
                };
                lines(bytes)
                    .filter(|line| mark(line) && !line.starts_with(b"//"))
                    .for_each(|line| seen.add(line));
            }
            Self::Desktop => {
                lines(bytes)
                    .filter_map(|line| line.strip_prefix(b"Exec="))
                    .for_each(|line| seen.add(line));
            }
            Self::Interfaces => {
                keyed(
                    bytes,
                    &["up", "pre-up", "post-up", "down", "pre-down", "post-down"],
                    &mut seen,
                );
            }
            Self::Restart => {
                let at = bytes.windows(15).position(|window| window == b"\"RestartPolicy\"");
                if let Some(rest) = at.and_then(|at| bytes.get(at..)) {
                    let end =
                        rest.iter().position(|&b| b == b'}').map_or(rest.len(), |end| end + 1);
                    seen.add(rest.get(..end.min(200)).unwrap_or_default());
                }
            }
        }
        seen
    }
}

/// What a path is by its name, where `what` alone is too coarse.
pub(crate) fn what(path: &[u8], what: &'static str) -> &'static str {
    if what != "systemd" {
        return what;
    }
    let kinds: [(&[u8], &str); 8] = [
        (b".service", "systemd-service"),
        (b".timer", "systemd-timer"),
        (b".socket", "systemd-socket"),
        (b".path", "systemd-path"),
        (b".mount", "systemd-mount"),
        (b".automount", "systemd-automount"),
        (b".target", "systemd-target"),
        (b".conf", "systemd-drop-in"),
    ];
    let known = kinds.iter().find(|(end, _)| path.ends_with(end));
    known.map_or("systemd-other", |(_, what)| what)
}

/// The files that `AuthorizedKeysFile` lines of an sshd_config name, as patterns: `%h` and a
/// relative path mean each home (sshd_config(5)).
pub(crate) fn authorized_keys_files(config: &[u8]) -> Vec<Vec<u8>> {
    let mut seen = Seen::default();
    keyed(config, &["authorizedkeysfile"], &mut seen);
    let words = seen.runs.split(|&b| b == b'\n').flat_map(|line| {
        line.split(|&b| b.is_ascii_whitespace() || b == b'=' || b == b'"').skip(1)
    });
    let pattern = |word: &[u8]| {
        let home = word.strip_prefix(b"%h/").or_else(|| (!word.starts_with(b"/")).then_some(word));
        let path = home.map_or_else(|| word.to_vec(), |rest| [b"~/", rest].concat());
        // `%u` (the account) becomes any name; other tokens are not path parts that we know.
        let text = path.split(|&b| b == b'/').map(|part| match part.contains(&b'%') {
            true => b"*".to_vec(),
            false => part.to_vec(),
        });
        text.collect::<Vec<_>>().join(&b'/')
    };
    words.filter(|word| !word.is_empty() && *word != b"none").take(20).map(pattern).collect()
}

impl Seen {
    fn add(&mut self, text: &[u8]) {
        let text = text.trim_ascii();
        if text.is_empty() || self.runs.len() + text.len() + 1 > TEXT_BYTES {
            return;
        }
        if !self.runs.is_empty() {
            self.runs.push(b'\n');
        }
        self.runs.extend_from_slice(text);
    }
}

fn unit(bytes: &[u8], seen: &mut Seen) {
    let mut going_on = false;
    for line in bytes.split(|&b| b == b'\n').map(<[u8]>::trim_ascii) {
        if matches!(line.first(), Some(b'#' | b';')) {
            continue;
        }
        let key = line.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii_end();
        let told = starts(
            key,
            &[
                b"Exec",
                b"OnCalendar",
                b"OnBoot",
                b"OnUnit",
                b"OnStartup",
                b"OnActive",
                b"OnFailure",
                b"OnSuccess",
                b"Listen",
                b"Path",
            ],
        ) || key == b"Unit"
            || key == b"Also";
        if !going_on && key == b"User" {
            let value = line.get(key.len()..).unwrap_or_default().trim_ascii();
            seen.user = value.strip_prefix(b"=").map(|v| v.trim_ascii().to_vec());
        }
        let wanted = if going_on { true } else { told && line.contains(&b'=') };
        if wanted {
            seen.add(line);
        }
        going_on = wanted && line.ends_with(b"\\");
    }
}

/// Lines without blanks around them, without comments and empty ones.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let trimmed = bytes.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
    trimmed.filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Lines whose first word is one of the keys, in any case.
fn keyed(bytes: &[u8], keys: &[&str], seen: &mut Seen) {
    for line in lines(bytes) {
        let end = line.iter().position(|&b| b.is_ascii_whitespace() || b == b'=');
        let word = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
        if keys.iter().any(|key| key.as_bytes().eq_ignore_ascii_case(word)) {
            seen.add(line);
        }
    }
}

/// The options before the key type of an authorized_keys line: parts between commas, up to the
/// first blank outside quotes.
fn options(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let end = line.iter().position(|&b| {
        quoted ^= b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        !quoted && (b == b' ' || b == b'\t')
    });
    commas(line.get(..end.unwrap_or(line.len())).unwrap_or_default())
}

fn commas(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |&b| {
        quoted ^= b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        b == b',' && !quoted
    })
}

fn starts(text: &[u8], any: &[&[u8]]) -> bool {
    any.iter().any(|start| text.starts_with(start))
}

fn find(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn runs(parser: Parser, text: &str) -> String {
        String::from_utf8(parser.look(b"/p", text.as_bytes()).runs).unwrap()
    }

    #[test]
    fn commands_of_each_kind() {
        let service = "[Service]\nUser=web\n#ExecStart=no\nExecStart=/bin/a \\\n  --b\nRestart=no\nOnFailure=c\n";
        let seen = Parser::Unit.look(b"/x.service", service.as_bytes());
        assert_eq!(seen.runs, b"ExecStart=/bin/a \\\n--b\nOnFailure=c");
        assert_eq!(seen.user.as_deref(), Some(&b"web"[..]));
        assert_eq!(runs(Parser::Unit, "[Timer]\nOnCalendar=*:0/15\n"), "OnCalendar=*:0/15");
        assert_eq!(
            runs(Parser::Words, "/lib/evil.so /b.so:/c.so # x\n"),
            "/lib/evil.so\n/b.so\n/c.so"
        );
        assert_eq!(
            runs(
                Parser::AuthorizedKeys,
                "no-pty,command=\"sh -c \\\"a,b c\\\"\" ssh-ed25519 AAAA command=x\nssh-rsa B\n"
            ),
            "command=\"sh -c \\\"a,b c\\\"\""
        );
        assert_eq!(
            runs(
                Parser::Udev,
                "ACTION==\"add\", RUN+=\"/bin/x, y\", MODE=\"0600\"\n# RUN+=\"no\"\n"
            ),
            "RUN+=\"/bin/x, y\""
        );
        assert_eq!(
            runs(Parser::Pam, "auth required pam_unix.so\nsession optional pam_exec.so /x\n"),
            "session optional pam_exec.so /x"
        );
        assert_eq!(runs(Parser::Ssh, "PermitRootLogin no\nforceCommand /x\n"), "forceCommand /x");
        assert_eq!(
            runs(Parser::Apt, "APT::Update::Post-Invoke {\"/x\"};\nAPT::Get \"1\";\n"),
            "APT::Update::Post-Invoke {\"/x\"};"
        );
        assert_eq!(runs(Parser::Itself, "binary"), "/p");
        assert_eq!(runs(Parser::Interfaces, "iface eth0 inet dhcp\n  post-up /x\n"), "post-up /x");
        let json = r#"{"a":1,"RestartPolicy":{"Name":"always","MaximumRetryCount":0},"b":2}"#;
        assert_eq!(
            runs(Parser::Restart, json),
            r#""RestartPolicy":{"Name":"always","MaximumRetryCount":0}"#
        );
    }

    #[test]
    fn authorized_keys_elsewhere() {
        let config = b"AuthorizedKeysFile .ssh/keys %h/k /etc/keys/%u /fixed none\n# AuthorizedKeysFile no\n";
        let patterns = authorized_keys_files(config);
        let expect: [&[u8]; 4] = [b"~/.ssh/keys", b"~/k", b"/etc/keys/*", b"/fixed"];
        assert_eq!(patterns, expect);
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            use Parser::*;
            for parser in [Nothing, Itself, Script, Words, Unit, AuthorizedKeys, Udev, Pam, Modprobe, Ssh, Apt, Desktop, Interfaces, Restart] {
                prop_assert!(parser.look(b"/p", &bytes).runs.len() <= TEXT_BYTES);
            }
            let _ = authorized_keys_files(&bytes);
        }
    }
}
