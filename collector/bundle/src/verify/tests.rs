//! Every byte of a small bundle is changed, and the file is cut at every place: all is refused.

use super::*;
use crate::testing::{Scene, flipped};
use proptest::prelude::*;

fn check(bytes: &[u8]) -> Result<Verified, VerifyError> {
    verify_tar(bytes, &VerifyOptions::default())
}

#[test]
fn a_bundle_verifies_and_says_what_it_is() {
    let scene = Scene::new();
    let exported = scene.export("b.tar", false).unwrap();
    let found = verify(&exported.path, &VerifyOptions::default()).unwrap();
    assert_eq!(found.case.as_str(), "case-1");
    assert_eq!((found.sessions, found.items), (1, scene.items));
    assert_eq!((found.files, found.bytes), (exported.files, exported.bytes));
    assert_eq!(found.custody_root, exported.custody_root);
    assert!(!found.key_was_expected);
    for key in [found.key.clone(), found.key_fingerprint.to_string()] {
        let options = VerifyOptions {
            expected_key: Some(key),
        };
        assert!(verify(&exported.path, &options).unwrap().key_was_expected);
    }
    let other = VerifyOptions {
        expected_key: Some("0".repeat(64)),
    };
    let error = verify(&exported.path, &other).unwrap_err();
    assert!(matches!(error, VerifyError::WrongKey { .. }), "{error}");
}

#[test]
fn every_changed_byte_is_refused() {
    let bytes = Scene::new().tar();
    let start = std::time::Instant::now();
    check(&bytes).unwrap();
    eprintln!("{} {:?}", bytes.len(), start.elapsed());
    for at in 0..bytes.len() {
        let changed = flipped(&bytes, at, 1 << (at % 8));
        assert!(check(&changed).is_err(), "byte {at} of {} is free", bytes.len());
    }
}

#[test]
fn every_cut_is_refused() {
    let bytes = Scene::new().tar();
    let near_end = bytes.len() - 2000..bytes.len();
    for length in (0..bytes.len()).step_by(512).chain(near_end) {
        assert!(check(&bytes[..length]).is_err(), "cut to {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        prop_assert!(check(&bytes).is_err());
    }

    #[test]
    fn a_spoiled_stretch_never_panics(
        at in any::<usize>(), with in proptest::collection::vec(any::<u8>(), 1..2000),
    ) {
        static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| Scene::new().tar());
        let mut bytes = BYTES.clone();
        let at = at % bytes.len();
        for (to, from) in bytes[at..].iter_mut().zip(&with) { *to = *from; }
        if bytes != *BYTES {
            prop_assert!(check(&bytes).is_err());
        }
    }
}
