//! `statx`, reads that leave the page cache as it was, and the clocks.

use cleanroom_evidence::{Clock, FileKind, FileMeta, Timestamp};
use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `preadv2` flag: drop the pages that this read brought in (Linux 6.14 and newer).
const RWF_DONTCACHE: libc::c_int = 0x80;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Metadata of `name` under `dir`, never following a last link; of `dir` itself when `name` is
/// empty. Triggers no automount.
pub fn metadata(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<FileMeta> {
    let flags = libc::AT_SYMLINK_NOFOLLOW
        | libc::AT_EMPTY_PATH
        | libc::AT_NO_AUTOMOUNT
        | libc::AT_STATX_SYNC_AS_STAT;
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `name` is NUL-terminated, `stat` is a valid place for one statx, both outlive the call.
    check(unsafe { libc::statx(dir.as_raw_fd(), name.as_ptr(), flags, mask, stat.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, and all-zero bytes were a valid statx before it.
    let stat = unsafe { stat.assume_init() };
    let time = |t: libc::statx_timestamp| Timestamp::new(t.tv_sec, t.tv_nsec);
    Ok(FileMeta {
        kind: kind_of_mode(u32::from(stat.stx_mode)),
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size_bytes: stat.stx_size,
        links: u64::from(stat.stx_nlink),
        inode: stat.stx_ino,
        device: format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor),
        accessed: time(stat.stx_atime),
        modified: time(stat.stx_mtime),
        changed: time(stat.stx_ctime),
        born: (stat.stx_mask & libc::STATX_BTIME != 0).then(|| time(stat.stx_btime)),
        link_target: None,
    })
}

fn kind_of_mode(mode: u32) -> FileKind {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => FileKind::Directory,
        libc::S_IFLNK => FileKind::Symlink,
        libc::S_IFIFO => FileKind::Fifo,
        libc::S_IFSOCK => FileKind::Socket,
        libc::S_IFBLK => FileKind::Block,
        libc::S_IFCHR => FileKind::Char,
        _ => FileKind::Regular,
    }
}

/// Reads at an offset, without leaving pages in the host's cache where kernel and file system can
/// do that; elsewhere (older than Linux 6.14, `/proc`, tmpfs) it is a plain read.
pub fn read_at_uncached(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match read_at(file, buffer, offset, RWF_DONTCACHE) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
            read_at(file, buffer, offset, 0)
        }
        result => result,
    }
}

fn read_at(
    file: BorrowedFd<'_>,
    buffer: &mut [u8],
    offset: u64,
    flags: libc::c_int,
) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    loop {
        // SAFETY: `vector` names exactly `buffer`, which is borrowed mutably for the whole call.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &vector, 1, offset, flags) };
        if let Ok(read) = usize::try_from(read) {
            return Ok(read);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

/// Both clocks, read one right after the other.
pub fn clock() -> Clock {
    let read = |id: libc::clockid_t| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid timespec; both clock ids exist on every kernel we run on.
        unsafe { libc::clock_gettime(id, &mut time) };
        time
    };
    let utc = read(libc::CLOCK_REALTIME);
    let boot = read(libc::CLOCK_BOOTTIME);
    Clock {
        utc: Timestamp::new(utc.tv_sec, utc.tv_nsec.try_into().unwrap_or(0)),
        boottime_ns: u64::try_from(boot.tv_sec).unwrap_or(0) * 1_000_000_000
            + u64::try_from(boot.tv_nsec).unwrap_or(0),
    }
}
