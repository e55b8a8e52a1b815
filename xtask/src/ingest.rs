//! One gibibyte from the agent over loopback mTLS into a case (hashed on both sides, synced before
//! it is acknowledged), against what one core can hash at all.

use crate::tools::{self, Outcome, Scratch, agent, cleanroom, line, median};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

const MEBIBYTES: u64 = 1024;

/// Runs it.
pub fn run() -> Outcome {
    let scratch = Scratch::new("ingest")?;
    let file = scratch.0.join("payload");
    let mut random = std::io::Read::take(fs::File::open("/dev/urandom")?, MEBIBYTES << 20);
    std::io::copy(&mut random, &mut fs::File::create(&file)?)?;
    let profile = scratch.profile(&["files"])?;
    let store = tools::root().join("target/bench-store");
    let _ = fs::remove_dir_all(&store);
    let (server, address) = Server::start(&store)?;
    tools::run(cleanroom_with(&["case", "new", "bench"], &store).stdout(Stdio::null()))?;
    let agent = agent()?;
    let mut run_number = 0;
    let ours = median(2, || {
        run_number += 1;
        let host = format!("bench-{run_number}");
        let token = token(&store, &host)?;
        let token_file = scratch.0.join("token");
        fs::write(&token_file, token.0)?;
        // A blob that is there already is not written again: each run brings its own bytes.
        let mut bytes = fs::File::options().append(true).open(&file)?;
        std::io::Write::write_all(&mut bytes, host.as_bytes())?;
        let mut command = Command::new(&agent);
        command.args(["collect", "--no-state", "--collector", &address, "--ca-pin", &token.1]);
        command.arg("--token-file").arg(&token_file).arg("--profile-file").arg(&profile);
        tools::run(command.arg("--file").arg(&file).stdout(Stdio::null()))
    });
    drop(server);
    let ours = ours?;
    line("agent → mTLS → durable in the case", ours, None);
    let rate = (MEBIBYTES << 20) as f64 / ours.as_secs_f64() / 1e6;
    let core = one_core()?;
    println!("  {:<34} {rate:>8.0} MB/s", "");
    println!(
        "  {:<34} {core:>8.0} MB/s   ours is {:.2} of it",
        "openssl speed sha256, one core",
        rate / core
    );
    let _ = fs::remove_dir_all(&store);
    Ok(())
}

fn cleanroom_with(arguments: &[&str], store: &Path) -> Command {
    let mut command = Command::new(cleanroom());
    command.args(arguments).arg("--store").arg(store);
    command
}

fn token(store: &Path, host: &str) -> Result<(String, String), Box<dyn Error>> {
    let arguments = ["token", "--case", "bench", "--instance", host, "--json"];
    let output = cleanroom_with(&arguments, store).output()?;
    let value: Value = serde_json::from_slice(&output.stdout)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok((text("token").ok_or("no token")?, text("ca_pin").ok_or("no pin")?))
}

/// What openssl hashes in a second on one core, in MB.
fn one_core() -> Result<f64, Box<dyn Error>> {
    let arguments = ["speed", "-mr", "-evp", "sha256", "-bytes", "1048576", "-seconds", "2"];
    let output = Command::new("openssl").args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures =
        text.lines().find(|line| line.starts_with("+F:")).ok_or("openssl said nothing")?;
    let rate: f64 = figures.rsplit(':').next().ok_or("openssl said nothing")?.parse()?;
    Ok(rate / 1e6)
}

/// A collector that ends with the benchmark.
struct Server(Child);

impl Server {
    fn start(store: &Path) -> Result<(Self, String), Box<dyn Error>> {
        let mut command = cleanroom_with(&["serve", "--listen", "127.0.0.1:0", "--json"], store);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut first = String::new();
        let mut lines = BufReader::new(output);
        lines.read_line(&mut first)?;
        // The rest of its output is read away, or the pipe would fill.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let value: Value = serde_json::from_str(&first)?;
        let address = value.get("listening").and_then(Value::as_str).ok_or("no address")?;
        Ok((Self(child), address.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
