//! What the code itself must keep to: where unsafe and the file system may be touched, how large
//! a file gets, that each says what it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file above this wants to be two.
const MAX_LINES: usize = 500;

/// Files of the sources that touch the file system other than through `Host`, and why.
const BESIDE_HOST: &[(&str, &str)] = &[
    ("dns/owner.rs", "runs in the capture's own thread, where every millisecond counts"),
    ("dns/attribution.rs", "the fallback of the same look-up"),
    ("dns/capture.rs", "names the network namespace of the capture's own thread"),
    ("dns/cache.rs", "speaks to a daemon's socket, not to a file"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every Rust file of the project, with its path from the project's root.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<_> =
        ["agent", "collector", "proto", "tests", "xtask"].map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let generated = path.file_name().is_some_and(|name| name == "generated");
            if path.is_dir() && !generated {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 100, "the walk found too little");
    found
}

/// The code of a file before its tests, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    for (name, text) in sources() {
        assert!(text.starts_with("//!"), "{name} does not say what it is");
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{name} has {lines} lines");
    }
}

#[test]
fn unsafe_code_is_in_one_module_of_one_crate() {
    for (name, text) in sources() {
        let crate_root = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
        if name == "agent/sources/src/lib.rs" {
            assert!(text.contains("#![deny(unsafe_code)]"), "{name}");
        } else if crate_root {
            assert!(text.contains("#![forbid(unsafe_code)]"), "{name} does not forbid unsafe");
        }
        if name.starts_with("agent/sources/src/sys/") {
            let blocks = text.matches("unsafe {").count();
            let reasons = text.matches("SAFETY:").count();
            assert!(reasons >= blocks.min(1), "{name}: {blocks} blocks, {reasons} reasons");
        }
    }
}

#[test]
fn sources_see_the_host_only_through_its_door() {
    for (name, text) in sources() {
        let Some(file) = name.strip_prefix("agent/sources/src/") else { continue };
        let allowed = file == "host.rs"
            || file.starts_with("sys/")
            || file.contains("tests")
            || BESIDE_HOST.iter().any(|(known, _)| file == *known);
        if allowed {
            continue;
        }
        for line in code(&text) {
            for call in
                ["fs::read", "fs::metadata", "File::open", "OpenOptions", "fs::canonicalize"]
            {
                assert!(!line.contains(call), "{name} opens files beside Host: {line}");
            }
        }
    }
}

#[test]
fn nothing_on_the_suspect_host_forks_writes_or_shells_out() {
    for (name, text) in sources() {
        let on_the_host = name.starts_with("agent/sources/src/") && !name.contains("tests");
        if !on_the_host {
            continue;
        }
        for line in code(&text) {
            for call in [
                "Command::new",
                "fork()",
                "File::create",
                "fs::write",
                "fs::remove",
                ".write(true)",
            ] {
                assert!(!line.contains(call), "{name}: {line}");
            }
        }
    }
}

#[test]
fn every_parser_of_hostile_bytes_has_a_fuzz_target() {
    let targets = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for target in ["cron", "user_data", "dns", "partition_table", "proc"] {
        assert!(targets.contains(&format!("name = \"{target}\"")), "{target}");
        assert!(root().join(format!("fuzz/fuzz_targets/{target}.rs")).is_file(), "{target}");
    }
}
