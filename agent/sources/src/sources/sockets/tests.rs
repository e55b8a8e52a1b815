//! The source against sockets that the tests open on the machine they run on.

use super::*;
use crate::testing::Captured;
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{ffi::OsStrExt as _, net::UnixListener},
    process::{Child, Command, Stdio},
};

fn capture() -> (Vec<Value>, Outcome) {
    let host = Host::live().unwrap();
    let mut sink = Captured::default();
    let mut out = Emitter::new("sockets", &mut sink);
    let outcome = Sockets.collect(&host, &Options::default(), &mut out).unwrap();
    drop(out);
    (sink.records("sockets"), outcome)
}

fn own_netns() -> u64 {
    let link = std::fs::read_link("/proc/self/ns/net").unwrap();
    bracketed_inode(link.as_os_str().as_bytes(), b"net").unwrap()
}

#[test]
fn our_own_sockets_are_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let client_port = client.local_addr().unwrap().port();
    let udp = UdpSocket::bind("[::1]:0").ok();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two\nlines");
    let _unix = UnixListener::bind(&path).unwrap();
    let (records, outcome) = capture();
    assert!(!matches!(outcome, Outcome::Failed(_)));
    let find = |family: &str, state: &str, port: u16| {
        records
            .iter()
            .find(|r| r["family"] == family && r["state"] == state && r["local_port"] == port)
            .unwrap_or_else(|| panic!("{family} {state} {port}"))
    };
    let listening = find("tcp", "LISTEN", address.port());
    assert_eq!(listening["local_address"], "127.0.0.1");
    assert_eq!(listening["netns"], own_netns());
    assert_eq!(listening["owners"][0]["pid"], std::process::id());
    assert!(listening["owners"][0]["comm"].is_string());
    let connected = find("tcp", "ESTABLISHED", client_port);
    assert_eq!(connected["remote_address"], "127.0.0.1");
    assert_eq!(connected["remote_port"], address.port());
    assert_eq!(connected["owners"][0]["pid"], std::process::id());
    if let Some(udp) = udp {
        let bound = find("udp6", "UNCONNECTED", udp.local_addr().unwrap().port());
        assert_eq!(bound["local_address"], "::1");
    }
    let unix = records.iter().find(|r| r["path"] == *path.to_str().unwrap()).unwrap();
    assert_eq!(unix["state"], "LISTEN");
    assert_eq!(unix["type"], "stream");
    assert_eq!(unix["owners"][0]["pid"], std::process::id());
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Started in a namespace of its own by the test below.
#[test]
#[ignore = "is started by a_listener_in_another_namespace_is_found_with_its_owner"]
fn listen_until_input_ends() {
    let listener = TcpListener::bind("0.0.0.0:4444").unwrap();
    // Standard error, because the test harness does not hold it back.
    eprintln!("listening on {}", listener.local_addr().unwrap());
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_listener_in_another_namespace_is_found_with_its_owner() {
    let unshare = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("sources::sockets::tests::listen_until_input_ends")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = unshare.map(Running) else {
        eprintln!("skipped: no unshare(1)");
        return;
    };
    let mut said = String::new();
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    while !said.contains("listening") {
        said.clear();
        if stderr.read_line(&mut said).unwrap() == 0 || said.contains("not permitted") {
            eprintln!("skipped: cannot make a network namespace");
            return;
        }
    }
    let (records, _) = capture();
    let listening = records
        .iter()
        .find(|r| r["local_port"] == 4444 && r["owners"][0]["pid"] == child.0.id())
        .unwrap();
    assert_eq!(listening["state"], "LISTEN");
    assert_eq!(listening["local_address"], "0.0.0.0");
    assert_ne!(listening["netns"], own_netns());
}
