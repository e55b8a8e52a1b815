"""A stand-in for the instance metadata service, version 2 only.

Every request is written down, one JSON object a line, so that a test can assert what nobody
may ask for: credentials, and anything without a token.

Run as a program: `imds.py ADDRESS USER_DATA_FILE LOG_FILE`.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INSTANCE_ID = "i-0213f5abcdef6078a"
ACCOUNT = "999999999999"
REGION = "us-east-1"
ROLE = "web-tier"

META_DATA = {
    "ami-id": "ami-0abcdef1234567890",
    "ami-launch-index": "0",
    "ami-manifest-path": "(unknown)",
    "block-device-mapping/ami": "/dev/xvda",
    "block-device-mapping/root": "/dev/xvda",
    "hostname": "ip-10-77-0-10.ec2.internal",
    "iam/info": json.dumps({
        "Code": "Success",
        "LastUpdated": "2021-07-29T01:30:00Z",
        "InstanceProfileArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{ROLE}",
        "InstanceProfileId": "AIPA0123456789EXAMPLE",
    }),
    f"iam/security-credentials/{ROLE}": json.dumps({
        "Code": "Success",
        "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
        "SecretAccessKey": "SECRET-THAT-NO-BUNDLE-MAY-HOLD",
        "Token": "TOKEN-THAT-NO-BUNDLE-MAY-HOLD",
    }),
    "instance-action": "none",
    "instance-id": INSTANCE_ID,
    "instance-life-cycle": "on-demand",
    "instance-type": "t3.micro",
    "local-hostname": "ip-10-77-0-10.ec2.internal",
    "local-ipv4": "10.77.0.10",
    "mac": "02:00:0a:4d:00:0a",
    "placement/availability-zone": f"{REGION}a",
    "placement/region": REGION,
    "profile": "default-hvm",
    "public-keys/0/openssh-key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ example",
    "reservation-id": "r-0123456789abcdef0",
    "security-groups": "web",
    "services/domain": "amazonaws.com",
    "services/partition": "aws",
}
IDENTITY = {
    "accountId": ACCOUNT,
    "architecture": "x86_64",
    "availabilityZone": f"{REGION}a",
    "billingProducts": None,
    "devpayProductCodes": None,
    "imageId": META_DATA["ami-id"],
    "instanceId": INSTANCE_ID,
    "instanceType": META_DATA["instance-type"],
    "kernelId": None,
    "marketplaceProductCodes": None,
    "pendingTime": "2021-07-29T01:25:00Z",
    "privateIp": META_DATA["local-ipv4"],
    "ramdiskId": None,
    "region": REGION,
    "version": "2017-09-30",
}
VERSIONS = ("1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest")


def lookup(path: str, user_data: bytes) -> bytes | None:
    """The bytes at a path below the version: a value, a directory's listing, or nothing."""
    if path == "user-data":
        return user_data
    if path == "dynamic/instance-identity/document":
        return json.dumps(IDENTITY, indent=2).encode()
    if path.rstrip("/") == "dynamic/instance-identity":
        return b"document"
    if path.rstrip("/") == "dynamic":
        return b"instance-identity/"
    if path == "":
        return b"dynamic\nmeta-data\nuser-data"
    prefix, _, key = path.partition("/")
    if prefix != "meta-data":
        return None
    if key in META_DATA:
        return META_DATA[key].encode()
    if key == "public-keys/":
        return b"0=example"  # this one listing has a form of its own
    below = key if not key or key.endswith("/") else f"{key}/"
    children = {}
    for name in META_DATA:
        if name.startswith(below):
            head, slash, _ = name[len(below):].partition("/")
            children[head + slash] = None
    return "\n".join(children).encode() if children else None


class Handler(BaseHTTPRequestHandler):
    """One request. The class attributes are set once before serving."""

    protocol_version = "HTTP/1.1"
    user_data = b""
    log_path = Path("/dev/null")
    tokens: set[str] = set()
    lock = threading.Lock()

    def log_message(self, *_args) -> None:
        """Nothing on stderr: the log file has it."""

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        with self.lock, open(self.log_path, "a") as log:
            log.write(json.dumps({
                "method": self.command,
                "path": self.path,
                "status": status,
                "token": self.headers.get("X-aws-ec2-metadata-token") is not None,
                "agent": self.headers.get("User-Agent", ""),
                "client": self.client_address[0],
            }) + "\n")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token" or not seconds.isdigit():
            self.reply(400, b"")
            return
        token = secrets.token_urlsafe(40)
        self.tokens.add(token)
        self.reply(200, token.encode(), X_aws_ec2_metadata_token_ttl_seconds=seconds)

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.tokens:
            self.reply(401, b"")
            return
        version, _, path = self.path.lstrip("/").partition("/")
        found = lookup(path, self.user_data) if version in VERSIONS else None
        self.reply(404 if found is None else 200, found or b"")


def serve(address: str, user_data: Path, log: Path) -> None:
    """Serves until killed."""
    Handler.user_data = user_data.read_bytes()
    Handler.log_path = log
    server = ThreadingHTTPServer((address, 80), Handler)
    print("ready", flush=True)
    server.serve_forever()


def arguments(address: str, user_data: Path, log: Path) -> list[str]:
    """The command line of the stand-in."""
    return [sys.executable, str(Path(__file__).resolve()), address, str(user_data), str(log)]


def requests(log: Path) -> list[dict]:
    """Every request so far."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
