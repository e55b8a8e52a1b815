"""What happens when something dies in the middle: nothing acknowledged is lost, nothing that
was not acknowledged is claimed, and the run goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import secrets
import socket
import subprocess
import time
from pathlib import Path

import pytest

from scene import vpc
from scene.product import COMPLETE, FAILED, PARTIAL, Binaries, Collector, Store, collect_arguments
from scene.relay import Relay
from scene.shell import Undo, run, wait_until

GIB = 1024**3
CASE = "faults"
PROFILE = """\
name = "one-file"
about = "Only the files named on the command line."
sources = ["files"]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def big_file(path: Path, size: int) -> str:
    """Random bytes; gives their SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(size // (4 << 20)):
            block = secrets.token_bytes(4 << 20)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


@pytest.fixture(scope="module")
def gibibyte(work) -> tuple[Path, str]:
    path = work / "gibibyte"
    digest = big_file(path, GIB)
    yield path, digest
    path.unlink()


class Transfer:
    """One agent that sends one file to one collector, both of which may be killed."""

    def __init__(self, binaries: Binaries, scratch: Path, undo: Undo, file: Path,
                 store: Path | None = None) -> None:
        self.scratch, self.undo, self.file = scratch, undo, file
        self.state = Path(f"/dev/shm/cleanroom-e2e-{secrets.token_hex(6)}")
        undo.later("rm", "-rf", self.state)
        self.store = Store(binaries, store or scratch / "store")
        self.store.new_case(CASE)
        self.token = self.store.token(CASE, "i-fault")
        (scratch / "token").write_text(self.token.secret)
        (scratch / "profile.toml").write_text(PROFILE)
        self.output = scratch / "agent.out"
        self.agent: subprocess.Popen | None = None

    def serve(self, address: str | None = None, within=None) -> Collector:
        address = address or f"127.0.0.1:{free_port()}"
        self.collector = Collector(self.store, address, self.undo, within).start()
        return self.collector

    def send(self, *more: str, address: str | None = None, within=None) -> subprocess.Popen:
        """Starts the agent; when one was killed, the next goes on with its session."""
        argv = collect_arguments(
            self.store.binaries.agent, address or self.collector.address, self.token,
            self.scratch / "token", "--profile-file", self.scratch / "profile.toml",
            "--file", self.file, "--state", self.state, "--no-imds", *more,
        )
        with open(self.output, "ab") as out:
            self.agent = self.undo.start(*(within(*argv) if within else argv),
                                         stdout=out, stderr=out)
        return self.agent

    def arrived(self) -> int:
        """Bytes of the unfinished item that the collector holds."""
        sizes = [0]
        for path in self.store.path.glob("cases/*/sessions/*/*/incoming/*"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return max(sizes)

    def until(self, amount: int) -> None:
        """Waits until so many bytes have arrived (or the transfer has ended)."""
        wait_until(f"{amount} bytes", lambda: self.arrived() >= amount or self.sealed()
                   or self.agent.poll() is not None, timeout=90, pause=0.005)

    def sealed(self) -> list[dict]:
        """The file's lines in the append-only item lists."""
        found = []
        for path in self.store.path.glob("cases/*/sessions/*/*/items.jsonl"):
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n") and os.fsencode(self.file) in line:
                    found.append(json.loads(line))
        return found

    def finish(self, timeout: float = 180) -> None:
        code = self.agent.wait(timeout)
        assert code in (COMPLETE, PARTIAL), f"exit {code}: {self.said()}"

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def check(self, digest: str) -> None:
        """Exactly one such item, whose stored bytes are the file's."""
        lines = self.sealed()
        assert len(lines) == 1 and digest in json.dumps(lines[0]), lines
        blob = self.store.blobs()[digest]
        with open(blob, "rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == digest
        assert self.arrived() == 0, "an unfinished copy was left behind"


@pytest.fixture
def scratch(work, request) -> Path:
    path = work / f"fault-{secrets.token_hex(4)}"
    path.mkdir()
    yield path
    run("rm", "-rf", path)  # a gigabyte each


@pytest.fixture
def transfer(binaries, scratch, undo, gibibyte) -> Transfer:
    return Transfer(binaries, scratch, undo, gibibyte[0])


def random_points(count: int) -> list[int]:
    seed = secrets.randbits(32)
    print(f"random seed {seed}")
    return sorted(random.Random(seed).randrange(GIB // 50, GIB * 9 // 10) for _ in range(count))


def test_undisturbed(transfer, gibibyte) -> None:
    transfer.serve()
    started = time.monotonic()
    transfer.send()
    transfer.finish()
    print(f"1 GiB in {time.monotonic() - started:.1f} s")
    transfer.check(gibibyte[1])


def test_agent_killed(transfer, gibibyte) -> None:
    transfer.serve()
    for point in random_points(3):
        transfer.send("--max-rate", "300M")
        transfer.until(point)
        transfer.agent.kill()
        transfer.agent.wait(10)
        assert not transfer.sealed(), "claimed before it was complete"
    transfer.send()
    transfer.finish()
    transfer.check(gibibyte[1])


def test_collector_killed(transfer, gibibyte) -> None:
    address = transfer.serve().address
    transfer.send("--max-rate", "300M", "--patience", "60s")
    for point in random_points(3):
        transfer.until(point)
        transfer.collector.kill()
        assert not transfer.sealed(), "claimed before it was complete"
        transfer.serve(address)
    transfer.finish()
    transfer.check(gibibyte[1])


def test_both_killed(transfer, gibibyte) -> None:
    address = transfer.serve().address
    transfer.send("--max-rate", "300M")
    transfer.until(random_points(1)[0])
    transfer.collector.kill()
    transfer.agent.kill()
    transfer.agent.wait(10)
    transfer.serve(address)
    transfer.send()
    transfer.finish()
    transfer.check(gibibyte[1])


@pytest.mark.parametrize("lose_answers", [False, True])
def test_connection_reset(transfer, gibibyte, lose_answers: bool) -> None:
    transfer.serve()
    # Enough for enrolment first, which is a connection of its own and must get its answer.
    relay = Relay(transfer.collector.address, [], lose_answers)
    transfer.undo.callback(relay.close)
    transfer.send("--max-rate", "300M", "--patience", "60s", address=relay.address)
    transfer.until(1)
    for end in list(relay._open):
        end.close()
    # Without acknowledgements the agent stops when its spool of 8 MiB is full.
    furthest = 6 << 20 if lose_answers else 200 << 20
    relay._cuts.extend(random.sample(range(1 << 20, furthest), 4))
    transfer.finish()
    assert relay.cut >= 3, (relay.cut, relay.connections)
    transfer.check(gibibyte[1])


def test_cable_pulled(needs_root, transfer, gibibyte) -> None:
    network = vpc.Vpc()
    network.make(transfer.undo)
    transfer.serve(f"{vpc.COLLECTOR}:7443",
                   within=lambda *argv: network.within(network.collector, *argv))
    transfer.send("--max-rate", "300M", "--patience", "120s",
                  within=lambda *argv: network.within(network.host, *argv))
    for point in random_points(2):
        transfer.until(point)
        network.cable(plugged=False)
        time.sleep(4)
        network.cable(plugged=True)
    transfer.finish()
    transfer.check(gibibyte[1])


def test_full_disk(needs_root, binaries, scratch, undo, work) -> None:
    small = scratch / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "cleanroom-e2e-full", small)
    undo.later("umount", "-l", small)
    file = scratch / "file"
    digest = big_file(file, 256 << 20)
    transfer = Transfer(binaries, scratch, undo, file, store=small / "store")
    address = transfer.serve().address
    transfer.send("--patience", "8s")

    def complained() -> bool:
        text = (transfer.collector.said() + transfer.said()).lower()
        return "no space" in text or "disk is full" in text or transfer.agent.poll() is not None

    wait_until("a word about the full disk", complained, timeout=60)
    # Either side may go on trying; what was said must name the reason.
    with contextlib.suppress(subprocess.TimeoutExpired):
        assert transfer.agent.wait(45) == FAILED, transfer.said()
    text = (transfer.said() + transfer.collector.said()).lower()
    assert "space" in text or "disk is full" in text, text
    assert "panicked" not in text
    assert not transfer.sealed()

    run("mount", "-o", "remount,size=512m", small)
    if transfer.collector.process.poll() is not None:
        transfer.serve(address)
    if transfer.agent.poll() is not None:
        transfer.send("--patience", "60s")
    transfer.finish()
    transfer.check(digest)
