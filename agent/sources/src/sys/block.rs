//! What the kernel says about an open block device. Asks only; sets nothing.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

mod request {
    // Numbers and types from the kernel's include/uapi/linux/fs.h.
    nix::ioctl_read!(size64, 0x12, 114, u64);
    nix::ioctl_read_bad!(sector_size, nix::request_code_none!(0x12, 104), nix::libc::c_int);
    nix::ioctl_read_bad!(physical_size, nix::request_code_none!(0x12, 123), nix::libc::c_uint);
}

/// Size of a block device in bytes (`BLKGETSIZE64`). `ENOTTY` for a file that is none.
pub fn size_bytes(device: BorrowedFd<'_>) -> io::Result<u64> {
    let mut size = 0u64;
    // SAFETY: the kernel writes one u64 to `size`, which outlives the call.
    unsafe { request::size64(device.as_raw_fd(), &mut size) }?;
    Ok(size)
}

/// Logical sector size of a block device in bytes (`BLKSSZGET`): the unit of partition tables and
/// the alignment of direct reads.
pub fn sector_bytes(device: BorrowedFd<'_>) -> io::Result<u32> {
    let mut size: libc::c_int = 0;
    // SAFETY: the kernel writes one int to `size`, which outlives the call.
    unsafe { request::sector_size(device.as_raw_fd(), &mut size) }?;
    u32::try_from(size).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Physical sector size of a block device in bytes (`BLKPBSZGET`).
pub fn physical_sector_bytes(device: BorrowedFd<'_>) -> io::Result<u32> {
    let mut size: libc::c_uint = 0;
    // SAFETY: the kernel writes one unsigned int to `size`, which outlives the call.
    unsafe { request::physical_size(device.as_raw_fd(), &mut size) }?;
    Ok(size)
}
