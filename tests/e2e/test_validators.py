"""Tools that we did not write open the bundle and agree with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import bagit
import pytest
from cryptography.hazmat.primitives import serialization
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from scene import plants, seed
from scene.bundle import Bundle
from scene.host import HOSTNAME
from scene.incident import CASE
from scene.product import COMPLETE, PARTIAL, SOURCE, Store
from scene.shell import Undo, run

WINDOW = 512 * 1024


@pytest.fixture(scope="module")
def host_tar(bundle: Bundle, unpacked: Path) -> Path:
    """The tar of the session that came after the attack: the one with the host's files."""
    sizes = {p.stat().st_size: p for p in (unpacked / "data/hosts").rglob("uac-*.tar.gz")}
    assert len(sizes) == len(bundle.sessions)
    return sizes[max(sizes)]


@pytest.fixture(scope="module")
def bodyfile(host_tar: Path, work: Path) -> Path:
    into = work / "bodyfile"
    into.mkdir()
    names = run("tar", "-tzf", host_tar).stdout.decode(errors="replace").splitlines()
    name = next(n for n in names if n.endswith("bodyfile/bodyfile.txt"))
    (into / "bodyfile.txt").write_bytes(run("tar", "-xzOf", host_tar, name).stdout)
    return into / "bodyfile.txt"


# --- the bag -----------------------------------------------------------------------------------

def test_bagit_accepts_the_bag(unpacked: Path) -> None:
    bag = bagit.Bag(str(unpacked))
    bag.validate()
    assert bag.version_info == (1, 0)
    assert "Payload-Oxum" in bag.info and "Bagging-Date" in bag.info


def test_bagit_refuses_a_changed_bag(unpacked: Path, tmp_path: Path) -> None:
    copy = tmp_path / CASE
    shutil.copytree(unpacked, copy)
    with open(copy / "data/report.html", "ab") as report:
        report.write(b" ")
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(copy)).validate()


def test_gnu_tar_and_sha256sum_agree(incident, tmp_path: Path) -> None:
    run("tar", "-xf", incident.bundle_path, "-C", tmp_path)
    case = tmp_path / CASE
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        run("sha256sum", "--check", "--strict", "--quiet", manifest, cwd=case)


# --- the host ----------------------------------------------------------------------------------

def test_dissect_opens_the_host(host_tar: Path) -> None:
    from dissect.target import Target

    target = Target.open(host_tar)
    assert target.os == "linux"
    assert target.hostname == HOSTNAME
    assert target.version.startswith("Debian GNU/Linux 12")
    users = {user.name: user for user in target.users()}
    assert users["root"].uid == 0 and users["nobody"].uid == 65534
    jobs = set()
    # dissect stops at the planted crontab that is not UTF-8; it reads the spools before /etc.
    with contextlib.suppress(UnicodeDecodeError):
        for job in target.cronjobs():
            if hasattr(job, "command"):
                jobs.add((str(job.source), job.command))
    assert ("/var/spool/cron/crontabs/root", seed.PERSIST) in jobs, jobs
    persist = target.fs.path(seed.PERSIST)
    if persist.exists():  # collected when the profile follows what cron runs
        assert b"dig donate.v2.xmrig.com" in persist.read_bytes()


def test_gnu_tar_opens_the_host(host_tar: Path, tmp_path: Path) -> None:
    """Every member, also those with hostile names, and none of them outside."""
    run("tar", "-xzf", host_tar, "-C", tmp_path, "--no-same-owner", timeout=120)
    root = os.fsencode(tmp_path) + b"/[root]"
    with open(root + b"/etc/cron.d/" + plants.CRON_NAME, "rb") as file:
        assert file.read() == plants.CRON_TEXT
    with open(root + b"/var/spool/cron/root", "rb") as file:
        assert file.read() == seed.CRON_LINE.encode() + b"\n"


def test_mactime_reads_the_bodyfile(bodyfile: Path) -> None:
    done = run("mactime", "-y", "-d", "-z", "UTC", "-b", bodyfile)
    lines = done.stdout.decode(errors="replace").splitlines()
    assert any("/var/spool/cron/root" in line for line in lines)
    dates = [line.split(",", 1)[0] for line in lines[1:]]
    assert all(re.match(r"(\d{4}-\d\d-\d\dT|0000-00-00T)", date) for date in dates if date)
    assert not done.stderr.strip(), done.stderr


def test_plaso_reads_the_bodyfile(bodyfile: Path, tmp_path: Path) -> None:
    tools = os.environ.get("CLEANROOM_TEST_PLASO")
    if not tools:
        pytest.skip("plaso is not installed")
    storage, out = tmp_path / "case.plaso", tmp_path / "events.jsonl"
    quiet = ["--unattended", "--logfile", tmp_path / "log.gz"]
    run(f"{tools}/bin/log2timeline", *quiet, "--status-view", "none", "--single-process",
        "--parsers", "bodyfile", "--storage-file", storage, bodyfile, timeout=200, cwd=tmp_path)
    run(f"{tools}/bin/psort", *quiet, "--status-view", "none", "-o", "json_line", "-w", out,
        storage, timeout=200, cwd=tmp_path)
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert any(e.get("data_type") == "fs:bodyfile:entry"
               and "/var/spool/cron/root" in json.dumps(e) for e in events)


def test_timesketch_lines_have_what_it_demands(bundle: Bundle) -> None:
    lines = bundle.lines("data/timeline/timesketch.jsonl")
    assert lines
    for line in lines:
        assert line["message"] and line["timestamp_desc"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", line["datetime"])


# --- signatures --------------------------------------------------------------------------------

def test_dsse_signature_covers_the_tagmanifest(unpacked: Path) -> None:
    data = json.loads((unpacked / "custody/bundle.dsse.json").read_bytes())
    envelope = Envelope.from_dict(data)
    public = serialization.load_pem_public_key((unpacked / "custody/key.pem").read_bytes())
    keyid = next(iter(envelope.signatures))
    key = SSlibKey.from_crypto(public, keyid=keyid)
    assert envelope.verify([key], 1)
    digest = hashlib.sha256((unpacked / "tagmanifest-sha256.txt").read_bytes()).hexdigest()
    assert digest.encode() in envelope.payload
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


def test_openssl_verifies_the_certificates(unpacked: Path) -> None:
    folder = unpacked / "data/certificates"
    ca = folder / "ca.pem"
    others = sorted(p for p in folder.glob("*.pem") if p != ca)
    assert len(others) >= 3, "the collector's and one of each session"
    for certificate in others:
        said = run("openssl", "verify", "-x509_strict", "-CAfile", ca, certificate).stdout
        assert said.strip().endswith(b"OK")
    purpose = {p.name: run("openssl", "x509", "-in", p, "-noout", "-ext", "extendedKeyUsage,"
                           "basicConstraints,subjectAltName").stdout for p in others}
    assert b"TLS Web Server" in purpose["collector.pem"]
    for name, text in purpose.items():
        assert b"CA:TRUE" not in text, name
        if name != "collector.pem":
            assert b"TLS Web Client" in text and f"/{CASE}/".encode() in text, (name, text)


@pytest.fixture(scope="module")
def tlogverify(work: Path) -> Path:
    source = SOURCE / "tests/tools/tlogverify/main.go"
    if not source.exists():
        pytest.skip("tests/tools/tlogverify is not there")
    program = work / "tlogverify"
    run("go", "build", "-o", program, source, timeout=200, cwd=source.parent,
        env=os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "",
                          "GOCACHE": str(work / "go-cache"), "CGO_ENABLED": "0"})
    return program


def test_go_sumdb_verifies_the_custody_log(tlogverify: Path, unpacked: Path,
                                           tmp_path: Path) -> None:
    run(tlogverify, unpacked / "custody")
    copy = tmp_path / "custody"
    shutil.copytree(unpacked / "custody", copy)
    tiles = [p for p in copy.rglob("*") if p.is_file() and "tile" in p.parts and p.stat().st_size]
    assert tiles
    for tile in tiles:
        original = tile.read_bytes()
        tile.write_bytes(bytes([original[0] ^ 1]) + original[1:])
        assert run(tlogverify, copy, check=False).returncode != 0, tile
        tile.write_bytes(original)
    checkpoint = (copy / "checkpoint").read_text()
    (copy / "checkpoint").write_text(checkpoint.replace("\n", "x\n", 1))
    assert run(tlogverify, copy, check=False).returncode != 0


def test_custody_tells_each_item(bundle: Bundle) -> None:
    log = bundle.lines("custody/log.jsonl")
    assert len(log) > len(bundle.sessions)
    text = json.dumps(log)
    for item in bundle.items():
        assert item["seal"]["sha256"] in text


# --- volumes -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def image(work: Path) -> Path:
    """Two partitions, an ext4, an end that is no whole block."""
    path = work / "volume.img"
    with open(path, "wb") as file:
        file.truncate(24 * 1024 * 1024 + 4096)
    run("sfdisk", "--quiet", path, stdin=b"label: gpt\nsize=8M, name=boot\nname=data\n")
    run("mkfs.ext4", "-q", "-F", "-E", "offset=9437184", path, "8M")
    with open(path, "r+b") as file:
        file.seek(20 * 1024 * 1024)
        file.write(os.urandom(1024 * 1024))
    return path


def test_volume_hashes_equal_dcfldd_and_sha256sum(
    needs_root, binaries, image: Path, work: Path
) -> None:
    scratch = work / "volume"
    scratch.mkdir()
    (scratch / "profile.toml").write_text(
        'name = "volumes"\nabout = "Volumes only."\nsources = ["volumes"]\n')
    store = Store(binaries, scratch / "store")
    with Undo() as undo:
        try:
            loop = run("losetup", "--find", "--show", "--read-only", image).stdout.decode().strip()
        except Exception as why:
            pytest.skip(f"no loop device here: {why}")
        undo.later("losetup", "--detach", loop)
        store.command("capture", "--store", store.path, "--case", "volume", "--volume", loop,
                      "--profile-file", scratch / "profile.toml", expect=(COMPLETE, PARTIAL))
        said = run("dcfldd", f"if={loop}", "of=/dev/null", f"bs={WINDOW}", "hash=sha256",
                   f"hashwindow={WINDOW}", "status=off")
        whole = run("sha256sum", loop).stdout.split()[0].decode()
    text = (said.stdout + said.stderr).decode()
    theirs = re.findall(r"^(\d+) - (\d+): ([0-9a-f]{64})$", text, re.M)
    bundle = Bundle(store.bundle("volume", scratch / "volume.tar"))
    lists = [n for n in bundle.names if n.endswith(".blocks")]
    assert len(lists) == 1
    ours = [line.split() for line in bundle.read(lists[0]).decode().splitlines()]
    assert [(int(o), int(o) + int(length), digest) for _, o, length, digest in ours] == [
        (int(start), int(end), digest) for start, end, digest in theirs]
    assert [int(index) for index, *_ in ours] == list(range(len(ours)))
    volume = next(v for v in bundle.records("volumes") if v.get("hashed"))
    assert volume["sha256"] == whole
    assert volume["size_bytes"] == image.stat().st_size
    assert volume["block_bytes"] == WINDOW and volume["blocks"] == len(ours)
    table = volume["partition_table"]
    assert table["kind"] == "gpt"
    assert [(p["name"], p["start_bytes"]) for p in table["partitions"]] == [
        ("boot", 1 << 20), ("data", 9 << 20)]


def test_unreadable_end_of_a_volume_is_filled_and_named(needs_root, binaries, work: Path) -> None:
    scratch = work / "bad-volume"
    scratch.mkdir()
    image = scratch / "image"
    image.write_bytes(os.urandom(2 * WINDOW))
    (scratch / "profile.toml").write_text(
        'name = "volumes"\nabout = "Volumes only."\nsources = ["volumes"]\n')
    store = Store(binaries, scratch / "store")
    with Undo() as undo:
        try:
            loop = run("losetup", "--find", "--show", image).stdout.decode().strip()
        except Exception as why:
            pytest.skip(f"no loop device here: {why}")
        undo.later("losetup", "--detach", loop)
        os.truncate(image, WINDOW + 4096)
        if subprocess.run(["dd", f"if={loop}", "of=/dev/null", "bs=4096", "iflag=direct"],
                          capture_output=True, timeout=60).returncode == 0:
            pytest.skip("this loop device gives no I/O error past the end of its file")
        store.command("capture", "--store", store.path, "--case", "bad", "--volume", loop,
                      "--profile-file", scratch / "profile.toml", expect=(PARTIAL,))
    bundle = Bundle(store.bundle("bad", scratch / "bad.tar"))
    volume = next(v for v in bundle.records("volumes") if v.get("hashed"))
    assert volume["filled_blocks"] == [1]
    assert sum(e["length_bytes"] for e in volume["errors"]) == WINDOW - 4096
    assert {e["errno"] for e in volume["errors"]} == {5}
    lines = bundle.read(next(n for n in bundle.names if n.endswith(".blocks"))).decode()
    assert [line.endswith("filled") for line in lines.splitlines()] == [False, True]
