//! The instance metadata service, version 2 only: a token first, then each answer with it.
//!
//! It asks the two link-local addresses themselves: never a proxy, never a name, never a
//! redirect's target, never version 1. The token is in no error text and no debug output.
//! Source: Amazon EC2 User Guide, "Use the Instance Metadata Service".

mod response;

pub use response::{Response, parse};

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Where the service listens: link-local IPv4, and IPv6 on Nitro instances that have it on.
const ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 80),
];
/// One request, from connecting to the last byte.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);
/// One address of the two may take so much of it for connecting; the service is on the same host.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// How long the token lasts, in seconds: longer than any run asks questions.
const TOKEN_SECONDS: &str = "600";
/// Bytes of a token at most.
const MAX_TOKEN_BYTES: usize = 1024;
/// Bytes of a path at most.
const MAX_PATH_BYTES: usize = 1024;

/// A connection's worth of trust: which address answered, and the token it gave.
pub struct Imds {
    address: SocketAddr,
    token: String,
}

impl fmt::Debug for Imds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imds").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Imds {
    /// Asks for a token; takes 1 s at most. The error says why there is none. Silence (no address
    /// took the connection) is remembered for the life of the process: asking again would cost
    /// the next source another second and not change the answer.
    pub fn connect() -> Result<Self, String> {
        static SILENT: OnceLock<String> = OnceLock::new();
        if let Some(why) = SILENT.get() {
            return Err(why.clone());
        }
        Self::connect_to(&ADDRESSES).map_err(|(why, silent)| match silent {
            true => SILENT.get_or_init(|| why).clone(),
            false => why,
        })
    }

    /// As [`connect`](Self::connect), at the first of these addresses that takes the connection;
    /// the flag of the error is true where none did.
    fn connect_to(addresses: &[SocketAddr]) -> Result<Self, (String, bool)> {
        let deadline = Instant::now() + REQUEST_LIMIT;
        let mut refusals = Vec::new();
        for &address in addresses {
            let limit = left(deadline).unwrap_or_default().min(CONNECT_LIMIT);
            match open(address, limit) {
                Ok(stream) => {
                    return Self::with_token(address, stream, deadline).map_err(|w| (w, false));
                }
                Err(why) => refusals.push(format!("{}: {why}", address.ip())),
            }
        }
        Err((refusals.join("; "), true))
    }

    fn with_token(
        address: SocketAddr,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<Self, String> {
        let ask = format!(
            "PUT /latest/api/token HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\
             X-aws-ec2-metadata-token-ttl-seconds: {TOKEN_SECONDS}\r\nConnection: close\r\n\r\n",
            host(address),
        );
        let answer = exchange(stream, ask.as_bytes(), MAX_TOKEN_BYTES, deadline)?;
        if answer.status != 200 {
            return Err(format!("the token was refused: HTTP {}", answer.status));
        }
        // It goes into a header line of ours, so it may be nothing but visible ASCII.
        let token = String::from_utf8(answer.body)
            .ok()
            .filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or("what came as a token is none")?;
        Ok(Self { address, token })
    }

    /// The answer under a path such as `/latest/user-data`, of `max_bytes` at most; `None` where
    /// there is none (404). An error names the reason: another status, a longer answer, 1 s over.
    pub fn get(&self, path: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, String> {
        let fits = |b: u8| b.is_ascii_graphic();
        if !path.starts_with('/') || path.len() > MAX_PATH_BYTES || !path.bytes().all(fits) {
            return Err("not a path that can be asked for".to_owned());
        }
        let deadline = Instant::now() + REQUEST_LIMIT;
        let stream = open(self.address, REQUEST_LIMIT)?;
        let ask = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nX-aws-ec2-metadata-token: {}\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n",
            host(self.address),
            self.token,
        );
        let answer = exchange(stream, ask.as_bytes(), max_bytes, deadline)?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            status @ 300..400 => Err(format!("HTTP {status}: redirects are not followed")),
            status => Err(format!("HTTP {status}")),
        }
    }
}

fn host(address: SocketAddr) -> String {
    match (address.ip(), address.port()) {
        (IpAddr::V4(ip), 80) => ip.to_string(),
        (IpAddr::V6(ip), 80) => format!("[{ip}]"),
        _ => address.to_string(),
    }
}

fn open(address: SocketAddr, limit: Duration) -> Result<TcpStream, String> {
    // connect_timeout refuses a limit of zero.
    let limit = limit.max(Duration::from_millis(1));
    TcpStream::connect_timeout(&address, limit).map_err(|error| match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => format!("no answer in {limit:?}"),
        _ => error.to_string(),
    })
}

/// Sends the question and reads until the answer is whole, too long, or the time is over.
fn exchange(
    mut stream: TcpStream,
    ask: &[u8],
    max_bytes: usize,
    deadline: Instant,
) -> Result<Response, String> {
    let late = || format!("no whole answer in {REQUEST_LIMIT:?}");
    let limit = left(deadline).ok_or_else(late)?;
    stream.set_write_timeout(Some(limit)).map_err(text)?;
    stream.write_all(ask).map_err(text)?;
    let mut answer = Vec::new();
    let mut buffer = [0u8; 8 * 1024];
    loop {
        let limit = left(deadline).ok_or_else(late)?;
        stream.set_read_timeout(Some(limit)).map_err(text)?;
        let read = match stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                return Err(late());
            }
            Err(error) => return Err(text(error)),
        };
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if let Some(response) = parse(&answer, read == 0, max_bytes)? {
            return Ok(response);
        }
        if read == 0 {
            return Err("the connection ended within the answer".to_owned());
        }
    }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// What is left until then; `None` when it is over (a limit of zero would mean none).
fn left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

#[cfg(test)]
pub(crate) mod tests;
