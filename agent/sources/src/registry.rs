//! Every source, in one ordered list. A new source is one file under `sources/` and one line here.

use crate::{Source, sources};

/// All sources in the order of volatility.
pub static ALL: &[&dyn Source] = &[
    &sources::processes::Processes,
    &sources::sockets::Sockets,
    &sources::host_facts::HostFacts,
    &sources::dns::Dns,
    &sources::dns_watch::DnsWatch,
    &sources::user_data::UserData,
    &sources::crontabs::Crontabs,
    &sources::persistence::Persistence,
    &sources::files::Files,
    &sources::volumes::Volumes,
];

/// The source of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Source> {
    ALL.iter().copied().find(|source| source.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Emitter, Host, Options, Sink, SinkClosed};
    use cleanroom_evidence::{ItemHeader, ItemStatus, Outcome, Sha256Digest};

    #[derive(Default)]
    struct Counting {
        open: bool,
        items: usize,
    }

    impl Sink for Counting {
        fn begin(&mut self, _: ItemHeader) -> Result<(), SinkClosed> {
            assert!(!self.open, "begin inside an item");
            self.open = true;
            self.items += 1;
            Ok(())
        }
        fn write(&mut self, _: &[u8]) -> Result<(), SinkClosed> {
            assert!(self.open, "bytes outside an item");
            Ok(())
        }
        fn seal(&mut self, _: ItemStatus) -> Result<Sha256Digest, SinkClosed> {
            assert!(std::mem::take(&mut self.open), "seal outside an item");
            Ok(Sha256Digest::of(b""))
        }
    }

    #[test]
    fn names_are_unique_and_the_order_is_that_of_volatility() {
        for (at, source) in ALL.iter().enumerate() {
            let name = source.name();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            assert!(!source.about().is_empty(), "{name}");
            assert!(ALL.iter().skip(at + 1).all(|other| other.name() != name), "{name} twice");
            assert!(by_name(name).is_some());
        }
        assert!(ALL.iter().map(|s| s.volatility()).is_sorted());
    }

    #[test]
    fn an_empty_root_gives_an_outcome_from_every_source_and_a_balanced_sink() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path()).unwrap();
        let options = Options { imds: false, ..Options::default() };
        for source in ALL {
            let mut sink = Counting::default();
            let mut out = Emitter::new(source.name(), &mut sink);
            let outcome = source.collect(&host, &options, &mut out).unwrap();
            assert!(!matches!(outcome, Outcome::Failed(_)), "{}: {outcome:?}", source.name());
            drop(out);
            assert!(!sink.open, "{} left an item open", source.name());
        }
    }
}
