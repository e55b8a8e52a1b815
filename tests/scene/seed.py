"""What the seed's user data says, computed from the file itself: names, labels, parts."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from functools import cache
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data" / "seed-user-data.txt"
EXFILTRATION_DOMAIN = "afsdem.com"
PERSIST = "/usr/cryptokit/persist.sh"
CRON_LINE = f"*/15 * * * * {PERSIST}"


@cache
def user_data() -> bytes:
    """The user data of the seed's incident, byte for byte."""
    return DATA.read_bytes()


@cache
def parts() -> tuple[tuple[str, bytes], ...]:
    """(declared content type, decoded bytes) of each part, as Python's email reads them."""
    message = email.message_from_bytes(user_data(), policy=email.policy.compat32)
    return tuple(
        (part.get_content_type(), part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    )


@cache
def dug_names() -> tuple[str, ...]:
    """Every name which the script digs, in order, each once."""
    found = re.findall(rb'echo "\s*dig ([^\s;"]+)', user_data())
    return tuple(dict.fromkeys(name.decode() for name in found))


def mining_names() -> tuple[str, ...]:
    """The mining pools' names."""
    return tuple(n for n in dug_names() if not n.endswith(f".{EXFILTRATION_DOMAIN}"))


def exfiltration_labels() -> tuple[str, ...]:
    """The labels that carry base64 out of the host, in order."""
    suffix = f".{EXFILTRATION_DOMAIN}"
    return tuple(n.removesuffix(suffix) for n in dug_names() if n.endswith(suffix))


def exfiltrated() -> bytes:
    """What the labels spell when joined: the oracle for decoding."""
    return base64.b64decode("".join(exfiltration_labels()), validate=True)


def curled_names() -> tuple[str, ...]:
    """Names that the script reaches by HTTP (curl asks for their addresses)."""
    found = re.findall(rb"http://([^/\s]+)/", user_data())
    return tuple(dict.fromkeys(name.decode() for name in found))
