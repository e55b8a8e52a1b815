//! Names below one domain whose labels carry data: gathers them in the order of first sight, tells
//! data from words, joins and decodes. Bounded memory; never asks a resolver.

use super::{
    Evidence, Gathered,
    encoding::{Encoding, entropy, is_readable},
};
use std::collections::{HashMap, HashSet};

/// Bytes of labels that are kept, over all domains.
const BYTES: usize = 16 * 1024 * 1024;
/// Domains that are kept.
const DOMAINS: usize = 65_536;
/// Fewest different names of one domain that make a run.
const FEWEST: usize = 8;
/// Fewest characters of data per name, on average.
const SHORTEST: usize = 16;
/// Fewest characters in all where the data cannot be read.
const UNREADABLE_CHARACTERS: usize = 512;

/// Names by their domain.
#[derive(Default)]
pub struct Labels {
    domains: HashMap<Vec<u8>, Domain>,
    /// Domains in the order of first sight.
    order: Vec<Vec<u8>>,
    bytes: usize,
}

#[derive(Default)]
struct Domain {
    seen: HashSet<Vec<u8>>,
    names: Vec<Vec<Vec<u8>>>,
    gathered: Gathered,
    sightings: u64,
    left_out: u64,
}

/// A run of names that carry data.
pub struct Run {
    /// The domain that they are below.
    pub domain: Vec<u8>,
    /// Different names.
    pub names: usize,
    /// Names seen in all, repetitions included.
    pub sightings: u64,
    /// Different names that found no room.
    pub left_out: u64,
    /// Characters of data.
    pub characters: usize,
    /// Entropy of the data, in bits per character.
    pub entropy: f64,
    /// How it is encoded, where that can be told.
    pub encoding: Option<Encoding>,
    /// What it decodes to, where that can be read.
    pub decoded: Option<Vec<u8>>,
    /// The names' first sightings.
    pub gathered: Gathered,
}

impl Labels {
    /// Adds a name as it was seen.
    pub fn add(&mut self, name: &[u8], evidence: impl FnOnce() -> Evidence) {
        let Some((payload, domain)) = split(name) else { return };
        let domain = domain.to_ascii_lowercase();
        if !self.domains.contains_key(&domain) {
            if self.domains.len() >= DOMAINS {
                return;
            }
            self.order.push(domain.clone());
        }
        let entry = self.domains.entry(domain).or_default();
        entry.sightings += 1;
        // A resolver may change the case of letters on the way; that is no new name.
        let key = payload.to_ascii_lowercase();
        if entry.seen.contains(&key) {
            return;
        }
        if self.bytes + payload.len() > BYTES {
            entry.left_out += 1;
            return;
        }
        self.bytes += payload.len();
        entry.seen.insert(key);
        entry.names.push(payload.split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect());
        entry.gathered.add(evidence);
    }

    /// The runs, in the order of first sight.
    pub fn runs(&mut self) -> Vec<Run> {
        let order = std::mem::take(&mut self.order);
        let mut runs = Vec::new();
        for name in order {
            let domain = self.domains.remove(&name);
            runs.extend(domain.and_then(|domain| run(name, domain)));
        }
        runs
    }
}

/// The labels that may carry data, and the domain above them: its last two labels, or three below
/// a country's registry (`co.uk`). `None` where nothing is left, and for names of addresses,
/// services and the local link.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let dots: Vec<usize> = name
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(at, byte)| (*byte == b'.').then_some(at))
        .take(3)
        .collect();
    let label = |from: usize, to: usize| name.get(from + 1..to).unwrap_or_default();
    let (last, second, third) = (*dots.first()?, *dots.get(1)?, dots.get(2));
    let top = name.get(last + 1..)?;
    let ends = |ending: &[u8]| top.eq_ignore_ascii_case(ending);
    if ends(b"arpa") || ends(b"local") {
        return None;
    }
    let registry = top.len() == 2 && label(second, last).len() <= 3;
    let at = if registry { *third? } else { second };
    let (payload, domain) = name.split_at_checked(at)?;
    let service = payload.split(|byte| *byte == b'.').any(|label| label.first() == Some(&b'_'));
    (!payload.is_empty() && !service).then_some((payload, domain.get(1..)?))
}

fn run(name: Vec<u8>, mut domain: Domain) -> Option<Run> {
    if domain.names.len() < FEWEST {
        return None;
    }
    let suffix = trim(&mut domain.names);
    let words: Vec<Vec<u8>> = domain.names.iter().map(|labels| labels.concat()).collect();
    let joined: Vec<u8> = words.concat();
    if joined.len() < SHORTEST * words.len() {
        return None;
    }
    let bits = entropy(&joined);
    let encoding = Encoding::guess(&joined);
    let decoded = encoding.and_then(|encoding| {
        // One stream cut into names, or each name encoded on its own.
        let whole = encoding.decode(&joined);
        let parts = || words.iter().map(|word| encoding.decode(word)).collect::<Option<Vec<_>>>();
        whole
            .filter(|bytes| is_readable(bytes))
            .or_else(|| parts().map(|parts| parts.concat()).filter(|bytes| is_readable(bytes)))
    });
    let digits = joined.iter().filter(|byte| byte.is_ascii_digit()).count();
    let dense = encoding.is_some() || (bits >= 4.3 && digits * 10 >= joined.len());
    if decoded.is_none() && (!dense || joined.len() < UNREADABLE_CHARACTERS) {
        return None;
    }
    Some(Run {
        domain: [suffix.join(&b'.'), name]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(&b'.'),
        names: words.len(),
        sightings: domain.sightings,
        left_out: domain.left_out,
        characters: joined.len(),
        entropy: bits,
        encoding,
        decoded,
        gathered: domain.gathered,
    })
}

/// Takes off what all names share (a session's label, a constant prefix) and columns of plain
/// numbers (a counter); gives the shared labels next to the domain.
fn trim(names: &mut [Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let mut suffix = Vec::new();
    loop {
        let shared = match names {
            [first, rest @ ..] if first.len() > 1 => {
                let last = first.last().cloned().unwrap_or_default();
                let all =
                    rest.iter().all(|labels| labels.len() > 1 && labels.last() == Some(&last));
                all.then_some(last)
            }
            _ => None,
        };
        let Some(shared) = shared else { break };
        names.iter_mut().for_each(|labels| drop(labels.pop()));
        suffix.insert(0, shared);
    }
    let counter = |label: &Vec<u8>| label.len() <= 6 && label.iter().all(u8::is_ascii_digit);
    let even = |names: &[Vec<Vec<u8>>]| names.iter().all(|labels| labels.len() > 1);
    while even(names) {
        let first = names.first().and_then(|labels| labels.first()).cloned().unwrap_or_default();
        let constant = names.iter().all(|labels| labels.first() == Some(&first));
        let counted = names.iter().all(|labels| labels.first().is_some_and(counter));
        if !constant && !counted {
            break;
        }
        names.iter_mut().for_each(|labels| drop(labels.remove(0)));
    }
    if even(names) && names.iter().all(|labels| labels.last().is_some_and(counter)) {
        names.iter_mut().for_each(|labels| drop(labels.pop()));
    }
    suffix
}

/// Names of hosts in a line of a script or a configuration.
pub fn names_in(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.".contains(&byte);
    line.split(move |byte| !part(*byte)).filter_map(|word| {
        let word = match word.strip_prefix(b"//") {
            Some(address) => address.split(|byte| *byte == b'/').next().unwrap_or_default(),
            None => word,
        };
        let word = word.strip_suffix(b".").unwrap_or(word);
        let dots = word.iter().filter(|byte| **byte == b'.').count();
        (dots >= 2 && word.len() <= 255 && !word.starts_with(b".")).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::At;
    use proptest::prelude::*;

    fn runs(names: &[String]) -> Vec<Run> {
        let mut labels = Labels::default();
        for name in names {
            let at = At { item: 1, set: "dns", line: Some(1) };
            labels.add(name.as_bytes(), || Evidence::new(at, &["name"], name.clone()));
        }
        labels.runs()
    }

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    const SECRET: &str =
        "The quick brown fox jumps over 13 lazy dogs, then it takes the money and runs.";

    fn chunks(size: usize) -> Vec<String> {
        hex(SECRET)
            .as_bytes()
            .chunks(size)
            .map(|c| String::from_utf8(c.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn domains() {
        let of = |name: &str| {
            let name = name.as_bytes().to_vec();
            split(&name).map(|(p, d)| {
                (String::from_utf8_lossy(p).into_owned(), String::from_utf8_lossy(d).into_owned())
            })
        };
        let some = |p: &str, d: &str| Some((p.to_owned(), d.to_owned()));
        assert_eq!(of("data.evil.com"), some("data", "evil.com"));
        assert_eq!(of("a.b.evil.co.uk."), some("a.b", "evil.co.uk"));
        assert_eq!(of("evil.co.uk"), None);
        assert_eq!(of("evil.com"), None);
        assert_eq!(of("1.0.0.127.in-addr.arpa"), None);
        assert_eq!(of("_ldap._tcp.example.com"), None);
    }

    #[test]
    fn counters_and_session_labels_are_no_data() {
        let with = |form: fn(usize, &String) -> String| -> Vec<String> {
            chunks(18).iter().enumerate().map(|(n, chunk)| form(n, chunk)).collect()
        };
        for names in [
            with(|_, c| format!("{c}.evil.com")),
            with(|n, c| format!("{n}.{c}.s1.evil.com")),
            with(|n, c| format!("x.{c}.{n}.evil.com")),
        ] {
            let found = runs(&names);
            assert_eq!(found.len(), 1, "{names:?}");
            let decoded = found[0].decoded.as_ref().unwrap();
            assert_eq!(String::from_utf8_lossy(decoded), SECRET);
        }
    }

    #[test]
    fn repetitions_and_changed_case_count_once() {
        let mut names: Vec<String> = chunks(18).iter().map(|c| format!("{c}.evil.com")).collect();
        names.extend(names.clone().iter().map(|name| name.to_uppercase()));
        let found = runs(&names);
        assert_eq!((found[0].names, found[0].sightings), (names.len() / 2, names.len() as u64));
        assert_eq!(found[0].decoded.as_deref(), Some(SECRET.as_bytes()));
    }

    #[test]
    fn ordinary_names_are_no_run() {
        let cdn: Vec<String> = (0..40)
            .map(|n| format!("static-images-number-{n}.content-delivery.eu-central-1.example.com"))
            .collect();
        let short: Vec<String> = (0..40).map(|n| format!("mx{n}.example.com")).collect();
        let few: Vec<String> = chunks(40).iter().map(|c| format!("{c}.evil.com")).collect();
        assert!(runs(&cdn).is_empty() && runs(&short).is_empty() && runs(&few).is_empty());
    }

    #[test]
    fn unreadable_data_need_more_of_it() {
        let noise = |names: u64| -> Vec<String> {
            let digest =
                |n: u64| cleanroom_evidence::Sha256Digest::of(&n.to_le_bytes()).to_string();
            (0..names).map(|n| format!("{}.evil.com", &digest(n)[..48])).collect()
        };
        assert!(runs(&noise(9)).is_empty());
        let found = runs(&noise(20));
        assert!(found[0].decoded.is_none() && found[0].encoding == Some(Encoding::Hex));
    }

    proptest! {
        #[test]
        fn never_panics(names in proptest::collection::vec("[a-zA-Z0-9._=-]{0,60}", 0..40)) {
            runs(&names);
        }
        #[test]
        fn words_of_lines(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            for name in names_in(&line) {
                prop_assert!(name.len() <= 255);
            }
        }
    }
}
