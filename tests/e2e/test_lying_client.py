"""A client that lies is refused with a clear error, and the store stays as it was."""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets
import socket
import time

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from scene.bundle import Bundle, tar_members, unescape
from scene.product import FAILED, Collector, Store, collect_arguments
from scene.shell import run
from scene.wire import FILE, RECORDS, Client, Identity, durable, generate, key_pem, new_key

CASE, OTHER_CASE, HOST = "case-a", "case-b", "i-00000000000000001"
HONEST = b"bytes of an honest agent\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def proto(work):
    return generate(work / "proto")


@pytest.fixture(scope="module")
def collector(binaries, work, session_undo) -> Collector:
    (work / "liar").mkdir()
    store = Store(binaries, work / "liar" / "store")
    store.new_case(CASE)
    store.new_case(OTHER_CASE)
    return Collector(store, f"127.0.0.1:{free_port()}", session_undo).start()


@pytest.fixture(scope="module")
def client(proto, collector) -> Client:
    return Client(proto, collector.address, collector.store.token(CASE, HOST).ca_pin)


@pytest.fixture(scope="module")
def identity(client, collector) -> Identity:
    return client.enrol(collector.store.token(CASE, HOST))


@pytest.fixture(scope="module")
def honest_session(client, identity) -> str:
    """A session with one durable item, which no lie may harm."""
    session = f"honest-{secrets.token_hex(4)}"
    heard = client.say(identity, [client.open(session), *client.item(1, b"honest", HONEST),
                                  client.done(1)])
    assert durable(heard) == 1
    assert heard[-1].WhichOneof("message") == "closed"
    assert heard[-1].closed.custody_checkpoint
    return session


@pytest.fixture
def intact(collector, honest_session):
    """After the test, every blob is what its name says and the honest one is there."""
    yield
    blobs = collector.store.blobs()
    assert hashlib.sha256(HONEST).hexdigest() in blobs
    for name, path in blobs.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    assert collector.process.poll() is None, collector.said()


def refused(client: Client, identity: Identity | None, messages: list) -> grpc.RpcError:
    """Says the messages, expects a refusal that a person understands."""
    with pytest.raises(grpc.RpcError) as caught:
        client.say(identity, messages)
    error = caught.value
    assert error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL,
                                grpc.StatusCode.UNKNOWN), error
    assert len(error.details()) > 10, error
    return error


def new_session() -> str:
    return f"lie-{secrets.token_hex(4)}"


def test_wrong_digest(client, identity, intact, collector) -> None:
    data = b"not what the seal says" + secrets.token_bytes(8)
    error = refused(client, identity, [
        client.open(new_session()), client.begin(1, b"x"), client.chunk(1, data),
        client.seal(1, data, digest=bytes(32)), client.done(1)])
    assert durable(error.heard) == 0
    assert re.search("digest|sha-?256|hash", error.details(), re.I), error.details()
    assert {hashlib.sha256(data).hexdigest(), "00" * 32}.isdisjoint(collector.store.blobs())


def test_a_client_that_waits_is_told(client, identity, intact) -> None:
    """The refusal comes at once, not when the client next has something to say."""
    with pytest.raises(grpc.RpcError) as caught:
        client.say(identity, [client.open(new_session()), client.begin(1, b"x"),
                              client.chunk(1, b"abc"), client.seal(1, b"abc", digest=bytes(32))],
                   timeout=10, wait_for_answer=True)
    assert caught.value.code() != grpc.StatusCode.DEADLINE_EXCEEDED, "the collector said nothing"


def test_wrong_length(client, identity, intact) -> None:
    error = refused(client, identity, [
        client.open(new_session()), client.begin(1, b"x"), client.chunk(1, b"abc"),
        client.seal(1, b"abc", length=4), client.done(1)])
    assert durable(error.heard) == 0


@pytest.mark.parametrize("size", [256 * 1024 + 1, 3 * 1024 * 1024])
def test_oversized_chunk(client, identity, intact, size: int) -> None:
    data = bytes(size)
    error = refused(client, identity, [
        client.open(new_session()), client.begin(1, b"x"), client.chunk(1, data),
        client.seal(1, data), client.done(1)])
    assert durable(error.heard) == 0
    assert re.search("limit|large|size", error.details(), re.I), error.details()


@pytest.mark.parametrize("session", ["../../../../tmp/evil", "/etc", "..", "a/b", "a\0b", "",
                                     "x" * 4096])
def test_path_tricks_in_a_session_id(client, identity, intact, session: str) -> None:
    refused(client, identity, [client.open(session), client.done(0)])


@pytest.mark.parametrize("name", [b"../../evil", b"/etc/passwd", b"a/b", b"\xff", b""])
def test_path_tricks_in_a_record_set(client, identity, intact, name: bytes) -> None:
    error = refused(client, identity, [
        client.open(new_session()), *client.item(1, name, b"{}\n", RECORDS), client.done(1)])
    assert durable(error.heard) == 0


def test_path_tricks_in_file_names_stay_names(client, identity, intact, collector, work) -> None:
    names = [b"/../../../../tmp/evil", b"../evil", b"/etc/../../evil", b"//evil", b"/a\nb",
             b"/-rf", b"/\xff\xfe", b"/" + b"d/" * 500 + b"deep", b".", b"/", b"a\0b"]
    for name in names:
        try:
            client.say(identity, [client.open(new_session()),
                                  *client.item(1, name, b"evil " + name, FILE), client.done(1)])
        except grpc.RpcError as error:
            assert len(error.details()) > 10
    path = collector.store.bundle(CASE, work / "liar" / "tricks.tar")
    bundle = Bundle(path)
    for name in bundle.names:
        assert ".." not in name.split("/") and "evil" not in name
    for folder in bundle.sessions:
        for member in tar_members(bundle.host_tar(folder)):
            assert not member.startswith(b"/") and b".." not in member.split(b"/"), member
    collector.store.verify(path)


@pytest.mark.parametrize("lie", ["chunk first", "gap", "offset", "two begins", "other seq", "zero"])
def test_entries_out_of_order(client, identity, intact, lie: str) -> None:
    said = {
        "chunk first": [client.chunk(1, b"x")],
        "gap": client.item(2, b"x", b"x"),
        "offset": [client.begin(1, b"x"), client.chunk(1, b"x", offset=7)],
        "two begins": [client.begin(1, b"x"), client.begin(2, b"y")],
        "other seq": [client.begin(1, b"x"), client.chunk(2, b"x")],
        "zero": client.item(0, b"x", b"x"),
    }[lie]
    error = refused(client, identity, [client.open(new_session()), *said, client.done(9)])
    assert durable(error.heard) == 0


def test_done_that_claims_more_than_was_sent(client, identity, intact) -> None:
    refused(client, identity, [client.open(new_session()), *client.item(1, b"x", b"x"),
                               client.done(5)])


def test_resume_with_a_prefix_that_was_never_sent(client, identity, intact) -> None:
    refused(client, identity, [
        client.open(new_session()),
        client.begin(1, b"x", resume_offset=10, resume_sha256=bytes(32)), client.done(1)])


def test_sent_again_is_harmless(client, identity, intact, collector) -> None:
    """What is durable keeps its bytes, whatever is sent under its number later."""
    session = new_session()
    first, other = b"first " + secrets.token_bytes(8), b"other " + secrets.token_bytes(8)
    client.say(identity, [client.open(session), *client.item(1, b"x", first)])
    heard = client.say(identity, [client.open(session)])
    assert durable(heard) == 1, "it was durable, so the agent need not send it again"
    try:
        client.say(identity, [client.open(session), *client.item(1, b"x", other), client.done(1)])
    except grpc.RpcError as error:
        assert len(error.details()) > 10
    blobs = collector.store.blobs()
    assert hashlib.sha256(first).hexdigest() in blobs
    lines = [path.read_text() for path in collector.store.path.glob(f"cases/*/sessions/*/{session}/items.jsonl")]
    assert len(lines) == 1 and hashlib.sha256(first).hexdigest() in lines[0]
    assert hashlib.sha256(other).hexdigest() not in lines[0]


def test_replayed_token(client, collector, intact) -> None:
    token = collector.store.token(CASE, HOST)
    client.enrol(token)
    with pytest.raises(grpc.RpcError) as caught:
        client.enrol(token)
    assert caught.value.code() in (grpc.StatusCode.UNAUTHENTICATED,
                                   grpc.StatusCode.PERMISSION_DENIED)
    assert "token" in caught.value.details()


def test_expired_token(client, collector, intact) -> None:
    token = collector.store.token(CASE, HOST, "--expires", "1s")
    time.sleep(2.1)
    with pytest.raises(grpc.RpcError) as caught:
        client.enrol(token)
    assert "token" in caught.value.details()


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), bytes(32), bytes(100_000)])
def test_token_that_was_never_issued(client, intact, secret: bytes) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.enrol(secret)
    assert caught.value.code() not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


def test_no_client_certificate(client, intact) -> None:
    refused(client, None, [client.open(new_session()), client.done(0)])


def _self_made(name: str, issuer_key=None) -> Identity:
    key = new_key()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    uri = x509.UniformResourceIdentifier(f"spiffe://cleanroom/case/{CASE}/instance/{HOST}")
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(issuer_key or key, hashes.SHA256())
    )
    return Identity(key_pem(key), certificate.public_bytes(serialization.Encoding.PEM))


def test_certificate_of_another_ca(client, intact) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.say(_self_made(HOST), [client.open(new_session()), client.done(0)])
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)


def test_agent_refuses_another_ca(collector, work, intact) -> None:
    token = collector.store.token(CASE, HOST)
    file = work / "liar" / "token"
    file.write_text(token.secret)
    wrong = type(token)(token.secret, "00" * 32)
    done = run(*collect_arguments(collector.store.binaries.agent, collector.address, wrong, file,
                                  "--no-state", "--patience", "5s"),
               check=False, timeout=60)
    assert done.returncode == FAILED
    assert b"CA" in done.stderr and b"pin" in done.stderr, done.stderr


def test_certificate_of_another_case(client, collector, honest_session, intact, work) -> None:
    other = client.enrol(collector.store.token(OTHER_CASE, HOST))
    secret = b"this belongs to the other case"
    heard = client.say(other, [client.open(honest_session), *client.item(1, b"honest", secret),
                               client.done(1)])
    opened = next(m.opened for m in heard if m.WhichOneof("message") == "opened")
    assert opened.durable_seq == 0, "one case's session shows in the other"
    path = collector.store.bundle(CASE, work / "liar" / "case-a.tar")
    items = Bundle(path).items()
    assert hashlib.sha256(secret).hexdigest() not in {i["seal"]["sha256"] for i in items}
    honest = [i for i in items if unescape(i["header"]["name"]) == b"honest"]
    assert [i["seal"]["sha256"] for i in honest] == [hashlib.sha256(HONEST).hexdigest()]


def test_garbage_on_the_port(collector, intact) -> None:
    host, _, port = collector.address.partition(":")
    for noise in (b"GET / HTTP/1.1\r\n\r\n", secrets.token_bytes(65536), b"\x16\x03\x01\xff\xff"):
        with socket.create_connection((host, int(port)), timeout=5) as stream:
            try:
                stream.sendall(noise)
                stream.shutdown(socket.SHUT_WR)
                stream.settimeout(15)
                while stream.recv(4096):
                    pass
            except OSError:  # refused in one way or another: what counts is the fixture
                pass


def test_bundle_verifies_after_all_the_lies(client, identity, collector, intact, work) -> None:
    path = collector.store.bundle(CASE, work / "liar" / "after.tar")
    collector.store.verify(path)
