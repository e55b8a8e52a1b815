//! Who may depend on whom. A rule that has to change is changed here, with its reason.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Every crate of the project and the crates of the project that it may know.
const KNOWS: &[(&str, &[&str])] = &[
    ("cleanroom-evidence", &[]),
    ("cleanroom-wire", &["cleanroom-evidence"]),
    ("cleanroom-sources", &["cleanroom-evidence"]),
    ("cleanroom-agent", &["cleanroom-evidence", "cleanroom-sources", "cleanroom-wire"]),
    ("cleanroom-store", &["cleanroom-evidence"]),
    ("cleanroom-analysis", &["cleanroom-evidence"]),
    ("cleanroom-bundle", &["cleanroom-analysis", "cleanroom-evidence", "cleanroom-store"]),
    (
        // `capture` starts the agent's code as a process of its own: one binary, no set-up.
        "cleanroom",
        &[
            "cleanroom-agent",
            "cleanroom-bundle",
            "cleanroom-evidence",
            "cleanroom-store",
            "cleanroom-wire",
        ],
    ),
    ("cleanroom-architecture", &[]),
    ("xtask", &[]),
];

/// Crates from outside that only some crates of the project may know.
const ONLY: &[(&str, &[&str])] = &[
    ("tonic", &["cleanroom-wire", "cleanroom-agent", "cleanroom"]),
    ("tonic-prost", &["cleanroom-wire"]),
    ("prost", &["cleanroom-wire"]),
    ("tokio", &["cleanroom-agent", "cleanroom"]),
    ("rustls", &["cleanroom-agent", "cleanroom"]),
    ("rcgen", &["cleanroom-agent", "cleanroom"]),
    ("hyper-util", &["cleanroom-agent"]),
    ("libc", &["cleanroom-sources"]),
    ("sha2", &["cleanroom-evidence"]),
];

struct Graph {
    /// Normal dependencies by name, of the project's crates only.
    direct: BTreeMap<String, BTreeSet<String>>,
    /// All crates that the default build compiles.
    resolved: BTreeSet<String>,
}

fn graph() -> Graph {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Only what this platform builds: the rest was never downloaded.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", host])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let members: BTreeSet<_> = list(&metadata["workspace_members"]).map(text).collect();
    let mut direct = BTreeMap::new();
    let mut resolved = BTreeSet::new();
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        resolved.insert(name.clone());
        if members.contains(&text(&package["id"])) {
            let normal = list(&package["dependencies"])
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(&dependency["name"]))
                .collect();
            direct.insert(name, normal);
        }
    }
    Graph { direct, resolved }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn crates_know_only_whom_they_may() {
    let graph = graph();
    let named: BTreeSet<_> = KNOWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let there: BTreeSet<_> = graph.direct.keys().cloned().collect();
    assert_eq!(named, there, "a crate is missing in KNOWS or is gone");
    for (name, may) in KNOWS {
        for dependency in &graph.direct[*name] {
            let ours = named.contains(dependency);
            assert!(
                !ours || may.contains(&dependency.as_str()),
                "{name} must not know {dependency}"
            );
        }
    }
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let graph = graph();
    for (outside, rooms) in ONLY {
        for (name, dependencies) in &graph.direct {
            assert!(
                !dependencies.contains(*outside) || rooms.contains(&name.as_str()),
                "{name} must not know {outside}"
            );
        }
    }
}

#[test]
fn the_first_command_compiles_no_aws_crate_and_no_second_tls() {
    let graph = graph();
    for name in &graph.resolved {
        let heavy = name.starts_with("aws-") || name.starts_with("datafusion");
        assert!(!heavy, "{name} must live in a binary of its own");
        assert!(!name.starts_with("openssl"), "{name}: TLS here is rustls with ring");
    }
}
