"""The seed's incident, asserted from its bundle and from nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter

import pytest

from scene import imds, plants, seed
from scene.bundle import Bundle, tar_members, unescape
from scene.incident import Incident


def _queries(bundle: Bundle) -> list[dict]:
    return [q for q in bundle.records("dns") if q["direction"] == "query"]


def _names(bundle: Bundle) -> Counter[bytes]:
    return Counter(unescape(q["name"]) for q in _queries(bundle))


def test_every_source_says_how_it_ended(bundle: Bundle) -> None:
    ended = {line["source"]: line["outcome"]["result"] for line in bundle.outcomes()}
    assert {"host", "processes", "sockets", "crontabs", "persistence", "user-data",
            "dns"} <= ended.keys()
    assert "failed" not in ended.values(), ended


def test_cron_line_with_its_verdicts(bundle: Bundle) -> None:
    jobs = [j for j in bundle.records("cron-jobs")
            if unescape(j["path"]) == b"/var/spool/cron/root" and j["kind"] == "job"]
    assert len(jobs) == 1
    job = jobs[0]
    assert job["schedule"] == "*/15 * * * *"
    assert unescape(job["command"]) == seed.PERSIST.encode()
    verdicts = {v["layout"]: v for v in job["verdicts"]}
    assert verdicts["debian"]["would_run"] is False and verdicts["debian"]["why"]
    assert verdicts["amazon-linux"]["would_run"] is True
    assert job["would_run"] is False, "this host is a Debian"


def test_cron_line_that_debian_runs(bundle: Bundle) -> None:
    jobs = [j for j in bundle.records("cron-jobs") if j["kind"] == "job"
            and unescape(j["path"]) == b"/var/spool/cron/crontabs/root"]
    assert [unescape(j["command"]) for j in jobs] == [seed.PERSIST.encode()]
    assert jobs[0]["would_run"] is True
    assert jobs[0]["user"] == "root"
    assert jobs[0]["next_run"].endswith("Z")


def test_user_data_parts_byte_for_byte(incident: Incident, bundle: Bundle) -> None:
    expected = [body for _, body in seed.parts() if body]
    found: dict[str, list[bytes]] = {}
    for part in bundle.records("user-data-parts"):
        path = unescape(part["path"]).decode()
        if part["size_bytes"] and part["type"] in ("cloud-config", "x-shellscript"):
            body = bundle.bytes_of(bundle.item(unescape(part["item_name"])))
            assert hashlib.sha256(body).hexdigest() == part["sha256"]
            found.setdefault(path, []).append(body)
    on_disk = f"/var/lib/cloud/instances/{imds.INSTANCE_ID}/user-data.txt"
    assert found[on_disk] == expected
    assert found["imds:/latest/user-data"] == expected
    # What cloud-init wrote for execution is the same script.
    assert incident.user_script == expected[1]


def test_user_data_notes_the_boundary_that_is_never_closed(bundle: Bundle) -> None:
    notes = [n for p in bundle.records("user-data-parts") for n in p.get("notes") or []]
    assert any("bound" in note for note in notes), notes


@pytest.mark.parametrize("name", seed.mining_names())
def test_mining_name_is_seen_in_both_runs(bundle: Bundle, name: str) -> None:
    # Once from cloud-init's script, once from cron's.
    assert _names(bundle)[name.encode()] >= 2


def test_all_exfiltration_labels_are_seen(bundle: Bundle) -> None:
    seen = _names(bundle)
    labels = [label for label in seed.exfiltration_labels()
              if seen[f"{label}.{seed.EXFILTRATION_DOMAIN}".encode()] >= 10]
    assert labels == list(seed.exfiltration_labels())


def test_answers_carry_addresses(bundle: Bundle) -> None:
    addresses: dict[bytes, set[str]] = {}
    for answer in bundle.records("dns"):
        if answer["direction"] == "answer":
            data = {record["data"] for record in answer.get("answers") or []}
            addresses.setdefault(unescape(answer["name"]), set()).update(data)
    for name in seed.mining_names():
        assert any(a.startswith("198.51.100.") for a in addresses[name.encode()]), name


def test_digs_are_attributed(bundle: Bundle) -> None:
    only_dug = {n.encode() for n in seed.dug_names()} - {n.encode() for n in seed.curled_names()}
    digs = [q for q in _queries(bundle) if unescape(q["name"]) in only_dug]
    assert len(digs) >= 640
    mine = [q for q in digs if q.get("process") and unescape(q["process"]["comm"]) == b"dig"]
    share = len(mine) / len(digs)
    print(f"{len(mine)} of {len(digs)} digs attributed ({share:.1%})")
    assert share >= 0.95
    for query in mine[:50]:
        words = [unescape(w) for w in query["process"].get("cmdline") or []]
        assert not words or unescape(query["name"]) in words


def test_watch_counts_its_drops(bundle: Bundle) -> None:
    summaries = bundle.records("dns-watch-summary")
    assert len(summaries) == 1
    assert summaries[0]["drops_kernel"] == 0 and summaries[0]["drops_memory"] == 0
    assert summaries[0]["queries"] == len(_queries(bundle))


def test_deleted_executable(incident: Incident, bundle: Bundle) -> None:
    planted = incident.planted
    found = [p["exe"] for p in bundle.records("processes")
             if p.get("exe") and p["exe"]["sha256"] == planted.deleted_sha256]
    assert found and all(exe["deleted"] for exe in found)
    assert found[0]["size_bytes"] == planted.deleted_size
    assert unescape(found[0]["path"]).startswith(planted.deleted_path.encode())


def test_listener_in_another_namespace(incident: Incident, bundle: Bundle) -> None:
    planted = incident.planted
    found = [s for s in bundle.records("sockets") if s.get("local_port") == plants.LISTENER_PORT]
    assert len(found) == 1
    listener = found[0]
    assert listener["state"].lower() == "listen"
    assert listener["netns"] == planted.listener_netns
    assert [owner["pid"] for owner in listener["owners"]] == [planted.listener_pid]


def test_hostile_bytes_stay_raw(incident: Incident, bundle: Bundle) -> None:
    first_words = {unescape(p["cmdline"][0]) for p in bundle.records("processes")
                   if p.get("cmdline")}
    assert {plants.ESCAPES, plants.MARKUP, plants.NOT_TEXT} <= first_words
    path = b"/etc/cron.d/" + plants.CRON_NAME
    assert bundle.bytes_of(bundle.item(path, "file")) == plants.CRON_TEXT
    jobs = [j for j in bundle.records("cron-jobs") if unescape(j["path"]) == path]
    assert jobs and jobs[0]["would_run"] is False, "no cron runs a file of such a name"


def test_large_environment_is_bounded_and_counted(incident: Incident, bundle: Bundle) -> None:
    if not incident.planted.big_environ:
        pytest.skip("this kernel does not let a process move its environment")
    big = [p for p in bundle.records("processes")
           if b"big-environ" in [unescape(w) for w in p.get("cmdline") or []]]
    assert len(big) == 1
    assert len(json.dumps(big[0])) < 4 * plants.ENVIRON_BYTES
    assert any(unescape(e).startswith(b"BIG=AAAA") for e in big[0]["environ"])


def test_fifo_and_loops_did_not_stop_it(bundle: Bundle) -> None:
    fifo = bundle.item(b"/etc/cron.d/fifo", "file")
    assert fifo["header"]["file"]["kind"] == "fifo"


def test_imds_is_asked_with_a_token_and_never_for_credentials(incident: Incident) -> None:
    ours = [r for r in incident.requests if "Cloud-Init" not in r["agent"]]
    assert any(r["method"] == "PUT" for r in ours)
    assert all(r["token"] for r in ours if r["method"] == "GET"), "version 1 was used"
    assert not [r["path"] for r in ours if r["path"].rstrip("/").endswith(f"/{imds.ROLE}")]


def test_instance_identity(bundle: Bundle) -> None:
    for record in bundle.records("host"):
        assert record["os_release"]["id"] == "debian"
        instance = record["instance"]
        assert instance["instance_id"] == imds.INSTANCE_ID
        assert instance["account_id"] == imds.ACCOUNT
        assert instance["region"] == imds.REGION


def test_no_credential_is_in_the_bundle(bundle: Bundle) -> None:
    for name in bundle.names:
        assert b"THAT-NO-BUNDLE-MAY-HOLD" not in bundle.read(name), name
    for session in bundle.sessions:
        for name, body in tar_members(bundle.host_tar(session)).items():
            assert b"THAT-NO-BUNDLE-MAY-HOLD" not in body, name


def test_every_item_hashes_to_its_seal(bundle: Bundle) -> None:
    tars = {s: tar_members(bundle.host_tar(s)) for s in bundle.sessions}
    checked = 0
    for item in bundle.items():
        if not item.get("bundle_path"):
            continue
        if item.get("tar_member"):
            member = unescape(item["tar_member"])
            if member not in tars[item["session"]]:
                continue  # a link, a pipe: it has no bytes
            body = tars[item["session"]][member]
        else:
            body = bundle.bytes_of(item)
        assert hashlib.sha256(body).hexdigest() == item["seal"]["sha256"], item["header"]["name"]
        assert len(body) == item["seal"]["length_bytes"]
        checked += 1
    assert checked > 100


def test_report_shows_the_attack_and_no_raw_escape(bundle: Bundle) -> None:
    report = bundle.read("data/report.html").decode()
    assert seed.PERSIST in report and "*/15 * * * *" in report
    for name in seed.mining_names():
        assert name in report
    assert "\x1b" not in report and "\x07" not in report
    assert plants.MARKUP.decode() not in report
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", report), "not offline"


def test_agent_says_what_it_did(incident: Incident) -> None:
    for said in incident.collect_said:
        assert b"\x1b]0" not in said and b"panicked" not in said
