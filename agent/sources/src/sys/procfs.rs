//! A procfs mount that is attached nowhere: nobody but us sees it, and closing it ends it.

use std::{
    ffi::{CStr, c_long},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC` of `include/uapi/linux/mount.h`.
const CLOEXEC: libc::c_uint = 1;
/// `FSCONFIG_CMD_CREATE` there.
const CMD_CREATE: libc::c_uint = 6;

fn owned(result: c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes one for our pid namespace, read-only (fsopen(2), fsmount(2): Linux 5.2 and newer). Fails
/// without CAP_SYS_ADMIN, and with ENOSYS on older kernels.
pub fn detached() -> io::Result<OwnedFd> {
    let kind: &CStr = c"proc";
    // SAFETY: `kind` is NUL-terminated and outlives the call.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC) })?;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: CMD_CREATE takes no key, no value and no descriptor; the context is open.
    let made = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CMD_CREATE, none, none, 0)
    };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;
    // SAFETY: plain numbers; the context is open.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, attributes) })
}
