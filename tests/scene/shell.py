"""Runs programs with time limits, and undoes what the scene did to the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

Argument = str | bytes | os.PathLike


class CommandFailed(RuntimeError):
    """A program ended with another status than 0; the text carries its output."""


def run(
    *argv: Argument,
    timeout: float = 60,
    check: bool = True,
    stdin: bytes | None = None,
    env: dict[str, str] | None = None,
    cwd: os.PathLike | str | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a program to its end (at most `timeout` seconds); raises when it fails."""
    done = subprocess.run(
        list(argv),
        input=stdin if stdin is not None else b"",
        capture_output=True,
        timeout=timeout,
        check=False,
        env=env,
        cwd=cwd,
    )
    if check and done.returncode != 0:
        raise CommandFailed(describe(argv, done))
    return done


def describe(argv: Sequence[Argument], done: subprocess.CompletedProcess[bytes]) -> str:
    """One readable text of what ran and what it said."""
    words = " ".join(os.fsdecode(a) for a in argv)
    out = done.stdout[-4000:].decode(errors="replace")
    err = done.stderr[-4000:].decode(errors="replace")
    return f"{words}\nexit {done.returncode}\n--- stdout\n{out}\n--- stderr\n{err}"


def wait_until(
    what: str, probe: Callable[[], object], timeout: float = 10, pause: float = 0.02
) -> object:
    """Polls `probe` until it gives something true; names `what` when it never does."""
    end = time.monotonic() + timeout
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(pause)


def end_process(process: subprocess.Popen, grace: float = 5) -> None:
    """Asks a child to end, then makes it; only ever a child that this test started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    if process.poll() is None:
        process.kill()
        process.wait(10)
    for stream in (process.stdout, process.stderr, process.stdin):
        if stream is not None:
            stream.close()


class Undo(contextlib.ExitStack):
    """A stack of clean-up steps in which one failing step does not stop the others."""

    def start(self, *argv: Argument, **options) -> subprocess.Popen:
        """Starts a program that is ended with the scene."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(list(argv), **options)
        self.callback(end_process, process)
        return process

    def later(self, *argv: Argument) -> None:
        """Runs a program at the end, whatever its status."""
        self.callback(run, *argv, check=False, timeout=30)
