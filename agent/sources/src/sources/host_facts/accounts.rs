//! Users and groups from `passwd`, `shadow` and `group`. Of `shadow` only whether an account has a
//! password and when that was set leaves this file, never a hash.

use super::read;
use crate::{Emitter, Host, SinkClosed, proc::fields::number};
use cleanroom_evidence::RawBytes;
use serde::Serialize;
use std::collections::HashMap;

/// Bytes of each of these files at most.
const FILE_BYTES: usize = 4 * 1024 * 1024;
/// Members listed of one group at most.
const MEMBERS: usize = 10_000;

/// What the password field says (crypt(5), shadow(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Password {
    /// There is a hash.
    Set,
    /// `!` or `*` comes first: no password opens the account.
    Locked,
    /// The field is empty: none is asked for.
    None,
}

impl Password {
    fn of(field: &[u8]) -> Self {
        match field.first() {
            None => Self::None,
            Some(b'!' | b'*') => Self::Locked,
            Some(_) => Self::Set,
        }
    }
}

/// One line of the set `users`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct User {
    path: &'static str,
    name: RawBytes,
    uid: u32,
    gid: u32,
    gecos: RawBytes,
    home: RawBytes,
    shell: RawBytes,
    /// Absent where `shadow` could not be read or lacks the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Password>,
    /// True where the hash stands in `passwd`, for everyone to read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    password_in_passwd: bool,
    /// When the password was set, in days since 1970-01-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_changed_days: Option<u64>,
}

/// One line of the set `groups`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Group {
    path: &'static str,
    name: RawBytes,
    gid: u32,
    members: Vec<RawBytes>,
    /// Only where the list is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    members_total: Option<u64>,
}

/// Name, password state and day of the last change.
type Shadow<'a> = HashMap<&'a [u8], (Password, Option<u64>)>;

fn parse_shadow(text: &[u8]) -> Shadow<'_> {
    let entry = |line| {
        let mut fields = fields(line);
        let name = fields.next()?;
        let password = Password::of(fields.next()?);
        Some((name, (password, fields.next().and_then(number))))
    };
    // The first entry of a name is the one that counts.
    let mut all = Shadow::new();
    for (name, facts) in text.split(|&b| b == b'\n').filter_map(entry) {
        all.entry(name).or_insert(facts);
    }
    all
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&b| b == b':')
}

fn parse_user(line: &[u8], shadow: &Shadow<'_>) -> Option<User> {
    let mut fields = fields(line);
    let name = fields.next().filter(|name| !name.is_empty())?;
    let field = fields.next()?;
    let in_passwd = (field != b"x").then(|| Password::of(field));
    let shadowed = shadow.get(name).filter(|_| in_passwd.is_none());
    let password = in_passwd.or(shadowed.map(|(password, _)| *password));
    Some(User {
        path: "/etc/passwd",
        name: name.into(),
        uid: number(fields.next()?)?,
        gid: number(fields.next()?)?,
        gecos: fields.next()?.into(),
        home: fields.next()?.into(),
        shell: fields.next().unwrap_or_default().into(),
        locked: password.map(|password| password == Password::Locked),
        password,
        password_in_passwd: in_passwd == Some(Password::Set),
        password_changed_days: shadowed.and_then(|(_, days)| *days),
    })
}

fn parse_group(line: &[u8]) -> Option<Group> {
    let mut fields = fields(line);
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = number(fields.nth(1)?)?;
    let members = fields.next().unwrap_or_default().split(|&b| b == b',');
    let mut all: Vec<&[u8]> = members.filter(|member| !member.is_empty()).collect();
    let total = all.len();
    all.truncate(MEMBERS);
    Some(Group {
        path: "/etc/group",
        name: name.into(),
        gid,
        members_total: (total > all.len()).then_some(total as u64),
        members: all.into_iter().map(RawBytes::from).collect(),
    })
}

/// Emits the sets `users` and `groups`.
pub fn emit(host: &Host, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    let passwd = read::bytes(host, b"/etc/passwd", FILE_BYTES, out).unwrap_or_default();
    let shadow = read::bytes(host, b"/etc/shadow", FILE_BYTES, out).unwrap_or_default();
    let shadow = parse_shadow(&shadow);
    each_entry(&passwd, "/etc/passwd", out, |line, out| {
        let user = parse_user(line, &shadow);
        user.map(|user| out.record("users", &user))
    })?;
    let group = read::bytes(host, b"/etc/group", FILE_BYTES, out).unwrap_or_default();
    each_entry(&group, "/etc/group", out, |line, out| {
        parse_group(line).map(|group| out.record("groups", &group))
    })
}

fn each_entry(
    text: &[u8],
    path: &str,
    out: &mut Emitter<'_>,
    emit: impl Fn(&[u8], &mut Emitter<'_>) -> Option<Result<(), SinkClosed>>,
) -> Result<(), SinkClosed> {
    for line in text.split(|&b| b == b'\n') {
        // Lines of NIS (`+`, `-`) name no account of this host.
        if matches!(line.first(), None | Some(b'#' | b'+' | b'-')) {
            continue;
        }
        match emit(line, out) {
            Some(result) => result?,
            None => out.gap("parse", path.as_bytes(), "a line that is no entry"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accounts_and_how_they_are_locked() {
        let shadow = parse_shadow(
            b"root:*:19000:0:99999:7:::\nadmin:$6$salt$hash:19001::::::\noff:!$6$x:::::::\nopen::1::\n\
              admin::1::\n",
        );
        let user = |line: &[u8]| parse_user(line, &shadow).unwrap();
        let admin = user(b"admin:x:1000:1000:A,,,:/home/admin:/bin/bash");
        assert_eq!((admin.uid, admin.gid), (1000, 1000));
        assert_eq!(admin.shell, RawBytes::from("/bin/bash"));
        assert_eq!((admin.locked, admin.password), (Some(false), Some(Password::Set)));
        assert_eq!(admin.password_changed_days, Some(19_001));
        assert_eq!(user(b"root:x:0:0::/root:/bin/sh").locked, Some(true));
        assert_eq!(user(b"off:x:1:1::/:/bin/sh").locked, Some(true));
        assert_eq!(user(b"open:x:1:1::/:").password, Some(Password::None));
        assert_eq!(user(b"unknown:x:1:1::/:").locked, None);
        let plain = user(b"toor:$1$hash:0:0::/:/bin/sh");
        assert!(plain.password_in_passwd && plain.locked == Some(false));
        assert!(!serde_json::to_string(&plain).unwrap().contains("$1$"));
        assert_eq!(parse_user(b"short:x:1", &shadow), None);
        let group = parse_group(b"sudo:x:27:admin,eve").unwrap();
        assert_eq!((group.gid, group.members.len()), (27, 2));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let shadow = parse_shadow(&bytes);
            let _ = (parse_user(&bytes, &shadow), parse_group(&bytes));
        }
    }
}
