//! What the benchmarks share: the built binaries, a place on a tmpfs, timing by the median.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How a benchmark ended.
pub type Outcome = Result<(), Box<dyn Error>>;

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The collector as a user builds it.
pub fn cleanroom() -> PathBuf {
    root().join("target/release/cleanroom")
}

/// The static agent as it goes on a host.
pub fn agent() -> Result<PathBuf, Box<dyn Error>> {
    let targets = fs::read_dir(root().join("target"))?;
    let found = targets
        .filter_map(|entry| Some(entry.ok()?.path().join("agent/cleanroom-agent")))
        .find(|path| path.is_file() && !path.starts_with(root().join("target/agent")));
    found.ok_or_else(|| "scripts/build-agent made no agent".into())
}

/// Builds both.
pub fn build() -> Outcome {
    run(Command::new("cargo").args(["build", "--release", "--quiet"]).current_dir(root()))?;
    run(Command::new(root().join("scripts/build-agent")).stdout(Stdio::null()))
}

/// Runs a command that must succeed; exit code 3 (partial) is success here.
pub fn run(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    match status.code() {
        Some(0 | 3) => Ok(()),
        _ => Err(format!("{command:?}: {status}").into()),
    }
}

/// Median time of `runs` runs after one that does not count.
pub fn median(runs: usize, mut once: impl FnMut() -> Outcome) -> Result<Duration, Box<dyn Error>> {
    once()?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        once()?;
        times.push(began.elapsed());
    }
    times.sort();
    times.get(times.len() / 2).copied().ok_or_else(|| "no runs".into())
}

/// True when a program is installed.
pub fn installed(program: &str) -> bool {
    let probe = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    probe.is_ok_and(|output| output.status.success())
}

/// Prints a time and, against a peer, the ratio: above 1 the peer takes longer.
pub fn line(what: &str, time: Duration, ours: Option<Duration>) {
    let seconds = time.as_secs_f64();
    match ours {
        None => println!("  {what:<34} {seconds:>8.3} s"),
        Some(ours) => {
            println!(
                "  {what:<34} {seconds:>8.3} s   {:>6.2} × ours",
                seconds / ours.as_secs_f64()
            );
        }
    }
}

/// A folder on a tmpfs that goes when the benchmark ends.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes it; one that an earlier run left is replaced.
    pub fn new(name: &str) -> Result<Self, Box<dyn Error>> {
        let path = Path::new("/dev/shm").join(format!("cleanroom-bench-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// A file in it with a profile of just these sources.
    pub fn profile(&self, sources: &[&str]) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.0.join("profile.toml");
        let sources: Vec<_> = sources.iter().map(|name| format!("{name:?}")).collect();
        let text = format!(
            "name = \"bench\"\nabout = \"bench\"\nimds = false\nsources = [{}]\n",
            sources.join(", ")
        );
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
