"""The suspect host: a real Debian with real cloud-init and cron, in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from . import imds, seed, vpc
from .resolver import dnsmasq_arguments, relay_arguments
from .shell import Argument, Undo, run, wait_until

HOSTNAME = "ip-10-77-0-10"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
}
CLOUD_CONFIG = """\
datasource_list: [ Ec2 ]
datasource:
  Ec2:
    strict_id: true
    max_wait: 10
    timeout: 5
network: {config: disabled}
"""


class SuspectHost:
    """A running host. Its root, mounts and processes end with the `Undo` it was made with."""

    def __init__(self, undo: Undo, network: vpc.Vpc, lower: list[Path], base: Path) -> None:
        self.undo, self.network, self.base = undo, network, base
        for part in ("upper", "work", "root"):
            (base / part).mkdir(parents=True)
        self._write("etc/hostname", f"{HOSTNAME}\n")
        self._write("etc/hosts", f"127.0.0.1 localhost\n{vpc.HOST} {HOSTNAME}\n")
        self._write("etc/resolv.conf", f"search ec2.internal\nnameserver {vpc.RESOLVER}\n")
        self._write("etc/cloud/cloud.cfg.d/90-datasource.cfg", CLOUD_CONFIG)
        script = Path(__file__).with_name("host-init.sh")
        layers = ":".join(str(layer) for layer in lower)
        self.holder = undo.start(
            *network.within(
                network.host,
                "unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child",
                "sh", script, layers, base, HOSTNAME, imds.INSTANCE_ID,
            ),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT,
        )
        undo.callback(self.holder.kill)  # unshare ignores SIGTERM while its child lives
        said = self.holder.stdout.readline()
        if said != b"ready\n":
            raise RuntimeError(f"the suspect host did not start: {said + self.holder.stdout.read()}")
        self.pid = self._first_child()

    def _write(self, path: str, text: str) -> None:
        target = self.base / "upper" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def _first_child(self) -> int:
        listing = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        if listing.exists():
            return int(wait_until("the host's PID 1", lambda: listing.read_text().split())[0])
        return int(run("pgrep", "-P", str(self.holder.pid)).stdout.split()[0])

    @property
    def root(self) -> Path:
        """The host's root as seen from outside. Absolute links in it lead elsewhere."""
        return Path(f"/proc/{self.pid}/root")

    def within(self, *argv: Argument) -> list[Argument]:
        """The command line that runs `argv` inside the host."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc", "--net",
                "--pid", "--root", "--wd", "--", *argv]

    def run(self, *argv: Argument, env: dict[str, str] | None = None,
            **options) -> subprocess.CompletedProcess[bytes]:
        """Runs a program of the host to its end."""
        return run(*self.within(*argv), env={**ENVIRONMENT, **(env or {})}, **options)

    def start(self, *argv: Argument, env: dict[str, str] | None = None,
              **options) -> subprocess.Popen:
        """Starts a program of the host; it ends with the host."""
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        return self.undo.start(*self.within(*argv), env={**ENVIRONMENT, **(env or {})}, **options)

    def read(self, path: str) -> bytes:
        """The bytes of a file, with links resolved inside the host."""
        return self.run("cat", "--", path).stdout

    def install(self, program: Path, into: str = "/run") -> str:
        """Puts a program on the host's tmpfs; gives its path there."""
        target = self.root / into.lstrip("/") / program.name
        shutil.copyfile(program, target)
        os.chmod(target, 0o755)
        return f"{into}/{program.name}"

    def watches_dns(self) -> bool:
        """Whether a packet socket is open in the host's network namespace."""
        table = self.run("cat", "/proc/net/packet").stdout
        return len(table.splitlines()) > 1

    def boot(self) -> None:
        """cloud-init up to the point where user scripts run (about 2 s)."""
        self.run("cloud-init", "init", timeout=90)
        # Exits 1 when any module failed (no locales here); the data source is what counts.
        self.run("cloud-init", "modules", "--mode=config", timeout=90, check=False)
        found = self.read("/var/lib/cloud/instance/datasource")
        if b"Ec2" not in found:
            raise RuntimeError(f"cloud-init took {found!r} as its data source, not Ec2")

    def run_user_scripts(self) -> None:
        """cloud-init's final stage: the seed's script digs 641 names (17–30 s)."""
        # cloud-init exits 1 or 2 when one of its modules failed; what counts is what ran.
        self.run("cloud-init", "modules", "--mode=final", timeout=180, check=False)
        if not (self.base / "upper" / seed.PERSIST.lstrip("/")).exists():
            raise RuntimeError("cloud-init did not run the seed's user script")

    def start_cron(self) -> subprocess.Popen:
        """The host's own cron, three seconds before a quarter of an hour."""
        library = next((self.root / "usr/lib").glob("*/faketime/libfaketime.so.1"))
        inside = "/" + str(library.relative_to(self.root))
        # Set inside the host: `nsenter` itself, outside, must not load the library.
        return self.start("env", "FAKETIME=@2021-07-29 01:44:57", "FAKETIME_DONT_RESET=1",
                          f"LD_PRELOAD={inside}", "cron", "-f")


class Scene:
    """VPC, resolver, IMDS and the suspect host, up and answering."""

    def __init__(self, undo: Undo, debian: Path, scratch: Path, delay: float = 0.010) -> None:
        self.undo, self.scratch = undo, scratch
        self.network = vpc.Vpc()
        self.network.make(undo)
        self.imds_log = scratch / f"{self.network.name}-imds.jsonl"
        router = self.network.router
        names = seed.mining_names() + seed.curled_names()
        self._service(*self.network.within(router, *dnsmasq_arguments(tuple(dict.fromkeys(names)))))
        self._service(*self.network.within(router, *relay_arguments(vpc.RESOLVER, delay)),
                      says=b"ready\n")
        self._service(
            *self.network.within(router, *imds.arguments(vpc.IMDS, seed.DATA, self.imds_log)),
            says=b"ready\n",
        )
        self.host = SuspectHost(undo, self.network, [debian], scratch / self.network.name)

    def _service(self, *argv: Argument, says: bytes | None = None) -> None:
        log = open(self.scratch / f"{self.network.name}-services.log", "ab")
        self.undo.callback(log.close)
        process = self.undo.start(
            *argv, stdout=subprocess.PIPE if says else log, stderr=log, env=os.environ | ENVIRONMENT
        )
        if says and process.stdout.readline() != says:
            raise RuntimeError(f"{argv}: did not start, see {log.name}")

    def imds_requests(self) -> list[dict]:
        """What was asked of IMDS so far."""
        return imds.requests(self.imds_log)

    def collector(self, *argv: Argument) -> list[Argument]:
        """The command line that runs `argv` on the collector's machine."""
        return self.network.within(self.network.collector, *argv)
