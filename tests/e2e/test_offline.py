"""Without a collector, without a running host, without privileges."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from scene import imds, rootfs, seed
from scene.bundle import Bundle, unescape
from scene.product import COMPLETE, FAILED, PARTIAL, USAGE, Store
from scene.shell import describe, run

CASE = "offline"
DECOY = b"#!/bin/sh\necho this is the examiner's machine, not the suspect's\n"


@pytest.fixture(scope="module")
def dead_disk(debian, work) -> Path:
    """A root as it lies on a disk after the incident, with links that try to lead out of it."""
    base = work / "dead"
    base.mkdir()
    with rootfs.mounted_copy([debian], base, "disk") as root:
        instance = root / "var/lib/cloud/instances" / imds.INSTANCE_ID
        instance.mkdir(parents=True)
        (instance / "user-data.txt").write_bytes(seed.user_data())
        (root / "var/lib/cloud/instance").symlink_to(
            f"/var/lib/cloud/instances/{imds.INSTANCE_ID}")
        (root / "var/spool/cron/root").write_text(f"{seed.CRON_LINE}\n")
        outside = base / "outside"
        outside.write_bytes(DECOY)
        (root / "etc/cron.d/absolute").symlink_to(outside)
        (root / "etc/cron.d/climbing").symlink_to("../" * 30 + str(outside).lstrip("/"))
        (root / "etc/cron.d/loop").symlink_to("loop")
        (root / "etc/cron.daily/zero").symlink_to("/dev/zero")
        os.mkfifo(root / "etc/cron.d/pipe")
        os.mknod(root / "etc/cron.d/device", 0o644 | stat.S_IFCHR, os.makedev(1, 5))
        yield root


@pytest.fixture(scope="module")
def session_file(binaries, dead_disk, work) -> Path:
    path = work / "dead" / "dead.session"
    done = run(binaries.agent, "collect", "--root", dead_disk, "--output", path, "--json",
               check=False, timeout=120)
    assert done.returncode in (COMPLETE, PARTIAL), describe(["collect"], done)
    ends = {o["source"]: o["outcome"] for o in json.loads(done.stdout)["outcomes"]}
    for live in ("processes", "sockets"):
        assert ends[live]["result"] == "absent", ends
    return path


@pytest.fixture(scope="module")
def store(binaries, work) -> Store:
    return Store(binaries, work / "dead" / "store")


@pytest.fixture(scope="module")
def dead(store, session_file, work) -> Bundle:
    store.new_case(CASE)
    store.command("import", session_file, "--store", store.path, "--case", CASE)
    path = store.bundle(CASE, work / "dead" / "dead.tar")
    store.verify(path)
    return Bundle(path)


def test_session_file_is_private(session_file) -> None:
    assert stat.S_IMODE(session_file.stat().st_mode) & 0o077 == 0


def test_absolute_links_end_inside_the_root(dead: Bundle) -> None:
    parts = [p for p in dead.records("user-data-parts") if p["type"] == "x-shellscript"]
    assert {p["sha256"] for p in parts} == {hashlib.sha256(seed.parts()[1][1]).hexdigest()}
    assert not [i for i in dead.items()
                if i["seal"]["sha256"] == hashlib.sha256(DECOY).hexdigest()]
    for name in dead.names:
        assert DECOY not in dead.read(name)


def test_cron_line_of_the_dead_disk(dead: Bundle) -> None:
    jobs = [j for j in dead.records("cron-jobs")
            if unescape(j["path"]) == b"/var/spool/cron/root" and j["kind"] == "job"]
    assert [unescape(j["command"]) for j in jobs] == [seed.PERSIST.encode()]


def test_records_say_debian_and_no_live_state(dead: Bundle) -> None:
    assert dead.records("host")[0]["os_release"]["id"] == "debian"
    assert dead.records("processes") == [] and dead.records("sockets") == []


def test_import_twice_adds_nothing(store, session_file, dead, work) -> None:
    done = run(store.binaries.cleanroom, "import", session_file, "--store", store.path,
               "--case", CASE, check=False)
    assert done.returncode in (COMPLETE, FAILED)
    again = Bundle(store.bundle(CASE, work / "dead" / "again.tar"))
    assert len(again.items()) == len(dead.items())


def test_import_refuses_a_changed_or_cut_file(store, session_file, tmp_path) -> None:
    whole = session_file.read_bytes()
    store.new_case("tampered")
    broken = tmp_path / "broken.session"
    for place in (0, 30, 100, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        broken.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        done = run(store.binaries.cleanroom, "import", broken, "--store", store.path,
                   "--case", "tampered", check=False)
        # A changed length can look like a cut: then what stands before it is kept (3).
        assert done.returncode in (FAILED, PARTIAL), (place, done.stderr)
        assert done.stderr.startswith((b"error: ", b"warning: ")), done.stderr
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        broken.write_bytes(whole[:length])
        done = run(store.binaries.cleanroom, "import", broken, "--store", store.path,
                   "--case", "tampered", check=False)
        assert done.returncode in (FAILED, PARTIAL), (length, done.stderr)
        assert b"panicked" not in done.stderr


def _state(top: Path) -> dict[bytes, tuple]:
    """Every name below `top` with its times, read without changing one (O_NOATIME)."""
    found: dict[bytes, tuple] = {}

    def walk(folder: bytes) -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)
        try:
            names = [os.fsencode(entry.name) for entry in os.scandir(handle)]
        finally:
            os.close(handle)
        for name in names:
            path = folder + b"/" + name
            facts = os.lstat(path)
            found[path] = (facts.st_mode, facts.st_size, facts.st_atime_ns, facts.st_mtime_ns,
                           facts.st_ctime_ns)
            if stat.S_ISDIR(facts.st_mode):
                walk(path)

    walk(os.fsencode(top))
    return found


def test_nothing_changes_on_a_disk_that_is_read(
    needs_root, binaries, debian, work, undo, tmp_path
) -> None:
    """Neither a name nor a time: access times included, on a mount that records each of them."""
    disk = work / "strict"
    for folder in ("etc", "var/spool/cron", "usr/lib/systemd", "root", "home"):
        (disk / folder).parent.mkdir(parents=True, exist_ok=True)
        run("cp", "-a", debian / folder, disk / folder)
    (disk / "var/spool/cron/root").write_text(f"{seed.CRON_LINE}\n")
    run("mount", "--bind", disk, disk)
    undo.later("umount", "-l", disk)
    run("mount", "-o", "remount,bind,strictatime", disk)
    before = _state(disk)
    (disk / "etc/crontab").read_bytes()
    assert _state(disk) != before, "this mount does not record access times"
    before = _state(disk)
    done = run(binaries.agent, "collect", "--root", disk, "--output", tmp_path / "session",
               check=False, timeout=120)
    assert done.returncode in (COMPLETE, PARTIAL), describe(["collect"], done)
    after = _state(disk)
    changed = [path for path in before if after.get(path) != before[path]]
    assert not changed and after.keys() == before.keys(), (len(changed), changed[:10])


def test_ordinary_user_gets_what_it_may_read(needs_root, binaries, work) -> None:
    home = work / "nobody"
    home.mkdir()
    program = home / "cleanroom"
    shutil.copyfile(binaries.cleanroom, program)
    program.chmod(0o755)
    sibling = home / "cleanroom-agent"
    shutil.copyfile(binaries.agent, sibling)
    sibling.chmod(0o755)
    shutil.chown(home, 65534, 65534)
    argv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
            "--inh-caps=-all", "env", "-i", "PATH=/usr/bin:/bin", f"HOME={home}",
            program, "capture", "--store", home / "store", "--case", "ordinary", "--no-imds"]
    done = run(*argv, check=False, timeout=120, cwd=home)
    assert done.returncode in (COMPLETE, PARTIAL), describe(argv, done)
    bundles = list(home.rglob("*.tar"))
    assert len(bundles) == 1, "capture ends with a bundle"
    Store(binaries, home / "store").verify(bundles[0])
    bundle = Bundle(bundles[0])
    ends = {o["source"]: o["outcome"] for o in bundle.outcomes()}
    assert "failed" not in {o["result"] for o in ends.values()}, ends
    partial = {s: o["why"] for s, o in ends.items() if o["result"] == "partial"}
    assert "processes" in partial, "an ordinary user cannot read every environ"
    assert done.returncode == PARTIAL
    said = (done.stdout + done.stderr).decode(errors="replace")
    for source, gaps in partial.items():
        assert source in said
        assert all(g["operation"] and g["reason"] and g["count"] for g in gaps)
    hidden = [p for p in bundle.records("processes")
              if p["uid"]["effective"] == 0 and p.get("unreadable")]
    assert any("EACCES" in u["why"] or "EPERM" in u["why"] or "denied" in u["why"]
               for p in hidden for u in p["unreadable"])
