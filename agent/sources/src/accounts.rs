//! Accounts as the host's own `passwd` names them: who a crontab belongs to, where homes are.
//! It never asks another name service (LDAP, SSSD): only what lies in the file is known here.

use std::collections::{HashMap, HashSet};

/// Accounts read from one file at most; a host has hundreds, a hostile file may have millions.
const MAX_ACCOUNTS: usize = 10_000;

/// One line of `passwd` (passwd(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Login name, as bytes.
    pub name: Vec<u8>,
    /// Numeric user id.
    pub uid: u32,
    /// Home directory, as bytes.
    pub home: Vec<u8>,
}

/// The accounts of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    all: Vec<Account>,
    names: HashMap<Vec<u8>, usize>,
}

impl Accounts {
    /// Reads the lines that are whole; others, and lines beyond the bound, are passed over.
    pub fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.split(|&b| b == b'\n').filter_map(account);
        let all: Vec<Account> = lines.take(MAX_ACCOUNTS).collect();
        let mut names = HashMap::new();
        for (at, account) in all.iter().enumerate() {
            names.entry(account.name.clone()).or_insert(at);
        }
        Self { all, names }
    }

    /// The first account of that name, as getpwnam(3) finds it.
    pub fn by_name(&self, name: &[u8]) -> Option<&Account> {
        self.names.get(name).and_then(|&at| self.all.get(at))
    }

    /// The first account of that id.
    pub fn by_uid(&self, uid: u32) -> Option<&Account> {
        self.all.iter().find(|account| account.uid == uid)
    }

    /// Each home once, with the first account that has it; `/` and relative paths are left out.
    pub fn homes(&self) -> impl Iterator<Item = &Account> {
        let mut seen = HashSet::new();
        self.all.iter().filter(move |account| {
            account.home.starts_with(b"/")
                && account.home.iter().any(|&b| b != b'/')
                && seen.insert(account.home.as_slice())
        })
    }
}

fn account(line: &[u8]) -> Option<Account> {
    let fields: Vec<&[u8]> = line.split(|&b| b == b':').collect();
    let [name, _, uid, _, _, home, ..] = fields.as_slice() else {
        return None;
    };
    Some(Account {
        name: name.to_vec(),
        uid: std::str::from_utf8(uid).ok()?.parse().ok()?,
        home: home.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_accounts_and_passes_over_broken_lines() {
        let accounts = Accounts::parse(
            b"root:x:0:0:root:/root:/bin/sh\n# no\nbad:x:y:0::/b:\ntoor:x:0:0::/root:/bin/sh\n\
              web:x:33:33:\xff:/srv/\xfe:/bin/sh\nnone:x:5:5::/:/bin/false",
        );
        assert_eq!(accounts.by_name(b"root").unwrap().uid, 0);
        assert_eq!(accounts.by_uid(33).unwrap().home, b"/srv/\xfe");
        assert!(accounts.by_name(b"bad").is_none());
        let homes: Vec<_> = accounts.homes().map(|a| a.name.as_slice()).collect();
        assert_eq!(homes, [b"root".as_slice(), b"web"]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Accounts::parse(&bytes).homes().count();
        }
    }
}
