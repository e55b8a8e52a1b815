//! A whole device, hashed whole and by block, against the tools that examiners use. The device is
//! a loop device over a file of random bytes; every tool reads it from the disk.

use crate::tools::{self, Outcome, Scratch, agent, installed, line, median};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const MEBIBYTES: u64 = 1024;
const RUNS: usize = 3;

/// Runs it.
pub fn run() -> Outcome {
    let scratch = Scratch::new("hash")?;
    let device = Loop::new()?;
    let profile = scratch.profile(&["volumes"])?;
    let (agent, output) = (agent()?, scratch.0.join("session"));
    let ours = median(RUNS, || {
        let _ = fs::remove_file(&output);
        cold(&device)?;
        let mut command = Command::new(&agent);
        command.args(["collect", "--profile-file"]).arg(&profile).arg("--output").arg(&output);
        tools::run(command.arg("--volume").arg(&device.device).stdout(Stdio::null()))
    })?;
    line("cleanroom-agent, whole + blocks", ours, None);
    println!("  {:<34} {:>8.0} MiB/s", "", MEBIBYTES as f64 / ours.as_secs_f64());
    let theirs = median(RUNS, || {
        cold(&device)?;
        tools::run(Command::new("sha256sum").arg(&device.device).stdout(Stdio::null()))
    })?;
    line("sha256sum, whole only", theirs, Some(ours));
    if !installed("dcfldd") {
        println!("  dcfldd is not installed (apt-get install dcfldd)");
        return Ok(());
    }
    let theirs = median(1, || {
        cold(&device)?;
        let input = format!("if={}", device.device.display());
        let mut command = Command::new("dcfldd");
        command.args([&input, "of=/dev/null", "bs=512K", "hash=sha256", "hashwindow=524288"]);
        tools::run(command.stdout(Stdio::null()).stderr(Stdio::null()))
    })?;
    line("dcfldd, whole + blocks", theirs, Some(ours));
    Ok(())
}

/// Empties the page cache of the device, so that each tool reads the same way.
fn cold(device: &Loop) -> Outcome {
    tools::run(Command::new("blockdev").arg("--flushbufs").arg(&device.device))
}

/// A loop device that goes when the benchmark ends.
struct Loop {
    image: PathBuf,
    device: PathBuf,
}

impl Loop {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let image = tools::root().join("target/bench-volume.img");
        let mut file = fs::File::create(&image)?;
        let mut random = std::io::Read::take(fs::File::open("/dev/urandom")?, MEBIBYTES << 20);
        std::io::copy(&mut random, &mut file)?;
        file.flush()?;
        file.sync_all()?;
        let output = Command::new("losetup").args(["-f", "--show"]).arg(&image).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        let device = Path::new(String::from_utf8_lossy(&output.stdout).trim()).to_owned();
        Ok(Self { image, device })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
        let _ = fs::remove_file(&self.image);
    }
}
