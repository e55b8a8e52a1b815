//! Known names of miners and pools, from a list that is data (`mining-names.txt`).

use std::sync::LazyLock;

const LIST: &str = include_str!("mining-names.txt");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Domain,
    Text,
}

/// A line of the list.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    kind: Kind,
    /// The name, in lower case.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| LIST.lines().filter_map(line).collect());

fn line(line: &'static str) -> Option<Known> {
    if line.starts_with('#') {
        return None;
    }
    // Names may hold `:` themselves, so what follows begins with a blank.
    let (rule, what) = line.split_once(": ")?;
    let (kind, name) = rule.split_once(' ')?;
    let kind = match kind {
        "word" => Kind::Word,
        "domain" => Kind::Domain,
        "text" => Kind::Text,
        _ => return None,
    };
    Some(Known { kind, name, what })
}

/// The first known name in a text.
pub fn find(text: &[u8]) -> Option<&'static Known> {
    let lower = text.to_ascii_lowercase();
    KNOWN.iter().find(|known| known.is_in(&lower))
}

/// True where the text is that of a miner's program itself.
pub fn is_miner(program: &[u8]) -> bool {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    find(name).is_some_and(|known| known.what.contains("miner"))
}

impl Known {
    fn is_in(&self, lower: &[u8]) -> bool {
        let name = self.name.as_bytes();
        let (mut at, end) = (0, lower.len().saturating_sub(name.len().saturating_sub(1)));
        while at < end {
            let Some(rest) = lower.get(at..) else { return false };
            // Most bytes are no begin of the name: one search for the first byte skips them.
            let Some(skip) =
                name.first().and_then(|first| rest.iter().position(|byte| byte == first))
            else {
                return false;
            };
            at += skip;
            if lower.get(at..at + name.len()) == Some(name) && self.stands_alone(lower, at) {
                return true;
            }
            at += 1;
        }
        false
    }

    fn stands_alone(&self, lower: &[u8], at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| lower.get(before));
        let after = lower.get(at + self.name.len());
        let part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let joins = |byte: Option<&u8>| part(byte) || matches!(byte, Some(b'-' | b'_'));
        match self.kind {
            Kind::Word => !part(before) && !part(after),
            // A further label makes it another domain; a final dot does not.
            Kind::Domain => {
                let label = after == Some(&b'.') && part(lower.get(at + self.name.len() + 1));
                !joins(before) && !joins(after) && !label
            }
            Kind::Text => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_list_is_well_formed() {
        let lines = LIST.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.count(), KNOWN.len());
        for known in KNOWN.iter() {
            assert!(known.name.len() > 4 && known.what.len() > 3, "{known:?}");
            assert_eq!(known.name, known.name.to_ascii_lowercase());
        }
    }

    #[test]
    fn every_name_of_a_known_attack_is_caught() {
        for name in [
            "donate.v2.xmrig.com",
            "systemten.org",
            "xmr.pool.minergate.comac",
            "pool.minergate.com",
            "dockerupdate.anondns.net",
            "rspca-northamptonshire.org.uk",
            "xmrpool.eu",
            "cryptofollow.com",
            "xmr-usa.dwarfpool.com",
            "xmr-eu.dwarfpool.com",
            "xmr-eu1.nanopool.org",
        ] {
            assert!(find(name.as_bytes()).is_some(), "{name}");
            assert!(find(name.to_uppercase().as_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for name in [
            "systemten.org.example.com",
            "notsystemten.org",
            "my-systemten.org",
            "anondns.net",
            "examiner",
            "xmrigs",
            "deb.debian.org",
            "rspca.org.uk",
        ] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
        assert!(find(b"www.systemten.org.").is_some());
        assert!(is_miner(b"/tmp/.x/xmrig-notls") && !is_miner(b"/usr/bin/dig"));
        assert!(!is_miner(b"/xmrig/bin/dig") && !is_miner(b"minergate"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            find(&bytes);
        }
        #[test]
        fn words_are_found_anywhere(before in "[ -~]{0,30}", after in "[ -~]{0,30}") {
            let text = format!("{before} xmrig {after}");
            prop_assert!(find(text.as_bytes()).is_some());
        }
    }
}
