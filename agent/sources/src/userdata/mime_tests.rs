//! Expected values come from `email.message_from_bytes` and `walk()` of Python 3.11.

use super::*;
use proptest::prelude::*;

fn leaves(text: &str) -> Vec<(String, String, String)> {
    parse(text.as_bytes(), 100, 8)
        .leaves
        .into_iter()
        .map(|leaf| {
            let payload = &text.as_bytes()[leaf.payload.clone()];
            (
                leaf.id,
                String::from_utf8(leaf.media_type).unwrap(),
                String::from_utf8(payload.to_vec()).unwrap(),
            )
        })
        .collect()
}

fn leaf(id: &str, media_type: &str, payload: &str) -> (String, String, String) {
    (id.to_owned(), media_type.to_owned(), payload.to_owned())
}

const HEAD: &str = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n";

#[test]
fn the_line_end_before_a_boundary_is_the_boundarys() {
    let text =
        format!("{HEAD}pre\n--b\n\none\n\n--b  \r\nContent-Type: a/B\r\n\r\ntwo\r\n--b--\nepi");
    let expected = [leaf("0", "text/plain", "one\n"), leaf("1", "a/b", "two")];
    assert_eq!(leaves(&text), expected);
    let notes = parse(text.as_bytes(), 100, 8).notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn an_unclosed_boundary_still_loses_its_last_line_end() {
    let text = format!("{HEAD}--b\n\none\n");
    assert_eq!(leaves(&text), [leaf("0", "text/plain", "one")]);
    let structure = parse(text.as_bytes(), 100, 8);
    assert_eq!(structure.leaves[0].notes, ["unclosed boundary"]);
}

#[test]
fn nested_parts_end_with_the_outer_boundary() {
    let inner = "Content-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--i\n\ny\n";
    let text =
        format!("{HEAD}--b\n{inner}--b\nContent-Type: message/rfc822\n\nSubject: s\n\nz\n--b--\n");
    let expected = [
        leaf("0.0", "text/plain", "x"),
        leaf("0.1", "text/plain", "y"),
        leaf("1.0", "text/plain", "z"),
    ];
    assert_eq!(leaves(&text), expected);
}

#[test]
fn odd_headers() {
    let cases = [
        ("--b\nno header\nrest\n", leaf("0", "text/plain", "no header\nrest")),
        ("--b\n folded: first\nContent-Type: a/b\n\nx\n", leaf("0", "a/b", "x")),
        ("--b\nContent-Type: a/b\nbody at once\n", leaf("0", "a/b", "body at once")),
        ("--b\nContent-Type: nonsense\n\nx\n", leaf("0", "text/plain", "x")),
        ("--b\ncontent-TYPE:\n a/b;\n\tq=1\n\nx\n", leaf("0", "a/b", "x")),
        ("--b\nContent-Type: a/b\nContent-Type: c/d\n\nx\n", leaf("0", "a/b", "x")),
        ("--b\n: nameless\nContent-Type: a/b\n\nx\n", leaf("0", "a/b", "x")),
        ("--b\n--b\n--b\n\nx\n", leaf("0", "text/plain", "x")),
    ];
    for (body, expected) in cases {
        assert_eq!(leaves(&format!("{HEAD}{body}--b--\n")), [expected], "{body}");
    }
}

#[test]
fn a_multipart_that_is_none_stays_whole() {
    let without = "MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--b\n\nx\n--b--\n";
    let expected = leaf("0", "multipart/mixed", "--b\n\nx\n--b--\n");
    assert_eq!(leaves(without), [expected]);
    let never = format!("{HEAD}--c\n\nx\n");
    assert_eq!(leaves(&never), [leaf("0", "multipart/mixed", "--c\n\nx\n")]);
    assert_eq!(
        leaves("MIME-Version: 1.0\n\n#!/bin/sh\n"),
        [leaf("0", "text/plain", "#!/bin/sh\n")]
    );
}

#[test]
fn parts_and_depth_are_bounded_and_say_so() {
    let many = format!("{HEAD}{}", "--b\n\nx\n".repeat(10_000));
    let structure = parse(many.as_bytes(), 100, 8);
    assert_eq!(structure.leaves.len(), 100);
    assert!(structure.bounded);
    assert_eq!(structure.notes, ["more than 100 parts: the others are only in the raw bytes"]);

    let deep: String = (0..10_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"))
        .collect();
    let structure = parse(deep.as_bytes(), 100, 8);
    assert_eq!(structure.leaves.len(), 1);
    assert_eq!(structure.leaves[0].id, "0.0.0.0.0.0.0.0");
    assert!(structure.bounded);
    assert!(structure.leaves[0].notes[0].contains("8 deep"));
}

#[test]
fn a_huge_header_line_is_cut() {
    let text = format!("{HEAD}--b\nContent-Type: a/b; x={}\n\nx\n--b--\n", "y".repeat(5 << 20));
    let structure = parse(text.as_bytes(), 100, 8);
    assert_eq!(structure.leaves[0].media_type, b"a/b");
    assert!(structure.leaves[0].declared.as_ref().unwrap().len() <= MAX_VALUE_BYTES);
    assert_eq!(structure.leaves[0].notes, ["a header longer than 16 KiB was cut"]);
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = [HEAD.as_bytes(), b"--b\n", &bytes].concat();
        for input in [&bytes, &text] {
            for leaf in parse(input, 10, 3).leaves {
                prop_assert!(input.get(leaf.payload).is_some());
            }
        }
    }

    #[test]
    fn lines_that_look_like_structure(
        lines in proptest::collection::vec(
            prop::sample::select(vec![
                "--b", "--b--", "--c", "--c--", "", "From x", " folded", "Content-Type: text/plain",
                "Content-Type: multipart/mixed; boundary=c", "Content-Type: message/rfc822", "text",
            ]),
            0..40,
        )
    ) {
        let text = format!("{HEAD}{}", lines.join("\n"));
        let structure = parse(text.as_bytes(), 20, 4);
        prop_assert!(structure.leaves.len() <= 20);
        let mut end = 0;
        for leaf in structure.leaves {
            prop_assert!(leaf.payload.start >= end && leaf.payload.end <= text.len());
            end = leaf.payload.end;
        }
    }

    #[test]
    fn payloads_come_back(
        payloads in proptest::collection::vec("[ -~\n]{0,60}", 1..6)
    ) {
        prop_assume!(payloads.iter().all(|p| !p.contains("--b")));
        let parts: String = payloads
            .iter()
            .map(|p| format!("--b\nContent-Type: a/b\n\n{p}\n"))
            .collect();
        let found: Vec<String> = leaves(&format!("{HEAD}{parts}--b--\n"))
            .into_iter()
            .map(|(_, _, payload)| payload)
            .collect();
        prop_assert_eq!(found, payloads);
    }
}
