//! How much a path tells: programs of packages lie in a few places, and what runs from elsewhere
//! earns more attention. After the Filesystem Hierarchy Standard 3.0 and file-hierarchy(7).

/// What kind of place a path is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Where packages put programs.
    Package,
    /// Where administrators put them.
    Local,
    /// Where nobody puts them: an unknown folder of `/usr`, a hidden folder, a device folder.
    Unusual,
    /// Where every user may write.
    Temporary,
}

const TEMPORARY: &[&str] =
    &["/tmp/", "/var/tmp/", "/dev/", "/run/user/", "/run/lock/", "/var/lock/"];
const PACKAGE: &[&str] = &[
    "/bin/",
    "/sbin/",
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/libx32/",
    "/boot/",
    "/etc/",
    "/snap/",
    "/nix/store/",
    "/usr/bin/",
    "/usr/sbin/",
    "/usr/lib/",
    "/usr/lib32/",
    "/usr/lib64/",
    "/usr/libx32/",
    "/usr/libexec/",
    "/usr/share/",
    "/usr/games/",
    "/usr/include/",
    "/usr/src/",
];

/// The standing of an absolute path.
pub fn standing(path: &[u8]) -> Standing {
    let within = |places: &[&str]| places.iter().any(|place| path.starts_with(place.as_bytes()));
    let hidden = path.split(|byte| *byte == b'/').any(|name| {
        name.first() == Some(&b'.') && !matches!(name, b"." | b".." | b".local" | b".cache")
    });
    if within(TEMPORARY) {
        Standing::Temporary
    } else if hidden || path.windows(4).any(|w| w == b"/../") {
        Standing::Unusual
    } else if within(PACKAGE) {
        Standing::Package
    } else if path.starts_with(b"/usr/") && !path.starts_with(b"/usr/local/") {
        Standing::Unusual
    } else {
        Standing::Local
    }
}

/// Absolute paths that a command names as programs or files: not what it only writes to, and not
/// devices.
pub fn paths_of(command: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut redirected = false;
    command.split(is_separator).filter_map(move |whole| {
        let word = match whole.iter().position(|byte| *byte == b'>') {
            Some(at) if at > 0 && whole.starts_with(b"/") => whole.get(..at).unwrap_or_default(),
            _ => whole,
        };
        if word.is_empty() {
            return None;
        }
        let into = std::mem::replace(&mut redirected, whole.ends_with(b">"));
        let path = word.starts_with(b"/") && !into && word.len() > 1;
        let device = matches!(word, b"/dev/null" | b"/dev/zero" | b"/dev/stdout" | b"/dev/stderr");
        (path && !device).then_some(word)
    })
}

fn is_separator(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || b";|&()`\"'={}".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, expected) in [
            ("/usr/sbin/sshd", Standing::Package),
            ("/usr/local/bin/x", Standing::Local),
            ("/opt/app/bin/x", Standing::Local),
            ("/usr/cryptokit/persist.sh", Standing::Unusual),
            ("/var/www/.x/run", Standing::Unusual),
            ("/usr/bin/../../srv/x", Standing::Unusual),
            ("/tmp/x", Standing::Temporary),
            ("/dev/shm/.x", Standing::Temporary),
            ("/", Standing::Local),
        ] {
            assert_eq!(standing(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn paths_that_a_command_runs() {
        let of = |command: &'static str| -> Vec<&[u8]> { paths_of(command.as_bytes()).collect() };
        assert_eq!(
            of("[ -x /usr/bin/a ] && /usr/bin/a>/dev/null 2>&1"),
            [b"/usr/bin/a".as_slice(), b"/usr/bin/a"]
        );
        assert_eq!(of("cd / && run > /var/log/x 2> /tmp/y"), Vec::<&[u8]>::new());
        assert_eq!(of("X=/opt/x \"/srv/y\" | sh"), [b"/opt/x".as_slice(), b"/srv/y"]);
    }
}
