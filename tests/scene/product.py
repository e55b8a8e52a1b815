"""The programs under test: where they are, and how a responder runs them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .shell import Argument, Undo, describe, run, wait_until

SOURCE = Path(__file__).resolve().parent.parent.parent
COMPLETE, FAILED, USAGE, PARTIAL, NOT_VERIFIED = range(5)
AGENT_PLACES = (
    "target/x86_64-unknown-linux-gnu/agent/cleanroom-agent",
    "target/agent/cleanroom-agent",
    "target/release/cleanroom-agent",
    "target/debug/cleanroom-agent",
)
COLLECTOR_PLACES = ("target/release/cleanroom", "target/debug/cleanroom")


def _first(variable: str, places: tuple[str, ...]) -> Path:
    if named := os.environ.get(variable):
        return Path(named)
    base = Path(os.environ.get("CARGO_TARGET_DIR", SOURCE / "target"))
    for place in places:
        path = base / Path(place).relative_to("target")
        if path.exists():
            return path
    raise FileNotFoundError(f"none of {', '.join(places)} is built (or set {variable})")


@dataclass(frozen=True)
class Binaries:
    """The two programs."""

    cleanroom: Path
    agent: Path

    @staticmethod
    def found() -> Binaries:
        """As built by tests/run; CLEANROOM_BIN and CLEANROOM_AGENT_BIN name others."""
        return Binaries(
            _first("CLEANROOM_BIN", COLLECTOR_PLACES), _first("CLEANROOM_AGENT_BIN", AGENT_PLACES)
        )


@dataclass(frozen=True)
class Token:
    """What lets one agent join one case."""

    secret: str
    ca_pin: str


class Store:
    """A collector's store, driven through the `cleanroom` command only."""

    def __init__(self, binaries: Binaries, path: Path) -> None:
        self.binaries, self.path = binaries, path

    def command(self, *argv: Argument, timeout: float = 120,
                expect: tuple[int, ...] = (COMPLETE,),
                env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        """Runs `cleanroom …` and checks its exit code."""
        argv = (self.binaries.cleanroom, *argv)
        done = run(*argv, timeout=timeout, check=False,
                   env=None if env is None else os.environ | env)
        if done.returncode not in expect:
            raise AssertionError(f"exit code not in {expect}: {describe(argv, done)}")
        return done

    def new_case(self, case: str) -> None:
        """Opens a case."""
        self.command("case", "new", case, "--store", self.path)

    def token(self, case: str, instance: str, *more: Argument) -> Token:
        """A one-time join token."""
        done = self.command("token", "--store", self.path, "--case", case,
                            "--instance", instance, "--json", *more)
        said = json.loads(done.stdout)
        return Token(said["token"], said["ca_pin"])

    def bundle(self, case: str, into: Path, expect: tuple[int, ...] = (COMPLETE, PARTIAL)) -> Path:
        """Writes the case's bundle."""
        self.command("bundle", case, "--store", self.path, "-o", into, expect=expect, timeout=300)
        return into

    def verify(self, bundle: Path, expect: tuple[int, ...] = (COMPLETE,),
               *more: Argument) -> subprocess.CompletedProcess[bytes]:
        """Runs `cleanroom verify`, which knows nothing of the store."""
        return self.command("verify", bundle, *more, expect=expect, timeout=300)

    def blobs(self) -> dict[str, Path]:
        """Every stored blob by its name, which claims to be its SHA-256."""
        return {p.name: p for p in self.path.glob("cases/*/blobs/sha256/??/*") if p.is_file()}


class Collector:
    """A running `cleanroom serve`, on the machine that `within` leads to."""

    def __init__(self, store: Store, address: str, undo: Undo, within=None,
                 log: Path | None = None) -> None:
        self.store, self.address, self.undo = store, address, undo
        self.within = within or (lambda *argv: list(argv))
        self.log = log or store.path.parent / f"{store.path.name}-serve.log"
        self.process: subprocess.Popen | None = None

    def start(self) -> Collector:
        """Starts it and waits until it listens."""
        with open(self.log, "ab") as log:
            self.process = self.undo.start(
                *self.within(self.store.binaries.cleanroom, "serve", "--store", self.store.path,
                             "--listen", self.address),
                stdout=log, stderr=log,
            )
        port = int(self.address.rpartition(":")[2])

        def listens() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended {self.process.returncode}: {self.said()}")
            tables = run(*self.within("cat", "/proc/net/tcp", "/proc/net/tcp6"), check=False).stdout
            return any(
                f":{port:04X}".encode() in line.split()[1] and line.split()[3] == b"0A"
                for line in tables.splitlines() if b"local_address" not in line
            )

        wait_until(f"the collector on {self.address}", listens, timeout=30)
        return self

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")


def collect_arguments(agent: Argument, address: str, token: Token, token_file: Argument,
                      *more: Argument) -> list[Argument]:
    """The agent's command line for streaming to a collector."""
    return [agent, "collect", "--collector", address, "--ca-pin", token.ca_pin,
            "--token-file", token_file, *more]
