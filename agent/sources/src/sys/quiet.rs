//! Priorities and mount attributes of this process alone, for which std and nix have no call.

use std::{ffi::CStr, io};

/// `ioprio_set`: the target is a process or thread (include/uapi/linux/ioprio.h).
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
/// The idle class: the disk is ours only while nobody else wants it.
const IOPRIO_IDLE: libc::c_int = 3 << 13;

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lowest CPU priority (nice 19) for the calling thread and the threads that it starts later.
pub fn lowest_cpu_priority() -> io::Result<()> {
    // SAFETY: no pointers; 0 names the caller.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) }.into())
}

/// Idle I/O class for the calling thread and the threads that it starts later.
pub fn idle_io_priority() -> io::Result<()> {
    // SAFETY: no pointers; 0 names the caller.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE) })
}

/// The argument of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Sets `noatime` on the mount at `path` and on all below it, in the caller's mount namespace, and
/// leaves every other attribute alone. Linux 5.12 and newer; `ENOSYS` before. All or nothing.
pub fn noatime_recursive(path: &CStr) -> io::Result<()> {
    let attributes = MountAttr {
        set: libc::MOUNT_ATTR_NOATIME,
        // The access-time mode is a field, not a flag: it must be cleared to be set.
        clear: libc::MOUNT_ATTR__ATIME,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: `path` is NUL-terminated, `attributes` has the size that is given with it; both
    // outlive the call, which only reads them.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    })
}
