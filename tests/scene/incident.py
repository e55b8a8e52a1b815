"""The seed's incident from start to bundle: attack, capture across the VPC, export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from . import plants, vpc
from .bundle import Bundle
from .host import Scene
from .imds import INSTANCE_ID
from .product import COMPLETE, PARTIAL, Binaries, Collector, Store, collect_arguments
from .shell import CommandFailed, Undo, wait_until

CASE = "case-2021-07"
WATCH_SECONDS = 60
LISTEN = f"{vpc.COLLECTOR}:7443"


@dataclass
class Incident:
    """What happened, and the bundle that tells of it."""

    scene: Scene
    planted: plants.Planted
    store: Store
    bundle_path: Path
    user_script: bytes  # as cloud-init itself wrote it on the host
    collect_said: list[bytes] = field(default_factory=list)
    requests: list[dict] = field(default_factory=list)

    @property
    def bundle(self) -> Bundle:
        """The bundle, read anew from its file."""
        if not hasattr(self, "_bundle"):
            self._bundle = Bundle(self.bundle_path)
        return self._bundle


class _Agent:
    """The agent on the suspect host. Each collection is a session with a token of its own."""

    def __init__(self, scene: Scene, store: Store, scratch: Path) -> None:
        self.scene, self.store, self.scratch = scene, store, scratch
        self.path = scene.host.install(store.binaries.agent)

    def arguments(self, name: str, *more: str) -> list:
        token = self.store.token(CASE, INSTANCE_ID)
        file = self.scene.host.root / "run" / f"{name}.token"
        file.write_text(token.secret)
        file.chmod(0o600)
        return collect_arguments(self.path, LISTEN, token, f"/run/{name}.token", *more)


def run_incident(binaries: Binaries, debian: Path, scratch: Path, undo: Undo) -> Incident:
    """Two sessions: one that watches DNS while the attack runs, one of what it left behind."""
    scratch.mkdir()
    scene = Scene(undo, debian, scratch)
    host = scene.host
    store = Store(binaries, scratch / "store")
    store.new_case(CASE)
    Collector(store, LISTEN, undo, within=scene.collector).start()
    agent = _Agent(scene, store, scratch)
    host.boot()
    already_asked = len(scene.imds_requests())

    said = open(scratch / "watch.out", "wb+")
    undo.callback(said.close)
    watching = host.start(
        *agent.arguments("watch", "--profile", "volatile", "--watch", f"{WATCH_SECONDS}s"),
        stdout=said, stderr=said,
    )
    wait_until("the DNS watch", lambda: host.watches_dns() or watching.poll() is not None, 30)
    host.run_user_scripts()
    plants.live_cron_line(host)
    host.start_cron()
    wait_until("cron's run of persist.sh", lambda: _runs(scene, b"persist.sh"), 60, 0.2)
    code = watching.wait(WATCH_SECONDS + 120)
    output = (scratch / "watch.out").read_bytes()
    if code not in (COMPLETE, PARTIAL):
        raise AssertionError(f"the watching agent ended {code}: {output.decode(errors='replace')}")
    wait_until("the end of cron's persist.sh", lambda: not _runs(scene, b"persist.sh"), 120, 0.2)

    planted = plants.plant(host)
    plants.fifo_in_cron(host)
    second = host.run(*agent.arguments("after", "--profile", "triage"), check=False, timeout=180)
    if second.returncode not in (COMPLETE, PARTIAL):
        raise CommandFailed(f"collect ended {second.returncode}: {second.stderr!r}")
    return Incident(
        scene=scene,
        planted=planted,
        store=store,
        bundle_path=store.bundle(CASE, scratch / f"{CASE}.tar"),
        user_script=host.read("/var/lib/cloud/instance/scripts/userdata.txt"),
        collect_said=[output, second.stdout + second.stderr],
        requests=scene.imds_requests()[already_asked:],
    )


def _runs(scene: Scene, word: bytes) -> bool:
    return word in scene.host.run("ps", "-eo", "args=", check=False).stdout
