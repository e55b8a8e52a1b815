"""The scene itself: what the other tests stand on."""

from __future__ import annotations

import time
from pathlib import Path

from scene import imds, seed, vpc
from scene.host import Scene
from scene.shell import Undo, run, wait_until


def test_what_the_seed_says_is_what_the_issue_counts() -> None:
    assert len(seed.mining_names()) == 11
    assert len(seed.exfiltration_labels()) == 63
    assert seed.exfiltrated().strip().startswith(b"Lorem ipsum")
    kinds = [kind for kind, body in seed.parts() if body]
    assert kinds == ["text/cloud-config", "text/x-shellscript"]


def test_a_host_in_a_vpc_that_leaves_nothing_behind(debian, work) -> None:
    scratch = work / "scene-alone"
    scratch.mkdir()
    with Undo() as undo:
        scene = Scene(undo, debian, scratch)
        host, name = scene.host, scene.network.name
        assert host.run("dig", "+short", "xmrpool.eu").stdout.startswith(b"198.51.100.")
        assert host.run("dig", "+tcp", "+short", "xmrpool.eu").stdout.startswith(b"198.51.100.")
        assert b"NXDOMAIN" in host.run("dig", "unknown.example").stdout
        started = time.monotonic()
        host.run("dig", "+short", "xmrpool.eu")
        assert time.monotonic() - started >= 0.010
        url = f"http://{vpc.IMDS}/latest/user-data"
        assert host.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url).stdout == b"401"
        token = host.run("curl", "-s", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60",
                         f"http://{vpc.IMDS}/latest/api/token").stdout.decode()
        read = host.run("curl", "-s", "-H", f"X-aws-ec2-metadata-token: {token}", url).stdout
        assert read == seed.user_data()
        assert [r["status"] for r in scene.imds_requests()] == [401, 200, 200]
        host.boot()
        cached = host.read("/var/lib/cloud/instance/user-data.txt")
        assert cached == seed.user_data()
        assert imds.INSTANCE_ID in host.run("readlink", "/var/lib/cloud/instance").stdout.decode()
        pid = host.pid
    assert name not in run("ip", "netns", "list").stdout.decode()
    assert str(scratch) not in open("/proc/mounts").read()
    wait_until("the end of the host", lambda: not Path(f"/proc/{pid}/root").exists())
