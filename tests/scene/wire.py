"""An agent of our own making, in Python, that can lie: generated from the .proto files."""

from __future__ import annotations

import hashlib
import importlib
import queue
import re
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .product import SOURCE, Token
from .shell import run

PROTO = SOURCE / "proto/wire/proto"
COLLECTOR_NAME = "collector.cleanroom"
RAW, RECORDS, FILE = 3, 2, 1


def generate(into: Path) -> tuple[ModuleType, ModuleType]:
    """Messages and stubs, made by protoc now."""
    into.mkdir(exist_ok=True)
    files = sorted(str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))
    run(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}",
        f"--python_out={into}", f"--grpc_python_out={into}", *files)
    sys.path.insert(0, str(into))
    return (importlib.import_module("cleanroom.v1.cleanroom_pb2"),
            importlib.import_module("cleanroom.v1.cleanroom_pb2_grpc"))


@dataclass(frozen=True)
class Identity:
    """A client's key and certificate, PEM."""

    key: bytes
    certificate: bytes


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8, PEM."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def served_chain(address: str) -> list[x509.Certificate]:
    """The certificates which the collector shows."""
    said = run("openssl", "s_client", "-connect", address, "-servername", COLLECTOR_NAME,
               "-alpn", "h2", "-showcerts", check=False, timeout=20).stdout
    pems = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", said, re.S)
    return [x509.load_pem_x509_certificate(pem) for pem in pems]


def pinned_ca(address: str, pin: str) -> x509.Certificate:
    """The certificate of the chain that has the pinned digest."""
    for certificate in served_chain(address):
        der = certificate.public_bytes(serialization.Encoding.DER)
        if hashlib.sha256(der).hexdigest() == pin:
            return certificate
    raise AssertionError("the collector does not show the pinned CA")


class Client:
    """Speaks to one collector, as whoever it is given the certificate of."""

    def __init__(self, proto: tuple[ModuleType, ModuleType], address: str, ca_pin: str) -> None:
        self.pb, self.grpc = proto
        self.address = address
        ca = pinned_ca(address, ca_pin)
        self.ca_pem = ca.public_bytes(serialization.Encoding.PEM)

    def channel(self, identity: Identity | None) -> grpc.Channel:
        """A channel with or without a client certificate."""
        credentials = grpc.ssl_channel_credentials(
            self.ca_pem, *((identity.key, identity.certificate) if identity else ())
        )
        options = [("grpc.ssl_target_name_override", COLLECTOR_NAME),
                   ("grpc.enable_retries", 0)]
        return grpc.secure_channel(self.address, credentials, options)

    def enrol(self, token: Token | bytes) -> Identity:
        """Trades a token for a certificate."""
        secret = token if isinstance(token, bytes) else bytes.fromhex(token.secret)
        key = new_key()
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(
            key, hashes.SHA256())
        request = self.pb.EnrollRequest(
            token=secret, csr_der=csr.public_bytes(serialization.Encoding.DER))
        with self.channel(None) as channel:
            answer = self.grpc.EnrollmentStub(channel).Enroll(request, timeout=15)
        certificate = x509.load_der_x509_certificate(answer.certificate_der)
        return Identity(key_pem(key), certificate.public_bytes(serialization.Encoding.PEM))

    # --- messages -----------------------------------------------------------------------------

    def clock(self):
        """Now."""
        return self.pb.Clock(unix_seconds=int(time.time()), nanoseconds=0, boottime_ns=1)

    def open(self, session: str, **more):
        """The first message."""
        return self.pb.AgentMessage(open=self.pb.Open(
            session_id=session, incarnation=secrets.token_hex(8), agent_version="0",
            agent_sha256=bytes(32), boot_id="00000000-0000-0000-0000-000000000000",
            clock=self.clock(), host_name="liar", profile="triage", command_line=b"liar", **more))

    def begin(self, seq: int, name: bytes, kind: int = RAW, source: str = "files", **more):
        """An item begins."""
        header = self.pb.ItemHeader(source=source, kind=kind, name=name, read_at=self.clock())
        if kind == FILE:
            now = self.pb.Time(unix_seconds=1)
            header.file.CopyFrom(self.pb.FileMeta(
                kind=1, mode=0o100644, links=1, inode=1, device="0:1",
                accessed=now, modified=now, changed=now))
        return self.pb.AgentMessage(begin=self.pb.ItemBegin(seq=seq, header=header, **more))

    def chunk(self, seq: int, data: bytes, offset: int = 0):
        """Bytes of it."""
        return self.pb.AgentMessage(chunk=self.pb.Chunk(seq=seq, offset=offset, data=data))

    def seal(self, seq: int, data: bytes, digest: bytes | None = None, length: int | None = None):
        """It ends."""
        return self.pb.AgentMessage(seal=self.pb.ItemSeal(
            seq=seq, sha256=hashlib.sha256(data).digest() if digest is None else digest,
            length_bytes=len(data) if length is None else length, read_end=self.clock()))

    def done(self, last: int):
        """Nothing more will come."""
        return self.pb.AgentMessage(done=self.pb.Done(last_seq=last))

    def item(self, seq: int, name: bytes, data: bytes, kind: int = RAW, **more) -> list:
        """A whole small item."""
        return [self.begin(seq, name, kind, **more), self.chunk(seq, data), self.seal(seq, data)]

    # --- conversation -------------------------------------------------------------------------

    def say(self, identity: Identity | None, messages: list, timeout: float = 20,
            wait_for_answer: bool = False) -> list:
        """Sends the first message, answers the clock probe, sends the others in order.

        With `wait_for_answer` the stream stays open after the last message, as an agent's does
        while it waits for an acknowledgement. Gives what the collector said (but the probe). Raises grpc.RpcError with `.heard` added:
        what was said before the refusal.
        """
        outbox: queue.Queue = queue.Queue()
        outbox.put(messages[0])

        def outgoing() -> Iterator:
            while (message := outbox.get(timeout=timeout)) is not None:
                yield message

        heard: list = []
        with self.channel(identity) as channel:
            call = self.grpc.EvidenceStub(channel).Capture(outgoing(), timeout=timeout)
            try:
                for message in call:
                    if message.WhichOneof("message") != "clock_probe":
                        heard.append(message)
                        continue
                    reply = self.pb.ClockReply(nonce=message.clock_probe.nonce, clock=self.clock())
                    outbox.put(self.pb.AgentMessage(clock_reply=reply))
                    for other in messages[1:]:
                        outbox.put(other)
                    if not wait_for_answer:
                        outbox.put(None)  # the stream's end
            except grpc.RpcError as refused:
                refused.heard = heard
                raise
            finally:
                outbox.put(None)
        return heard


def durable(heard: list) -> int:
    """The highest entry that the collector acknowledged."""
    seqs = [0]
    for message in heard:
        kind = message.WhichOneof("message")
        if kind == "opened":
            seqs.append(message.opened.durable_seq)
        elif kind == "durable":
            seqs.append(message.durable.seq)
        elif kind == "closed":
            seqs.append(message.closed.durable_seq)
    return max(seqs)
