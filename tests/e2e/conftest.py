"""Fixtures of the end-to-end tests, and the count of what had to be skipped."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scene import product, rootfs  # noqa: E402
from scene.bundle import Bundle  # noqa: E402
from scene.incident import Incident, run_incident  # noqa: E402
from scene.shell import Undo  # noqa: E402


def pytest_terminal_summary(terminalreporter) -> None:
    """Names every skip, so that a green run never hides what it did not test."""
    skipped = terminalreporter.stats.get("skipped", [])
    terminalreporter.write_line(f"skipped for want of something here: {len(skipped)}")
    for report in skipped:
        _, _, reason = report.longrepr
        terminalreporter.write_line(f"  {report.nodeid}: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def needs_root() -> None:
    """Namespaces, mounts and packet sockets are root's."""
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces and mounts")


@pytest.fixture(scope="session")
def binaries() -> product.Binaries:
    """The programs under test, as built by tests/run."""
    return product.Binaries.found()


@pytest.fixture(scope="session")
def work() -> Iterator[Path]:
    """A scratch directory of the whole session, removed at its end."""
    with rootfs.work_dir() as path:
        yield path


@pytest.fixture(scope="session")
def debian(needs_root, work: Path) -> Path:
    """An unpacked Debian root that nobody writes to: mount copies of it."""
    try:
        return rootfs.unpack(work)
    except rootfs.RootUnavailable as why:
        pytest.skip(f"no Debian root: {why}")


@pytest.fixture
def undo() -> Iterator[Undo]:
    """Clean-up steps of one test."""
    with Undo() as stack:
        yield stack


@pytest.fixture(scope="session")
def session_undo() -> Iterator[Undo]:
    """Clean-up steps of the whole session."""
    with Undo() as stack:
        yield stack


@pytest.fixture(scope="session")
def incident(binaries, debian: Path, work: Path, session_undo: Undo) -> Incident:
    """The seed's incident, played and captured once for all tests that read its bundle.

    The bundle stays in target/, for a person to open its report.
    """
    played = run_incident(binaries, debian, work / "incident", session_undo)
    shutil.copyfile(played.bundle.path, product.SOURCE / "target" / "suspect-host.tar")
    return played


@pytest.fixture(scope="session")
def bundle(incident: Incident) -> Bundle:
    """The incident's bundle."""
    return incident.bundle


@pytest.fixture(scope="session")
def unpacked(bundle: Bundle, work: Path) -> Path:
    """The incident's bundle as a folder. Read it; change a copy only."""
    return bundle.unpack(work / "unpacked")
