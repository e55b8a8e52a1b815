//! The seed's own user data, the encodings together, and hostile texts.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cleanroom_evidence::Sha256Digest;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::{convert::Infallible, io::Write as _};

const SEED: &[u8] = include_bytes!("../../tests/data/seed-user-data.txt");

#[derive(Debug)]
struct Got {
    id: String,
    media_type: String,
    kind: PartKind,
    filename: Option<String>,
    encodings: Vec<&'static str>,
    bytes: Vec<u8>,
    notes: Vec<String>,
}

fn take_apart(bytes: &[u8], bounds: &Bounds) -> (Vec<Got>, Summary) {
    let mut got = Vec::new();
    let summary = decode(bytes, bounds, |part| {
        got.push(Got {
            id: part.id.to_owned(),
            media_type: String::from_utf8_lossy(&part.media_type).into_owned(),
            kind: part.kind,
            filename: part.filename.map(|n| String::from_utf8_lossy(n).into_owned()),
            encodings: part.encodings,
            bytes: part.bytes.into_owned(),
            notes: part.notes,
        });
        Ok::<(), Infallible>(())
    });
    (got, summary.unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The digests are those of `message_from_bytes(seed).get_payload()[n].get_payload(decode=True)`;
/// cloud-init 22.4 gives the same two and an empty third, which it passes to no handler.
#[test]
fn the_seed_has_exactly_its_two_parts() {
    let (parts, summary) = take_apart(SEED, &Bounds::default());
    let [config, script] = parts.as_slice() else { panic!("{} parts", parts.len()) };
    assert_eq!(config.id, "0");
    assert_eq!(config.kind, PartKind::CloudConfig);
    assert_eq!(config.filename.as_deref(), Some("cloud-config.txt"));
    let expected = b"#cloud-config\ncloud_final_modules:\n- [scripts-user, always]\n";
    assert_eq!(config.bytes, expected);
    assert_eq!(script.id, "1");
    assert_eq!(script.kind, PartKind::XShellscript);
    assert_eq!(script.filename.as_deref(), Some("userdata.txt"));
    assert_eq!(script.bytes.len(), 7250);
    let digest = "cb5307e7eadf036e94f628a73fc4cd4deb44c6a8b1bf5158f12aa763572853d4";
    assert_eq!(Sha256Digest::of(&script.bytes).to_string(), digest);
    assert!(script.bytes.ends_with(b"persist.sh\" >> /var/spool/cron/root"));
    assert_eq!(script.notes, ["unclosed boundary"]);
    assert_eq!(summary.parts, 2);
    assert!(!summary.bounded);
}

#[test]
fn the_seed_without_its_closing_line_or_wrapped_gives_the_same() {
    let (plain, _) = take_apart(SEED, &Bounds::default());
    let closed = [SEED.strip_suffix(b"\n").unwrap(), b"--\n"].concat();
    let cut = SEED.strip_suffix(b"--//\n").unwrap();
    let base64 = STANDARD.encode(SEED).into_bytes();
    let wrapped: Vec<u8> = base64.chunks(76).flat_map(|l| [l, b"\n"].concat()).collect();
    let both = STANDARD.encode(gzip(SEED)).into_bytes();
    let cases: [(&[u8], &[&str]); 6] = [
        (&closed, &[]),
        (cut, &[]),
        (&base64, &["base64"]),
        (&wrapped, &["base64"]),
        (&gzip(SEED), &["gzip"]),
        (&both, &["base64", "gzip"]),
    ];
    for (text, encodings) in cases {
        let (parts, _) = take_apart(text, &Bounds::default());
        let bytes: Vec<&[u8]> = parts.iter().map(|p| p.bytes.as_slice()).collect();
        let expected: Vec<&[u8]> = plain.iter().map(|p| p.bytes.as_slice()).collect();
        assert_eq!(bytes, expected, "{encodings:?}");
        assert!(parts.iter().all(|p| p.encodings == encodings), "{encodings:?}");
    }
}

#[test]
fn parts_in_every_encoding() {
    let script = b"#!/bin/sh\necho hello\n";
    let text = [
        &b"Content-Type: multipart/mixed; boundary=B\nMIME-Version: 1.0\n\n"[..],
        b"--B\nContent-Type: application/x-gzip; name=z.gz\nContent-Transfer-Encoding: base64\n\n",
        STANDARD.encode(gzip(script)).as_bytes(),
        b"\n--B\nContent-Type: text/plain\nContent-Transfer-Encoding: Quoted-Printable\n\n",
        b"#cloud-boothook\n=23 x=\ny\n",
        b"--B\n\n#include\nhttp://a/x\n",
        b"--B\nContent-Type: application/x-gzip\n\nnot gzip\n",
        b"--B\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nA\n=\n",
        b"--B\nContent-Type: text/x-shellscript-per-boot\n\necho\r\nx\n",
        b"--B--\n",
    ]
    .concat();
    let (parts, summary) = take_apart(&text, &Bounds::default());
    assert_eq!(summary.parts, 6);
    assert_eq!(parts[0].bytes, script);
    assert_eq!(parts[0].encodings, ["base64", "gzip"]);
    assert_eq!(parts[0].kind, PartKind::XShellscript);
    assert_eq!(parts[0].filename.as_deref(), Some("z.gz"));
    assert_eq!(parts[1].bytes, b"#cloud-boothook\n# xy");
    assert_eq!(
        (parts[1].kind, parts[1].media_type.as_str()),
        (PartKind::Boothook, "text/cloud-boothook")
    );
    assert_eq!(parts[2].kind, PartKind::IncludeUrl);
    assert_eq!((parts[3].kind, parts[3].bytes.as_slice()), (PartKind::Unknown, &b"not gzip"[..]));
    assert!(parts[3].notes.contains(&"cloud-init drops the part".to_owned()));
    assert_eq!(parts[4].bytes, b"A=");
    assert_eq!(parts[4].notes, ["damaged base64: left as it is, without its line ends"]);
    assert_eq!(parts[5].notes.len(), 2, "{:?}", parts[5].notes);
}

#[test]
fn a_text_that_is_no_mime_message_is_one_part() {
    let cases: [(&[u8], PartKind); 6] = [
        (b"#!/bin/sh\n", PartKind::XShellscript),
        (b"\n #cloud-config\n", PartKind::CloudConfig),
        (b"#cloud-config-archive\n- x", PartKind::Archive),
        (b"#upstart-job\n", PartKind::Upstart),
        (b"#part-handler\n", PartKind::PartHandler),
        (b"hello", PartKind::Unknown),
    ];
    for (text, kind) in cases {
        let (parts, _) = take_apart(text, &Bounds::default());
        assert_eq!((parts[0].kind, parts[0].bytes.as_slice()), (kind, text));
    }
    assert_eq!(take_apart(b"", &Bounds::default()).0.len(), 0);
    // Fits the alphabet of base64, but what it gives is nothing.
    let (parts, _) = take_apart(b"abcdabcd", &Bounds::default());
    assert!(parts[0].encodings.is_empty());
    let (parts, _) = take_apart(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n#!x\n",
        &Bounds::default(),
    );
    assert_eq!(parts.len(), 1);
    assert!(parts[0].notes[0].contains("without MIME-Version"));
}

#[test]
fn layers_beyond_cloud_inits_are_undone_and_named() {
    let twice = gzip(&gzip(b"#!/bin/sh\n"));
    let (parts, _) = take_apart(&twice, &Bounds::default());
    assert_eq!(parts[0].encodings, ["gzip", "gzip"]);
    assert!(parts[0].notes[0].contains("cloud-init stops before it"), "{:?}", parts[0].notes);
    let deep = (0..50).fold(b"#!/bin/sh\n".to_vec(), |text, _| gzip(&text));
    let (parts, summary) = take_apart(&deep, &Bounds::default());
    assert_eq!(parts[0].encodings.len(), Bounds::default().layers);
    assert!(summary.bounded);
    let damaged = &gzip(b"#!/bin/sh\n")[..12];
    let (parts, _) = take_apart(damaged, &Bounds::default());
    assert_eq!(parts[0].bytes, damaged);
    assert!(parts[0].notes.contains(&"cloud-init takes the bytes as they are".to_owned()));
}

#[test]
fn bombs_share_one_bound() {
    let bounds = Bounds { output_bytes: 1 << 20, ..Bounds::default() };
    let (parts, summary) = take_apart(&gzip(&vec![b'#'; 20 << 20]), &bounds);
    assert_eq!(parts[0].bytes.len(), 1 << 20);
    assert!(parts[0].notes[0].starts_with("gzip bomb"), "{:?}", parts[0].notes);
    assert!(summary.bounded);

    let bomb = STANDARD.encode(gzip(&vec![b'#'; 700 << 10]));
    let part = format!(
        "--B\nContent-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n{bomb}\n"
    );
    let text =
        format!("MIME-Version: 1\nContent-Type: multipart/x; boundary=B\n\n{}", part.repeat(20));
    let (parts, summary) = take_apart(text.as_bytes(), &bounds);
    assert_eq!(parts.len(), 20);
    assert_eq!(summary.part_bytes, 1 << 20);
    assert!(summary.bounded);
}

proptest! {
    #[test]
    fn never_panics_and_stays_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let bounds = Bounds { output_bytes: 4096, parts: 5, depth: 2, layers: 2 };
        let mime = [&b"MIME-Version: 1\nContent-Type: multipart/x; boundary=B\n\n--B\n"[..], &bytes].concat();
        for text in [bytes.clone(), gzip(&bytes), STANDARD.encode(&bytes).into_bytes(), mime] {
            let (parts, summary) = take_apart(&text, &bounds);
            prop_assert!(parts.len() <= 5);
            prop_assert_eq!(summary.parts as usize, parts.len());
            prop_assert!(summary.part_bytes as usize <= text.len() + 4096);
        }
    }
}
