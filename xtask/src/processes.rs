//! The process table with 5,000 processes: everything that the agent records of each, against
//! `ps` with environments plus `lsof`, and against acquire where it is installed.

use crate::tools::{self, Outcome, Scratch, agent, installed, line, median};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

const PROCESSES: usize = 5000;
const RUNS: usize = 3;

/// Runs it.
pub fn run() -> Outcome {
    let scratch = Scratch::new("processes")?;
    let profile = scratch.profile(&["processes", "sockets"])?;
    let _crowd = Crowd::new()?;
    let agent = agent()?;
    let output = scratch.0.join("session");
    let ours = median(RUNS, || {
        let _ = fs::remove_file(&output);
        let mut command = Command::new(&agent);
        command.args(["collect", "--profile-file"]).arg(&profile).arg("--output").arg(&output);
        tools::run(command.stdout(Stdio::null()))
    })?;
    line("cleanroom-agent", ours, None);
    if installed("lsof") {
        let peers = median(RUNS, || {
            tools::run(Command::new("ps").args(["auxwwe"]).stdout(Stdio::null()))?;
            let mut lsof = Command::new("lsof");
            tools::run(lsof.args(["-n", "-P", "-w"]).stdout(Stdio::null()).stderr(Stdio::null()))
        })?;
        line("ps auxwwe + lsof -nP", peers, Some(ours));
    } else {
        println!("  ps + lsof: lsof is not installed (apt-get install lsof)");
    }
    match std::env::var_os("CLEANROOM_BENCH_ACQUIRE") {
        Some(acquire) => {
            let folder = scratch.0.join("acquire");
            let theirs = median(1, || {
                let _ = fs::remove_dir_all(&folder);
                fs::create_dir_all(&folder)?;
                let mut command = Command::new(&acquire);
                command.args(["local", "--profile", "none", "--volatile-profile", "none"]);
                command.args(["--proc", "--gui", "never", "-o"]);
                command.arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
                tools::run(&mut command)
            })?;
            line("acquire --proc", theirs, Some(ours));
        }
        None => {
            println!("  acquire: give its path in CLEANROOM_BENCH_ACQUIRE (pip install acquire)")
        }
    }
    Ok(())
}

/// Sleeping processes that end with the benchmark.
struct Crowd(Vec<Child>);

impl Crowd {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let mut crowd = Self(Vec::with_capacity(PROCESSES));
        for _ in 0..PROCESSES {
            crowd.0.push(Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn()?);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
