//! A real capture: two fresh network namespaces joined by a veth pair with a VLAN on it, a small
//! responder in one, queries in the other. Needs root and ip(8); says so where it is skipped.

use super::*;
use crate::{
    dns::{
        message::tests::{answer_to, query},
        packet::tests::udp4,
    },
    testing::Captured,
};
use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket},
};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    process::Command,
    sync::mpsc,
};

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn without_the_right_it_says_so_and_the_run_goes_on() {
    let mut sink = Captured::default();
    let mut out = Emitter::new("dns-watch", &mut sink);
    let denied = io::Error::from_raw_os_error(libc::EPERM);
    let watch: Box<dyn Watch> = Box::new(Running(Err(denied)));
    assert!(watch.remaining().is_zero());
    let Outcome::Partial(gaps) = watch.finish(&mut out).unwrap() else {
        panic!("not partial");
    };
    assert_eq!(gaps[0].operation, "open packet socket");
    assert!(gaps[0].reason.contains("not permitted"));
}

#[test]
fn absent_without_a_live_host_or_a_wish() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = Captured::default();
    let mut out = Emitter::new("dns-watch", &mut sink);
    let wish = Options { watch: Some(LIMIT), ..Options::default() };
    let dead = Host::at(dir.path()).unwrap();
    let live = Host::live().unwrap();
    for (host, options) in
        [(&dead, &wish), (&dead, &Options::default()), (&live, &Options::default())]
    {
        assert!(DnsWatch.start(host, options).is_none());
        assert!(matches!(DnsWatch.collect(host, options, &mut out).unwrap(), Outcome::Absent(_)));
    }
}

/// Runs ip(8) in this thread's network namespace.
fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

/// Sends a frame with an 802.1Q tag that no VLAN interface made.
fn send_tagged(interface: &str, vlan: u8) {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, vlan];
    frame.extend([0x81, 0, 0, vlan, 8, 0]);
    let name = format!("tagged-{interface}");
    frame.extend(udp4(4242, 53, &query(9, &[name.as_bytes()], 1)));
    let mut all = nix::ifaddrs::getifaddrs().unwrap().filter(|i| i.interface_name == interface);
    let address = all.find_map(|i| i.address?.as_link_addr().copied()).unwrap();
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).unwrap();
    sendto(socket.as_raw_fd(), &frame, &address, MsgFlags::empty()).unwrap();
}

/// Answers over UDP and TCP until the namespace's client hangs up.
fn respond(ready: &mpsc::Sender<()>, stop: &mpsc::Receiver<()>) {
    let udp = UdpSocket::bind("[::]:53").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let tcp = TcpListener::bind("[::]:53").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = tcp.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for _ in 0..2 {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                let answer = answer_to(&question, [198, 51, 100, 2]);
                stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        ready.send(()).unwrap();
        let mut buffer = [0; 2048];
        loop {
            match stop.try_recv() {
                Ok(()) => send_tagged("dw1", 8),
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => break,
            }
            if let Ok((length, client)) = udp.recv_from(&mut buffer) {
                // As far away as a resolver of the same region.
                std::thread::sleep(Duration::from_millis(10));
                let answer = answer_to(&buffer[..length], [198, 51, 100, 1]);
                udp.send_to(&answer, client).unwrap();
            }
        }
    });
}

fn udp_query(from: &str, to: &str, question: &[u8]) {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.send_to(question, to).unwrap();
    socket.recv_from(&mut [0; 2048]).unwrap();
}

fn tcp_queries(to: SocketAddr, questions: &[Vec<u8>]) {
    let mut stream = TcpStream::connect_timeout(&to, LIMIT).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let bytes: Vec<u8> =
        questions.iter().flat_map(|q| [&(q.len() as u16).to_be_bytes()[..], q].concat()).collect();
    for piece in bytes.chunks(7) {
        stream.write_all(piece).unwrap();
    }
    for _ in questions {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(length))]).unwrap();
    }
}

/// Makes both namespaces, runs the capture and the queries, gives the sink and what was there.
fn scene() -> Option<(Captured, Outcome, bool, u32)> {
    let (tell_id, id) = mpsc::channel();
    let (tell_configured, configured) = mpsc::channel::<bool>();
    let (tell_ready, ready) = mpsc::channel();
    let (hang_up, stop) = mpsc::channel();
    let server = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tell_id.send(nix::unistd::gettid()).unwrap();
        let vlan = configured.recv().unwrap();
        for command in [
            "link set lo up",
            "link set dw1 up",
            "addr add 10.77.0.1/24 dev dw1",
            "addr add fd77::1/64 dev dw1 nodad",
        ] {
            assert!(ip(command), "{command}");
        }
        if vlan {
            assert!(ip("link add link dw1 name dw1.7 type vlan id 7"));
            assert!(ip("link set dw1.7 up") && ip("addr add 10.78.0.1/24 dev dw1.7"));
        }
        respond(&tell_ready, &stop);
    });
    let id = id.recv().unwrap();
    if !ip(&format!("link add dw0 type veth peer name dw1 netns {id}")) {
        drop(tell_configured);
        println!("skipped: no veth interface can be made here");
        return None;
    }
    for command in [
        "link set lo up",
        "link set dw0 up",
        "addr add 10.77.0.2/24 dev dw0",
        "addr add fd77::2/64 dev dw0 nodad",
    ] {
        assert!(ip(command), "{command}");
    }
    let vlan = ip("link add link dw0 name dw0.7 type vlan id 7");
    if vlan {
        assert!(ip("link set dw0.7 up") && ip("addr add 10.78.0.2/24 dev dw0.7"));
    } else {
        println!("without VLAN: the kernel makes none");
    }
    tell_configured.send(vlan).unwrap();
    ready.recv_timeout(LIMIT).unwrap();

    let host = Host::live().unwrap();
    let options = Options { watch: Some(Duration::from_secs(60)), ..Options::default() };
    let mut watch = DnsWatch.start(&host, &options).unwrap();
    assert!(watch.remaining() > Duration::from_secs(50));
    udp_query("10.77.0.2:0", "10.77.0.1:53", &query(1, &[b"v4", b"a.b\xff\\", b"example"], 1));
    udp_query("[::]:0", "[fd77::1]:53", &query(2, &[b"v6", b"example"], 28));
    let tcp = [query(3, &[b"tcp1", b"example"], 16), query(4, &[b"tcp2", b"example"], 65)];
    tcp_queries("10.77.0.1:53".parse().unwrap(), &tcp);
    if vlan {
        udp_query("10.78.0.2:0", "10.78.0.1:53", &query(5, &[b"vlan", b"example"], 1));
    }
    let alone = UdpSocket::bind("127.0.0.1:0").unwrap();
    alone.send_to(&query(6, &[b"loopback", b"example"], 1), "127.0.0.1:53").unwrap();
    let multicast = UdpSocket::bind("10.77.0.2:5353").unwrap();
    multicast.send_to(&query(0, &[b"printer", b"local"], 12), "10.77.0.1:5353").unwrap();
    alone.send_to(&query(7, &[b"unrelated"], 1), "127.0.0.1:54").unwrap();
    send_tagged("dw0", 9);
    hang_up.send(()).unwrap();
    let escaped: String =
        query(8, &[b"child", b"example"], 1).iter().map(|b| format!("\\x{b:02x}")).collect();
    let script =
        format!("exec 3<>/dev/udp/10.77.0.1/53; printf '{escaped}' >&3; read -t 2 -N 1 <&3");
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let child_id = child.id();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut sink = Captured::default();
    let mut out = Emitter::new("dns-watch", &mut sink);
    watch.drain(&mut out).unwrap();
    let outcome = watch.finish(&mut out).unwrap();
    drop(hang_up);
    server.join().unwrap();
    Some((sink, outcome, vlan, child_id))
}

#[test]
fn sees_what_the_network_sees_and_who_asked() {
    if !nix::unistd::geteuid().is_root() || Command::new("ip").arg("-V").output().is_err() {
        println!("skipped: needs root and ip(8)");
        return;
    }
    // The namespaces belong to threads of their own: the other tests stay where they are.
    let thread = std::thread::spawn(|| {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("skipped: no network namespace: {error}");
            return None;
        }
        scene()
    });
    let Some((sink, outcome, vlan, child)) = thread.join().unwrap() else {
        return;
    };
    assert_eq!(outcome, Outcome::Complete);
    let records = sink.records("dns");
    let one = |name: &str, direction: &str| -> &Value {
        let found: Vec<&Value> =
            records.iter().filter(|r| r["name"] == name && r["direction"] == direction).collect();
        assert_eq!(found.len(), 1, "{direction} {name}: {found:?}");
        found[0]
    };
    let me = std::process::id();
    // One label `a.b\xff\`: its dot and backslash are escaped once as a name, then once as a record.
    let v4 = "v4.a\\\\.b\\xff\\\\\\\\.example";
    let mut expected = vec![
        (v4, "udp", "A", "10.77.0.2", "10.77.0.1", "dw0", me),
        ("v6.example", "udp", "AAAA", "fd77::2", "fd77::1", "dw0", me),
        ("tcp1.example", "tcp", "TXT", "10.77.0.2", "10.77.0.1", "dw0", me),
        ("tcp2.example", "tcp", "HTTPS", "10.77.0.2", "10.77.0.1", "dw0", me),
        ("child.example", "udp", "A", "10.77.0.2", "10.77.0.1", "dw0", child),
    ];
    if vlan {
        expected.push(("vlan.example", "udp", "A", "10.78.0.2", "10.78.0.1", "dw0.7", me));
    }
    for (name, transport, kind, client, server, interface, pid) in expected {
        for direction in ["query", "answer"] {
            let record = one(name, direction);
            assert_eq!(record["transport"], transport, "{record}");
            assert_eq!(
                (&record["type"], &record["class"]),
                (&kind.into(), &"IN".into()),
                "{record}"
            );
            assert_eq!(record["client_address"], client, "{record}");
            assert_eq!(
                (&record["server_address"], &record["server_port"]),
                (&server.into(), &53.into())
            );
            assert_eq!(record["process"]["pid"], pid, "{record}");
            assert_eq!(record["attribution"], "sock_diag");
            assert!(record["malformed"].is_null(), "{record}");
            if direction == "query" {
                assert_eq!(record["interface"], interface, "{record}");
                assert_eq!(
                    record["vlan"],
                    if name.starts_with("vlan") { 7.into() } else { Value::Null }
                );
            } else {
                assert_eq!(record["rcode"], "NOERROR");
                assert_eq!(record["answers"][0]["type"], "A");
                assert!(record["answers"][0]["data"].as_str().unwrap().starts_with("198.51.100."));
            }
        }
    }
    if vlan {
        assert_eq!(one("vlan.example", "answer")["vlan"], 7);
    }
    let child = &one("child.example", "query")["process"];
    assert_eq!((&child["comm"], &child["cmdline"][1]), (&"bash".into(), &"-c".into()));
    assert!(child["exe"].as_str().unwrap().ends_with("bash"));
    assert_eq!(one("loopback.example", "query")["interface"], "lo");
    assert_eq!(one("printer.local", "query")["port"], 5353);
    assert_eq!(one("printer.local", "query")["process"]["pid"], me);
    // Tagged in the kernel's own packets and on arrival, both without a VLAN interface.
    for (name, vlan) in [("tagged-dw0", 9), ("tagged-dw1", 8)] {
        let record = one(name, "query");
        assert_eq!((&record["vlan"], &record["process"]), (&vlan.into(), &Value::Null), "{record}");
        assert_eq!((&record["interface"], &record["client_port"]), (&"dw0".into(), &4242.into()));
    }
    assert!(records.iter().all(|r| r["name"] != "unrelated"));
    let summary = sink.records("dns-watch-summary");
    assert_eq!(summary.len(), 1);
    assert_eq!(summary[0]["queries"], 9 + u64::from(vlan));
    assert_eq!((&summary[0]["drops_kernel"], &summary[0]["drops_memory"]), (&0.into(), &0.into()));
    assert_eq!(summary[0]["attributed"], 7 + u64::from(vlan));
}
