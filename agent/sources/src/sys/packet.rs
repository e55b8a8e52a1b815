//! A packet socket (packet(7)): opened, filtered, bound, received from, its drops counted.
//! It only listens: nothing is ever sent on it and no interface is made promiscuous.

use cleanroom_evidence::Timestamp;
use nix::sys::{
    socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt},
    time::{TimeVal, TimeValLike},
};
use std::{
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// One instruction of a classic BPF program (linux/filter.h): code, jump if true, jump if false, k.
pub type Instruction = (u16, u8, u8, u32);

/// What the kernel says about one received packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    /// Bytes that were written to the buffer.
    pub stored_bytes: usize,
    /// Bytes that the packet has; more than stored where the buffer was too small.
    pub packet_bytes: usize,
    /// The kernel's receive or send time (SO_TIMESTAMPNS), where it gave one.
    pub time: Option<Timestamp>,
    /// VLAN id of a tag that the kernel took off (PACKET_AUXDATA).
    pub vlan: Option<u16>,
    /// Index of the interface.
    pub interface: u32,
    /// EtherType after the link header.
    pub ether_type: u16,
    /// True for a packet that this host sends (PACKET_OUTGOING).
    pub outgoing: bool,
    /// True on a loopback interface, where each packet comes twice: sent, then received.
    pub loopback: bool,
}

fn set<T>(fd: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a live T and `length` is its size; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (value as *const T).cast(), length)
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Opens a socket that gets every packet of every interface of this thread's network namespace
/// that passes `filter`, without link headers. Receiving blocks for at most `wait_ms`.
/// Fails with EPERM without CAP_NET_RAW.
pub fn open(filter: &[Instruction], receive_bytes: usize, wait_ms: i64) -> io::Result<OwnedFd> {
    // Protocol 0 gets nothing: the filter is in place before the first packet can come.
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
    let mut program: Vec<libc::sock_filter> =
        filter.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_mut_ptr(),
    };
    // `program.filter` points into the vector of the same scope; the kernel copies it in the call.
    set(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    set(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1i32)?;
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(wait_ms))?;
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN; else as much as is allowed.
    if setsockopt(&fd, sockopt::RcvBufForce, &receive_bytes).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &receive_bytes)?;
    }
    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is a live sockaddr_ll and `length` is its size.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if bound == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// Receives one packet. `WouldBlock` when none came in time.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // Room for two control messages, aligned as control messages must be.
    let mut control = [0u64; 24];
    // SAFETY: all-zero bytes are a valid sockaddr_ll and a valid msghdr (null pointers, no length).
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: see above.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in `message` names a live buffer of the length beside it, and all of
    // them outlive the call. MSG_TRUNC only makes the result the packet's real length.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_TRUNC) };
    let packet_bytes = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut received = Received {
        stored_bytes: packet_bytes.min(buffer.len()),
        packet_bytes,
        interface: u32::try_from(address.sll_ifindex).unwrap_or(0),
        ether_type: u16::from_be(address.sll_protocol),
        outgoing: address.sll_pkttype == libc::PACKET_OUTGOING,
        loopback: address.sll_hatype == libc::ARPHRD_LOOPBACK,
        ..Received::default()
    };
    // SAFETY: the kernel filled `message`; the macros walk inside msg_control/msg_controllen, which
    // is `control`, alive until the end of this function.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: `header` came from the macros and is not null.
        let (level, kind, data) = unsafe {
            let header = &*header;
            (header.cmsg_level, header.cmsg_type, libc::CMSG_DATA(header))
        };
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: a message of this kind holds one timespec; it may be unaligned.
                let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                received.time =
                    Some(Timestamp::new(time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or(0)));
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: a message of this kind holds one tpacket_auxdata; it may be unaligned.
                let aux = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                if aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                    received.vlan = Some(aux.tp_vlan_tci & 0x0fff);
                }
            }
            _ => {}
        }
        // SAFETY: `message` and `header` are as the kernel and the macros left them.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(received)
}

/// Packets that the socket was given and packets that it lost for want of room, both since the
/// last call (reading resets them).
pub fn statistics(fd: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    // SAFETY: all-zero bytes are a valid tpacket_stats.
    let mut stats: libc::tpacket_stats = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: `stats` is a live buffer of `length` bytes; the kernel writes at most that many.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut length,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok((stats.tp_packets, stats.tp_drops))
}

/// Lets the calling thread run before others: attribution must look at a process before it ends.
/// Changes only this thread; without CAP_SYS_NICE it stays as it is, with EPERM or EACCES.
pub fn prefer_this_thread() -> io::Result<()> {
    // SAFETY: no pointers; on Linux `who` 0 with PRIO_PROCESS is the calling thread alone.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
