"""Debian's own root file system for the suspect host, made once and cached as a zstd tar.

The mirror is the one that this machine's apt uses; no host name is written here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .shell import run

PACKAGES = (
    "bind9-dnsutils",
    "cloud-init",
    "cron",
    "curl",
    "iproute2",
    "libfaketime",
    "netbase",
    "procps",
    "systemd-sysv",
)
RECIPE = "1"  # raise it when the way of making the root changes


class RootUnavailable(RuntimeError):
    """The root file system can neither be found nor made here."""


def cache_dir() -> Path:
    """Where the tests keep what is slow to make; outside the source tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "cleanroom-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path


def suite() -> str:
    """The Debian release of this machine, which the suspect host shares."""
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise RootUnavailable("/etc/os-release names no Debian release")


def apt_sources(release: str) -> list[str]:
    """The one-line apt sources of this machine that carry Debian's `release` itself."""
    targets = run(
        "apt-get", "indextargets", "--format",
        "$(ORIGIN)|$(RELEASE)|$(REPO_URI)|$(COMPONENT)|$(SIGNED_BY)", "Created-By: Packages",
    ).stdout.decode()
    lines = []
    for target in targets.splitlines():
        origin, name, uri, component, signed_by = (target.split("|") + [""] * 5)[:5]
        if origin == "Debian" and name == release and component == "main":
            option = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
            lines.append(f"deb {option}{uri} {name} {component}")
    if not lines:
        raise RootUnavailable(f"this machine's apt knows no Debian {release} main (apt-get update?)")
    return sorted(set(lines))


def _proxy_options() -> list[str]:
    dump = run("apt-config", "dump", "--format", "%f %v%n").stdout.decode()
    wanted = ("Acquire::http::Proxy", "Acquire::https::Proxy")
    options = []
    for line in dump.splitlines():
        key, _, value = line.partition(" ")
        if key in wanted and value:
            options.append(f'--aptopt={key} "{value}"')
    return options


def root_tar() -> Path:
    """The cached root as `rootfs-<key>.tar.zst`; made when absent (about 30 CPU-seconds)."""
    release = suite()
    key = hashlib.sha256("\n".join((RECIPE, release, *PACKAGES)).encode()).hexdigest()[:16]
    path = cache_dir() / f"rootfs-{key}.tar.zst"
    with open(cache_dir() / "rootfs.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _make(release, path)
    return path


def _make(release: str, path: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise RootUnavailable("mmdebstrap is not installed")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="making-") as scratch:
        tar = Path(scratch) / "root.tar"
        run(
            "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
            f"--include={','.join(PACKAGES)}", *_proxy_options(),
            release, tar, *apt_sources(release),
            timeout=400,
        )
        run("zstd", "-q", "-3", tar, "-o", f"{tar}.zst", timeout=120)
        os.replace(f"{tar}.zst", path)


def _file_system(path: Path) -> str:
    return run("stat", "-f", "-c", "%T", path).stdout.decode().strip()


@contextlib.contextmanager
def work_dir() -> Iterator[Path]:
    """A scratch directory that can hold an overlay's upper layer; removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="cleanroom-e2e-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    path.chmod(0o711)  # an ordinary user's run has its store below it
    mounted = _file_system(path) == "overlayfs"  # in a container: no overlay on an overlay
    if mounted:
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "cleanroom-e2e", path)
    try:
        yield path
    finally:
        if mounted:
            run("umount", "-l", path, check=False)
        shutil.rmtree(path, ignore_errors=True)


def unpack(into: Path) -> Path:
    """Unpacks the cached root under `into` (1.5 s)."""
    root = into / "debian"
    root.mkdir()
    run("tar", "--zstd", "-xpf", root_tar(), "--numeric-owner", "--xattrs-include=*",
        "-C", root, timeout=120)
    return root


@contextlib.contextmanager
def mounted_copy(lower: list[Path], scratch: Path, name: str) -> Iterator[Path]:
    """A writable copy of a root (first of `lower` on top), as an overlay mount."""
    base = scratch / name
    for part in ("upper", "work", "root"):
        (base / part).mkdir(parents=True)
    layers = ":".join(str(layer) for layer in lower)
    run("mount", "-t", "overlay", "overlay", "-o",
        f"lowerdir={layers},upperdir={base / 'upper'},workdir={base / 'work'}", base / "root")
    try:
        yield base / "root"
    finally:
        run("umount", "-l", base / "root", check=False)
