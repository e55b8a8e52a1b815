"""The README's first command on this very machine, with nothing prepared."""

from __future__ import annotations

import json
import os
import re

from scene.bundle import Bundle, unescape
from scene.product import COMPLETE, PARTIAL, Store
from scene.shell import Undo, describe, run, wait_until


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
    """Offline, as root: no fork, little memory. Peak RSS is what the kernel counted."""
    out = tmp_path / "session"
    argv = [binaries.agent, "collect", "--no-imds", "--output", out]
    with Undo() as undo:
        process = undo.start(*argv, stdout=open(os.devnull, "wb"))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (COMPLETE, PARTIAL)
    assert usage.ru_maxrss < 48 * 1024, f"{usage.ru_maxrss} KiB"
    wait_until("the session file", out.exists)
