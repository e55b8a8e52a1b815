"""A VPC of network namespaces: a router with the resolver and IMDS, the host, the collector."""

from __future__ import annotations

import os
import secrets
import subprocess
from dataclasses import dataclass, field

from .shell import Argument, Undo, run

ROUTER = "10.77.0.1"
RESOLVER = "10.77.0.2"
HOST = "10.77.0.10"
COLLECTOR = "10.77.0.20"
IMDS = "169.254.169.254"
INTERNET = "198.51.100.0/24"  # RFC 5737: what the resolver answers with; it ends at the router


@dataclass
class Vpc:
    """Names of this run's namespaces; `Vpc.made` makes them and removes them."""

    name: str = field(default_factory=lambda: f"cr{os.getpid() % 100000}{secrets.token_hex(2)}")

    @property
    def router(self) -> str:
        """Namespace of the bridge, the resolver and IMDS."""
        return f"{self.name}-vpc"

    @property
    def host(self) -> str:
        """Namespace of the suspect host."""
        return f"{self.name}-host"

    @property
    def collector(self) -> str:
        """Namespace of the collector."""
        return f"{self.name}-coll"

    def within(self, namespace: str, *argv: Argument) -> list[Argument]:
        """The command line that runs `argv` in a namespace."""
        return ["ip", "netns", "exec", namespace, *argv]

    def run(self, namespace: str, *argv: Argument, **options) -> subprocess.CompletedProcess[bytes]:
        """Runs a program in a namespace."""
        return run(*self.within(namespace, *argv), **options)

    def cable(self, plugged: bool, port: str = "p-coll") -> None:
        """Plugs or pulls the cable of a port of the VPC's bridge (nothing is reset)."""
        self.run(self.router, "ip", "link", "set", port, "up" if plugged else "down")

    def make(self, undo: Undo) -> None:
        """Makes the namespaces, their cables and addresses."""
        for namespace in (self.router, self.host, self.collector):
            run("ip", "netns", "add", namespace)
            undo.later("ip", "netns", "delete", namespace)
            self.run(namespace, "ip", "link", "set", "lo", "up")
        inside = ["ip", "-n", self.router]
        run(*inside, "link", "add", "br0", "type", "bridge")
        for address in (f"{ROUTER}/24", f"{RESOLVER}/24", f"{IMDS}/32"):
            run(*inside, "address", "add", address, "dev", "br0")
        run(*inside, "link", "set", "br0", "up")
        run(*inside, "route", "add", "local", INTERNET, "dev", "lo")
        for namespace, port, address in (
            (self.host, "p-host", HOST),
            (self.collector, "p-coll", COLLECTOR),
        ):
            run(*inside, "link", "add", port, "type", "veth",
                "peer", "name", "eth0", "netns", namespace)
            run(*inside, "link", "set", port, "master", "br0", "up")
            there = ["ip", "-n", namespace]
            run(*there, "address", "add", f"{address}/24", "dev", "eth0")
            run(*there, "link", "set", "eth0", "up")
            run(*there, "route", "add", "default", "via", ROUTER)
