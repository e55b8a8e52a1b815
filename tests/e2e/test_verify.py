"""`cleanroom verify` accepts a bundle and refuses it after any change, with exit code 4."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

import pytest

from scene.bundle import Bundle
from scene.product import COMPLETE, NOT_VERIFIED, PARTIAL, Store
from scene.shell import run

CASE = "verify-me"


@pytest.fixture(scope="module")
def store(binaries, work) -> Store:
    (work / "verify").mkdir()
    return Store(binaries, work / "verify" / "store")


@pytest.fixture(scope="module")
def small(store, work) -> Path:
    """A bundle of one small file: small enough to be verified some hundred times."""
    folder = work / "verify"
    (folder / "root/etc/cron.d").mkdir(parents=True)
    (folder / "root/etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (folder / "root/etc/cron.d/job").write_text("*/15 * * * * root /usr/cryptokit/persist.sh\n")
    (folder / "profile.toml").write_text(
        'name = "small"\nabout = "One source."\nsources = ["crontabs"]\n')
    store.command("capture", "--store", store.path, "--case", CASE, "--root", folder / "root",
                  "--profile-file", folder / "profile.toml", expect=(COMPLETE, PARTIAL))
    return store.bundle(CASE, folder / "small.tar")


def refused(store: Store, path: Path) -> str:
    done = store.verify(path, (NOT_VERIFIED,))
    text = (done.stdout + done.stderr).decode()
    assert len(text.strip()) > 10 and "panicked" not in text
    return text


def test_accepts_tar_and_folder(store, small, work) -> None:
    store.verify(small)
    store.verify(Bundle(small).unpack(work / "verify" / "unpacked"))


def test_needs_only_the_bundle(store, small, tmp_path) -> None:
    """No store, no home, no network, nothing to write."""
    copy = tmp_path / "copy.tar"
    copy.write_bytes(small.read_bytes())
    run("unshare", "--net", "env", "-i", store.binaries.cleanroom, "verify", copy, cwd="/")


def test_is_reproducible(store, small, work) -> None:
    again = store.bundle(CASE, work / "verify" / "again.tar")
    first, second = Bundle(small), Bundle(again)
    for name in first.names:
        if name.startswith("data/hosts/"):
            assert first.read(name) == second.read(name), name


def test_refuses_any_changed_byte(store, small, tmp_path) -> None:
    whole = small.read_bytes()
    chance = random.Random(2021)
    places = set(chance.sample(range(len(whole)), 150))
    with tarfile.open(small) as tar:
        for member in tar:
            header, body = member.offset, member.offset_data
            places |= {header, header + 100, header + 124, header + 136, header + 148,
                       header + 156, header + 257, header + 300, header + 511}
            if member.size:
                places |= {body, body + member.size // 2, body + member.size - 1}
                if member.size % 512:
                    places.add(body + member.size)  # padding
        places |= {len(whole) - 1, len(whole) - 513, len(whole) - 1024}
    copy = tmp_path / "changed.tar"
    accepted = []
    for place in sorted(p for p in places if 0 <= p < len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        copy.write_bytes(changed)
        done = run(store.binaries.cleanroom, "verify", copy, check=False, timeout=60)
        if done.returncode != NOT_VERIFIED:
            accepted.append((place, done.returncode, done.stderr[-200:]))
    assert not accepted, f"{len(accepted)} of {len(places)}: {accepted[:10]}"


def test_refuses_truncation(store, small, tmp_path) -> None:
    whole = small.read_bytes()
    copy = tmp_path / "cut.tar"
    for length in (0, 1, 511, 512, 1536, len(whole) // 2, len(whole) - 1024, len(whole) - 1):
        copy.write_bytes(whole[:length])
        refused(store, copy)
    copy.write_bytes(whole + b"\0" * 512)
    refused(store, copy)
    copy.write_bytes(whole + b"more")
    refused(store, copy)


def test_names_the_file_in_a_folder(store, small, tmp_path) -> None:
    folder = Bundle(small).unpack(tmp_path)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        original = path.read_bytes()
        path.write_bytes(original + b"x")
        if not name.startswith("custody/"):
            assert path.name in refused(store, folder), name
        else:
            refused(store, folder)
        path.unlink()
        refused(store, folder)
        path.write_bytes(original)
    store.verify(folder)


@pytest.mark.parametrize("where", ["data/extra.txt", "extra.txt", "custody/extra", "data/a/b/c"])
def test_refuses_an_extra_file(store, small, tmp_path, where: str) -> None:
    folder = Bundle(small).unpack(tmp_path)
    (folder / where).parent.mkdir(parents=True, exist_ok=True)
    (folder / where).write_text("extra")
    assert "extra" in refused(store, folder) or where.endswith("/c")


def test_refuses_links_and_pipes(store, small, tmp_path) -> None:
    folder = Bundle(small).unpack(tmp_path)
    (folder / "data/link").symlink_to("/etc/passwd")
    refused(store, folder)
    (folder / "data/link").unlink()
    run("mkfifo", folder / "data/pipe")
    refused(store, folder)  # at once: a reader of the pipe would hang


def test_refuses_a_duplicate_member(store, small, tmp_path) -> None:
    with tarfile.open(small) as tar:
        members = [(m, tar.extractfile(m).read() if m.isfile() else None) for m in tar]
    copy = tmp_path / "twice.tar"
    with tarfile.open(copy, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member, body in [*members, members[-1]]:
            tar.addfile(member, io.BytesIO(body) if body is not None else None)
    refused(store, copy)


def test_refuses_a_rewritten_manifest(store, small, tmp_path) -> None:
    """Evidence changed, and every digest in the manifests made to fit: the signature does not."""
    folder = Bundle(small).unpack(tmp_path)
    victim = folder / "data/case.json"
    old = hashlib.sha256(victim.read_bytes()).hexdigest()
    case = json.loads(victim.read_bytes())
    case["note"] = "nothing happened"
    victim.write_text(json.dumps(case))
    new = hashlib.sha256(victim.read_bytes()).hexdigest()
    manifest, tags = folder / "manifest-sha256.txt", folder / "tagmanifest-sha256.txt"
    before = hashlib.sha256(manifest.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(old, new))
    after = hashlib.sha256(manifest.read_bytes()).hexdigest()
    tags.write_text(tags.read_text().replace(before, after))
    refused(store, folder)


def test_refuses_a_log_without_its_tail(store, small, tmp_path) -> None:
    folder = Bundle(small).unpack(tmp_path)
    log = folder / "custody/log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    refused(store, folder)
    log.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    refused(store, folder)
