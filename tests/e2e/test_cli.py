"""The command line: help with examples, exit codes, errors on one line, JSON, no colour."""

from __future__ import annotations

import json
import os

import pytest

from scene.product import COMPLETE, FAILED, USAGE, Store
from scene.shell import describe, run

COMMANDS = ["capture", "serve", "token", "case", "bundle", "verify", "import"]


@pytest.fixture
def store(binaries, tmp_path) -> Store:
    return Store(binaries, tmp_path / "store")


def plain(*argv, **options):
    return run(*argv, check=False, timeout=60, env=os.environ | {"NO_COLOR": "1"}, **options)


def one_clear_line(done) -> None:
    lines = [line for line in done.stderr.decode().splitlines() if line.strip()]
    assert lines and lines[0].startswith("error: "), done.stderr
    assert len(lines[0]) > 15 and len(lines) <= 6, done.stderr
    assert b"panicked" not in done.stderr and b"RUST_BACKTRACE" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(binaries, command: str) -> None:
    done = plain(binaries.cleanroom, command, "--help")
    assert done.returncode == 0
    assert b"Example" in done.stdout, describe([command], done)


def test_help_of_both_programs(binaries) -> None:
    for argv in ([binaries.cleanroom, "--help"], [binaries.agent, "--help"],
                 [binaries.agent, "collect", "--help"]):
        done = plain(*argv)
        assert done.returncode == 0 and b"Usage" in done.stdout
    assert b"Example" in done.stdout
    for program in (binaries.cleanroom, binaries.agent):
        assert plain(program, "--version").stdout.strip()


@pytest.mark.parametrize("argv", [
    ["no-such-command"], ["capture", "--no-such-flag"], ["capture", "--watch", "soon"],
    ["capture", "--profile", "everything"], ["capture", "--case", "../evil"],
    ["verify"], ["bundle"], ["token"], ["case", "new", "UPPER/../case", "--store", "/nonexistent"],
])
def test_bad_usage_is_2(binaries, tmp_path, argv: list[str]) -> None:
    done = plain(binaries.cleanroom, *argv, cwd=tmp_path)
    assert done.returncode == USAGE, describe(argv, done)
    assert done.stderr.startswith(b"error: ") or b"Usage" in done.stderr
    assert not list(tmp_path.iterdir()), "bad usage wrote something"


@pytest.mark.parametrize("argv", [
    [], ["no-such-command"], ["collect"], ["collect", "--collector", "10.0.0.1:1"],
    ["collect", "--collector", "collector.example:7443", "--ca-pin", "00" * 32],
    ["collect", "--output", "x", "--watch", "1d"], ["collect", "--output", "x", "--file", "rel"],
    ["collect", "--output", "x", "--profile", "everything"],
    ["collect", "--output", "x", "--volume"],
])
def test_bad_usage_of_the_agent_is_2(binaries, tmp_path, argv: list[str]) -> None:
    done = plain(binaries.agent, *argv, cwd=tmp_path)
    assert done.returncode == USAGE, describe(argv, done)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_clear_line(binaries, store, tmp_path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(os.urandom(5000))
    for argv in (["import", garbage, "--store", store.path],
                 ["import", tmp_path / "absent", "--store", store.path],
                 ["bundle", "no-such-case", "--store", store.path, "-o", tmp_path / "x.tar"],
                 ["case", "show", "no-such-case", "--store", store.path],
                 ["verify", tmp_path / "absent"]):
        done = plain(binaries.cleanroom, *argv)
        expected = USAGE if tmp_path / "absent" in argv else FAILED
        assert done.returncode == expected, describe(argv, done)
        one_clear_line(done)
    assert not (tmp_path / "x.tar").exists()


def test_root_that_is_not_there(binaries, tmp_path) -> None:
    done = plain(binaries.agent, "collect", "--root", tmp_path / "absent",
                 "--output", tmp_path / "out")
    assert done.returncode == FAILED
    one_clear_line(done)


def test_output_is_never_overwritten(binaries, tmp_path) -> None:
    out = tmp_path / "precious"
    out.write_text("evidence")
    done = plain(binaries.agent, "collect", "--profile", "volatile", "--output", out)
    assert done.returncode == FAILED
    one_clear_line(done)
    assert out.read_text() == "evidence"


def test_json_parses(binaries, store, tmp_path) -> None:
    store.new_case("case-1")
    for argv in (["case", "list", "--store", store.path, "--json"],
                 ["case", "show", "case-1", "--store", store.path, "--json"],
                 ["token", "--store", store.path, "--case", "case-1", "--instance", "i-1",
                  "--json"]):
        done = plain(binaries.cleanroom, *argv)
        assert done.returncode == COMPLETE, describe(argv, done)
        json.loads(done.stdout)
    sources = json.loads(plain(binaries.agent, "sources", "--json").stdout)
    assert {"processes", "crontabs", "user-data", "dns", "volumes"} <= {s["name"] for s in sources}


def test_no_colour_when_not_asked(binaries, store) -> None:
    store.new_case("case-1")
    for argv in (["case", "list", "--store", store.path], ["--help"], ["capture", "--help"],
                 ["no-such-command"], ["verify", "/nonexistent"]):
        done = plain(binaries.cleanroom, *argv)
        assert b"\x1b" not in done.stdout + done.stderr, argv


def test_closed_pipe_is_no_crash(binaries) -> None:
    done = plain("sh", "-c", f"'{binaries.cleanroom}' --help | head -c 1; "
                             f"'{binaries.agent}' sources | head -c 1")
    assert b"panicked" not in done.stderr
