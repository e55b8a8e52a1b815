//! What a triage of this host costs the host: as the agent itself records it, and access times as
//! the file system shows them before and after.

use crate::tools::{self, Outcome, Scratch, agent, cleanroom};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// Trees whose access times are compared.
const WATCHED: &[&str] =
    &["/etc", "/usr/lib/systemd", "/var/spool", "/var/lib/cloud", "/root", "/home"];
/// Paths compared at most.
const MAX_PATHS: usize = 200_000;

/// Runs it.
pub fn run() -> Outcome {
    let scratch = Scratch::new("footprint")?;
    let store = scratch.0.join("store");
    // Listing a folder may itself change the folder's access time, once: the first walk is for that.
    access_times();
    let before = access_times();
    let began = Instant::now();
    let mut command = Command::new(cleanroom());
    command.args(["capture", "--no-imds", "--case", "bench", "--json", "--store"]).arg(&store);
    tools::run(command.arg("--agent").arg(agent()?).stdout(Stdio::null()))?;
    let took = began.elapsed();
    let after = access_times();
    let changed: Vec<_> = before
        .iter()
        .filter(|(path, time)| after.get(*path).is_some_and(|now| now != *time))
        .collect();
    let bundle = scratch.0.join("bundle");
    let mut command = Command::new(cleanroom());
    command.args(["bundle", "bench", "--folder", "--store"]).arg(&store).arg("-o").arg(&bundle);
    tools::run(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let print = footprint(&bundle).ok_or("the bundle holds no footprint")?;
    let figure = |name: &str| print.get(name).and_then(Value::as_u64).unwrap_or_default();
    println!("  {:<34} {:>8.3} s (bundle included)", "triage", took.as_secs_f64());
    println!("  {:<34} {:>8.1} MiB", "agent peak RSS", figure("peak_rss_bytes") as f64 / 1048576.0);
    println!("  {:<34} {:>8}", "forks", figure("forks"));
    println!("  {:<34} {:>8}", "bytes written to storage", figure("write_bytes"));
    println!("  {:<34} {:>8} of {} paths", "access times changed", changed.len(), before.len());
    for (path, _) in changed.iter().take(5) {
        println!("    {}", path.display());
    }
    Ok(())
}

fn footprint(bundle: &Path) -> Option<Value> {
    let mut folders = vec![bundle.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "notes.jsonl") {
                let text = fs::read_to_string(&path).ok()?;
                let notes = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
                let is_footprint =
                    |note: &Value| note.get("kind").and_then(Value::as_str) == Some("footprint");
                return notes.filter(is_footprint).find_map(|note| note.get("body").cloned());
            }
        }
    }
    None
}

fn access_times() -> BTreeMap<PathBuf, (i64, i64)> {
    let mut times = BTreeMap::new();
    let mut folders: Vec<PathBuf> = WATCHED.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if times.len() >= MAX_PATHS {
                return times;
            }
            if meta.is_dir() {
                folders.push(path.clone());
            }
            times.insert(path, (meta.atime(), meta.atime_nsec()));
        }
    }
    times
}
