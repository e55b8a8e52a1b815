//! Against a small service on loopback: the token's way, refusals, and answers that never end.

use super::*;
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    sync::mpsc,
    thread,
};

/// The token that the service of these tests gives.
const TOKEN: &str = "AQAEsecret==";

/// A service that answers each request with what `answer` gives for its first line, or hangs
/// where that is empty. Every request's head is sent to the receiver.
pub(crate) fn service(
    answer: impl Fn(&str) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, seen) = mpsc::channel();
    thread::spawn(move || {
        let mut hanging = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            let first = head.lines().next().unwrap_or_default().to_owned();
            let _ = heads.send(head);
            let bytes = answer(&first);
            let _ = stream.write_all(&bytes);
            if bytes.is_empty() {
                hanging.push(stream);
            }
        }
    });
    (address, seen)
}

/// An HTTP answer with a length.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A client of such a service.
pub(crate) fn client(address: SocketAddr) -> Imds {
    Imds::connect_to(&[address]).unwrap()
}

fn is_put(line: &str) -> bool {
    line == "PUT /latest/api/token HTTP/1.1"
}

#[test]
fn a_token_comes_first_and_goes_with_each_question() {
    let (address, seen) = service(|line| match line {
        line if is_put(line) => ok(TOKEN),
        "GET /latest/user-data HTTP/1.1" => ok("#!/bin/sh"),
        "GET /moved HTTP/1.1" => b"HTTP/1.1 302 F\r\nLocation: http://x/\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let imds = client(address);
    let put = seen.recv().unwrap().to_ascii_lowercase();
    assert!(put.contains("x-aws-ec2-metadata-token-ttl-seconds: 600\r\n"), "{put}");
    assert!(!put.contains("forwarded"), "{put}");
    let answer = imds.get("/latest/user-data", 100).unwrap();
    assert_eq!(answer.as_deref(), Some(&b"#!/bin/sh"[..]));
    let get = seen.recv().unwrap();
    assert!(get.contains(&format!("X-aws-ec2-metadata-token: {TOKEN}\r\n")), "{get}");
    assert_eq!(imds.get("/nothing", 100), Ok(None));
    assert!(imds.get("/moved", 100).unwrap_err().contains("not followed"));
    assert!(imds.get("/latest/user-data", 3).unwrap_err().contains("more than 3"));
    for bad in ["latest", "/a b", "/a\r\nX: y", "/é"] {
        assert!(imds.get(bad, 100).unwrap_err().contains("not a path"), "{bad:?}");
    }
    let shown = format!("{imds:?}");
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[test]
fn without_a_token_nothing_is_asked() {
    let answers: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "HTTP 403"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\r\nb", "none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "none"),
        (b"SSH-2.0-x\r\n\r\n", "not an HTTP"),
    ];
    for (answer, expected) in answers {
        let (address, seen) = service(move |_| answer.to_vec());
        let (why, silent) = Imds::connect_to(&[address]).unwrap_err();
        assert!(why.contains(expected) && !silent, "{why}");
        assert!(is_put(seen.recv().unwrap().lines().next().unwrap()));
        assert!(seen.try_recv().is_err(), "a second question after a refusal");
    }
}

#[test]
fn a_silent_service_costs_one_second() {
    let (address, _seen) = service(|_| Vec::new());
    let start = Instant::now();
    let (why, silent) = Imds::connect_to(&[address]).unwrap_err();
    assert!(why.contains("no whole answer") && !silent, "{why}");
    assert!((900..2000).contains(&start.elapsed().as_millis()));
}

#[test]
fn an_answer_that_trickles_is_cut_off_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let start = Instant::now();
    assert!(Imds::connect_to(&[address]).is_err());
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_second_address_is_tried_and_a_closed_port_is_silence() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, _seen) = service(|_| ok(TOKEN));
    assert_eq!(Imds::connect_to(&[closed, address]).unwrap().address, address);
    let (why, silent) = Imds::connect_to(&[closed]).unwrap_err();
    assert!(silent && why.contains("127.0.0.1"), "{why}");
}
