//! The capture thread: packet socket → tracker → queue. It listens in the network namespace of the
//! thread that starts it, sends nothing, changes no interface, and ends by itself.

use super::{
    attribution::Kernel,
    filter,
    queue::Queue,
    record::{DnsRecord, Summary},
    tracker::{Sighting, Tracker},
};
use crate::sys;
use cleanroom_evidence::{RawBytes, Timestamp};
use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Room in the kernel for packets that wait: some thousand queries.
const RECEIVE_BYTES: usize = 8 * 1024 * 1024;
/// The largest packet (a jumbo IPv6 packet is cut, and counted).
const PACKET_BYTES: usize = 66 * 1024;
/// How long one receive waits, which bounds how late the thread notices that it shall stop.
const WAIT_MS: i64 = 50;
/// Interface names are asked for again after this long.
const NAMES_AGE: Duration = Duration::from_secs(5);
/// Receive errors in a row that end the capture.
const ERRORS: u32 = 20;

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    queue: Arc<Mutex<Queue>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    started: Instant,
    duration: Duration,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    /// Opens the socket and starts the thread; a socket that cannot be opened is an error (EPERM
    /// without CAP_NET_RAW).
    pub fn start(duration: Duration) -> io::Result<Self> {
        // Before the first packet can come: the lookup must be ready when it does.
        let kernel = Kernel::open();
        let socket = sys::packet::open(filter::DNS, RECEIVE_BYTES, WAIT_MS)?;
        let queue = Arc::new(Mutex::new(Queue::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let worker = Worker {
            socket,
            queue: Arc::clone(&queue),
            stop: Arc::clone(&stop),
            end: started + duration,
            names: HashMap::new(),
            names_read: started,
        };
        let thread = std::thread::Builder::new()
            .name("dns-watch".to_owned())
            .spawn(move || worker.run(kernel))?;
        Ok(Self { queue, stop, thread: Some(thread), started, duration })
    }

    /// Time until it is over.
    pub fn remaining(&self) -> Duration {
        match &self.thread {
            Some(thread) if !thread.is_finished() => {
                self.duration.saturating_sub(self.started.elapsed())
            }
            _ => Duration::ZERO,
        }
    }

    /// Records that have come, at most `limit`, oldest first.
    pub fn take(&self, limit: usize) -> Vec<DnsRecord> {
        lock(&self.queue).take(limit)
    }

    /// Ends the capture. The records are still there to [`take`](Self::take).
    pub fn stop(&mut self) -> (Summary, Option<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        let queue = lock(&self.queue);
        let failed = queue.failed.clone();
        let died = panicked.then(|| "the capture thread ended unexpectedly".to_owned());
        (queue.summary.clone(), failed.or(died))
    }
}

struct Worker {
    socket: OwnedFd,
    queue: Arc<Mutex<Queue>>,
    stop: Arc<AtomicBool>,
    end: Instant,
    names: HashMap<u32, Option<RawBytes>>,
    names_read: Instant,
}

impl Worker {
    fn run(mut self, mut kernel: Kernel) {
        let started = Instant::now();
        // Only better odds for short-lived processes: without the right it goes on as it is.
        let _ = sys::packet::prefer_this_thread();
        {
            let mut queue = lock(&self.queue);
            queue.summary.sock_diag_unavailable = kernel.without_diag.clone();
            queue.summary.netns = network_namespace();
        }
        let mut tracker = Tracker::default();
        let mut buffer = vec![0u8; PACKET_BYTES];
        let mut errors = 0;
        let mut counted = Instant::now();
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < self.end {
            match sys::packet::receive(self.socket.as_fd(), &mut buffer) {
                Ok(received) => {
                    errors = 0;
                    self.packet(&received, &buffer, &mut tracker, &mut kernel);
                }
                Err(error) if is_patient(&error) => {}
                Err(error) => {
                    errors += 1;
                    if errors >= ERRORS {
                        lock(&self.queue).failed = Some(error.to_string());
                        break;
                    }
                }
            }
            if counted.elapsed() > Duration::from_secs(1) {
                counted = Instant::now();
                self.count();
            }
        }
        self.count();
        lock(&self.queue).summary.seconds = started.elapsed().as_secs_f64();
    }

    fn packet(
        &mut self,
        received: &sys::packet::Received,
        buffer: &[u8],
        tracker: &mut Tracker,
        kernel: &mut Kernel,
    ) {
        let sighting = Sighting {
            time: received.time.unwrap_or_else(|| sys::file::clock().utc),
            interface: received.interface,
            interface_name: self.name(received.interface),
            vlan: received.vlan,
            outgoing: received.outgoing,
            loopback: received.loopback,
            ether_type: received.ether_type,
            bytes: buffer.get(..received.stored_bytes).unwrap_or_default(),
        };
        let mut outputs = Vec::new();
        let asked = tracker.packet(&sighting, kernel, &mut |output| outputs.push(output));
        let took = asked.then(|| since(sighting.time));
        let mut queue = lock(&self.queue);
        queue.summary.packets += 1;
        queue.summary.cut += u64::from(received.packet_bytes > received.stored_bytes);
        if let Some(took) = took {
            queue.summary.slowest_attribution_ns = queue.summary.slowest_attribution_ns.max(took);
        }
        for output in outputs {
            output.deliver(received.outgoing, &mut queue);
        }
    }

    fn name(&mut self, interface: u32) -> Option<RawBytes> {
        if self.names_read.elapsed() > NAMES_AGE {
            self.names.clear();
            self.names_read = Instant::now();
        }
        let ask = || {
            let name = nix::net::if_::if_indextoname(interface).ok()?;
            Some(RawBytes::from(name.to_bytes()))
        };
        self.names.entry(interface).or_insert_with(ask).clone()
    }

    fn count(&self) {
        if let Ok((_, drops)) = sys::packet::statistics(self.socket.as_fd()) {
            lock(&self.queue).summary.drops_kernel += u64::from(drops);
        }
    }
}

/// Nothing came in time, or an interface went down: the socket stays good (packet(7)).
fn is_patient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN))
}

fn since(time: Timestamp) -> u64 {
    let now = sys::file::clock().utc.unix_nanoseconds();
    u64::try_from(now - time.unix_nanoseconds()).unwrap_or(0)
}

/// The inode of this thread's network namespace, as `net:[123]` shows it.
fn network_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/thread-self/ns/net").ok()?;
    let text = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?;
    text.parse().ok()
}
