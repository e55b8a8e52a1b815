//! Any bytes as user data: no panic, bounded output, and the parts that are counted are given.

#![no_main]

use cleanroom_sources::{
    imds,
    userdata::{Bounds, decode, mime},
};
use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;

const BOUNDS: Bounds = Bounds {
    output_bytes: 64 * 1024,
    parts: 50,
    depth: 4,
    layers: 3,
};

fuzz_target!(|bytes: &[u8]| {
    let (mut parts, mut part_bytes) = (0, 0);
    let summary = decode(bytes, &BOUNDS, |part| {
        parts += 1;
        part_bytes += part.bytes.len();
        Ok::<(), Infallible>(())
    });
    let Ok(summary) = summary;
    assert_eq!(summary.parts, parts);
    assert!(parts as usize <= BOUNDS.parts);
    assert!(part_bytes <= bytes.len() + 2 * BOUNDS.output_bytes);

    let mut end = 0;
    for leaf in mime::parse(bytes, BOUNDS.parts, BOUNDS.depth).leaves {
        assert!(leaf.payload.start >= end && leaf.payload.end <= bytes.len());
        end = leaf.payload.end;
    }
    if let Ok(Some(answer)) = imds::parse(bytes, true, 4096) {
        assert!(answer.body.len() <= 4096);
    }
});
