"""What an intruder leaves behind, and what is made to break a collector."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import seed
from .host import SuspectHost
from .shell import wait_until

ESCAPES = b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m"
MARKUP = b"<script>alert('argv')</script>"
NOT_TEXT = b"caf\xe9\xff\xfe"
CRON_NAME = b"\xff\xfe-\x1b[31mevil"
CRON_TEXT = b"*/5 * * * * root /bin/true # " + NOT_TEXT + b"\n"
LISTENER_PORT = 4444
ENVIRON_BYTES = 10 * 1024 * 1024

_LISTENER = f"""
import socket, time
s = socket.socket(); s.bind(("0.0.0.0", {LISTENER_PORT})); s.listen(1); time.sleep(86400)
"""

# A process may tell the kernel that any of its private memory is "the environment"
# (prctl(2): PR_SET_MM = 35, PR_SET_MM_MAP = 14, struct prctl_mm_map): far more than execve
# allows, and without a privilege.
_BIG_ENVIRON = f"""
import ctypes, mmap, struct, time
size = {ENVIRON_BYTES}
area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.write((b"BIG=" + b"A" * 1019 + b"\\0") * (size // 1024))
start = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc = ctypes.CDLL(None, use_errno=True)
libc.sbrk.restype = ctypes.c_void_p
stat = [0, 0, *open("/proc/self/stat").read().rpartition(")")[2].split()]
code, code_end, stack, data, data_end, brk, args, args_end = (
    int(stat[i]) for i in (25, 26, 27, 44, 45, 46, 47, 48))
layout = struct.pack("=12QIi", code, code_end, data, data_end, brk, libc.sbrk(0), stack,
                     args, args_end, start, start + size, 0, 0, -1)
if libc.prctl(35, 14, layout, ctypes.c_ulong(len(layout)), 0):
    raise SystemExit(3)
time.sleep(86400)
"""


@dataclass
class Planted:
    """What the tests look for. PIDs are those inside the host."""

    deleted_sha256: str = ""
    deleted_size: int = 0
    deleted_path: str = "/var/tmp/.X11-lock"
    listener_pid: int = 0
    listener_netns: int = 0
    big_environ: bool = False


def _pid_by_argument(host: SuspectHost, word: bytes) -> int:
    """The process that has `word` as one of its arguments (read in the host's own /proc)."""

    def probe() -> int:
        script = (
            'for p in /proc/[0-9]*; do printf "%s " "${p#/proc/}"; '
            'tr "\\0\\n" "\\1\\2" < $p/cmdline; echo; done'
        )
        for line in host.run("sh", "-c", script, check=False).stdout.split(b"\n"):
            pid, _, arguments = line.partition(b" ")
            if pid.isdigit() and word in arguments.split(b"\x01"):
                return int(pid)
        return 0

    return wait_until(f"process with argument {word!r}", probe)


def deleted_program(host: SuspectHost, planted: Planted) -> None:
    """A program that runs on after its file is gone; its bytes are like no other's."""
    path = planted.deleted_path
    host.run("sh", "-c", f"cp /usr/bin/sleep {path} && head -c 64 /dev/urandom >> {path}")
    digest, _, _ = host.run("sha256sum", path).stdout.partition(b" ")
    planted.deleted_sha256 = digest.decode()
    planted.deleted_size = int(host.run("stat", "-c", "%s", path).stdout)
    host.start(path, "86401")
    _pid_by_argument(host, b"86401")
    host.run("rm", path)


def hidden_listener(host: SuspectHost, planted: Planted) -> None:
    """A listener in a network namespace which `ss` on the host does not show."""
    host.start("unshare", "--net", "sh", "-c",
               "ip link set lo up; exec python3 -c \"$0\" hidden-listener", _LISTENER)
    pid = _pid_by_argument(host, b"hidden-listener")
    wait_until("the hidden listener", lambda: f":{LISTENER_PORT:04X}".encode()
               in host.run("cat", f"/proc/{pid}/net/tcp", check=False).stdout)
    planted.listener_pid = pid
    link = host.run("readlink", f"/proc/{pid}/ns/net").stdout
    planted.listener_netns = int(link.decode().strip().removeprefix("net:[").removesuffix("]"))


def hostile_bytes(host: SuspectHost, planted: Planted) -> None:
    """Names, arguments and files that are not what a reader expects."""
    root = os.fsencode(host.root)
    with open(root + b"/etc/cron.d/" + CRON_NAME, "wb") as file:
        file.write(CRON_TEXT)
    os.symlink("loop-b", host.root / "var/lib/cloud/loop-a")
    os.symlink("loop-a", host.root / "var/lib/cloud/loop-b")
    os.symlink("..", host.root / "var/lib/cloud/data/up")
    host.start("bash", "-c", 'exec -a "$0" sleep 86402', ESCAPES)
    host.start("bash", "-c", 'exec -a "$0" sleep 86403', MARKUP)
    host.start("bash", "-c", 'exec -a "$0" sleep 86404', NOT_TEXT)
    for word in (b"86402", b"86403", b"86404"):
        _pid_by_argument(host, word)
    host.start("python3", "-c", _BIG_ENVIRON, "big-environ")
    pid = _pid_by_argument(host, b"big-environ")

    def size() -> int:
        done = host.run("sh", "-c", f"wc -c < /proc/{pid}/environ", check=False)
        return int(done.stdout or 0)

    try:
        wait_until("a large environment", lambda: size() >= ENVIRON_BYTES, timeout=5)
        planted.big_environ = True
    except TimeoutError:
        planted.big_environ = False


def fifo_in_cron(host: SuspectHost) -> None:
    """A FIFO among cron's files. Debian's cron opens it and never runs a job again: plant it
    after cron has done its part."""
    os.mkfifo(host.root / "etc/cron.d/fifo", 0o644)


def live_cron_line(host: SuspectHost) -> None:
    """Makes the seed's cron line live on Debian too.

    Its script writes /var/spool/cron/root, which only Amazon Linux's cron reads. The line in
    Debian's own place lets the host's real cron run it, as the seed's target would have.
    """
    host.run("crontab", "-u", "root", "-", stdin=f"{seed.CRON_LINE}\n".encode())


def plant(host: SuspectHost) -> Planted:
    """Everything at once."""
    planted = Planted()
    deleted_program(host, planted)
    hidden_listener(host, planted)
    hostile_bytes(host, planted)
    return planted
