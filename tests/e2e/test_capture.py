"""The README's first command on this very machine, with nothing prepared."""

from __future__ import annotations

import json
import os
import re

from scene.bundle import Bundle, unescape
from scene.product import COMPLETE, PARTIAL, Store
from scene.shell import describe, run


def test_capture_of_this_machine(binaries, tmp_path) -> None:
    argv = [binaries.cleanroom, "capture", "--no-imds"]
    done = run(*argv, check=False, timeout=200, cwd=tmp_path,
               env=os.environ | {"NO_COLOR": "1", "MARKER_OF_THIS_TEST": "present"})
    assert done.returncode in (COMPLETE, PARTIAL), describe(argv, done)
    said = (done.stdout + done.stderr).decode()
    bundles = list(tmp_path.rglob("*.tar"))
    assert len(bundles) == 1
    assert bundles[0].name in said, "the summary names the bundle"
    assert re.search(r"cleanroom verify \S", said), "and the command that verifies it"
    Store(binaries, tmp_path).verify(bundles[0])
    bundle = Bundle(bundles[0])
    assert bundle.case in said
    assert {s for s in ("processes", "crontabs", "user-data", "dns", "host")} <= {
        o["source"] for o in bundle.outcomes()}
    mine = [p for p in bundle.records("processes") if p["pid"] == os.getpid()]
    assert len(mine) == 1 and unescape(mine[0]["cmdline"][0])
    assert "\x1b" not in done.stdout.decode()


def test_capture_as_json(binaries, tmp_path) -> None:
    done = run(binaries.cleanroom, "capture", "--no-imds", "--profile", "volatile", "--json",
               "--store", tmp_path / "store", "--case", "as-json", check=False, timeout=120)
    assert done.returncode in (COMPLETE, PARTIAL), done.stderr
    said = json.loads(done.stdout)
    assert "as-json" in json.dumps(said)


def test_agent_makes_no_process_and_stays_small(needs_root, binaries, tmp_path) -> None:
    """As root, into a collector: no fork, little memory, nothing written to the host's disk.

    The figures are the kernel's own (VmHWM, /proc/PID/io), as the agent notes them at its end.
    """
    store = Store(binaries, tmp_path / "store")
    store.command("capture", "--no-imds", "--case", "small", "--store", store.path,
                  "--agent", binaries.agent, expect=(COMPLETE, PARTIAL))
    bundle = Bundle(store.bundle("small", tmp_path / "small.tar"))
    notes = [n for s in bundle.sessions for n in bundle.lines(f"{s}/notes.jsonl")]
    footprint = next(n["body"] for n in notes if n["kind"] == "footprint")
    assert footprint["peak_rss_bytes"] < 32 * 2**20, footprint
    assert footprint["forks"] == 0 and footprint["children"] == []
    assert footprint["write_bytes"] == 0
