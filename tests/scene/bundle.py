"""Reads a bundle with nothing but tar and JSON, as a stranger would.

What a test asserts about evidence, it asserts through this reader: never from the store.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from functools import cached_property
from pathlib import Path


def unescape(text: str) -> bytes:
    r"""The raw bytes of a record's text column: `\xNN` is a byte, `\\` a backslash."""
    out, at = bytearray(), 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] == "\\":
            out += b"\\"
            at += 2
        elif text[at] == "\\" and text[at + 1 : at + 2] == "x":
            out.append(int(text[at + 2 : at + 4], 16))
            at += 4
        else:
            out += text[at].encode()
            at += 1
    return bytes(out)


class Bundle:
    """A bundle's tar, read into memory by member (no file of it is unpacked on disk)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(path, "r:") as tar:
            members = [m for m in tar.getmembers() if m.isfile()]
            self._files = {m.name: tar.extractfile(m).read() for m in members}
        roots = {name.split("/", 1)[0] for name in self._files}
        if len(roots) != 1:
            raise ValueError(f"{path}: one folder expected at the top, found {sorted(roots)}")
        self.case = roots.pop()

    @property
    def names(self) -> list[str]:
        """Paths of all files below the case's folder."""
        return [name.split("/", 1)[1] for name in self._files]

    def read(self, path: str) -> bytes:
        """The bytes of a file, by its path below the case's folder."""
        return self._files[f"{self.case}/{path}"]

    def lines(self, path: str) -> list[dict]:
        """A JSON-lines file."""
        return [json.loads(line) for line in self.read(path).splitlines() if line.strip()]

    @cached_property
    def sessions(self) -> list[str]:
        """Folders `data/hosts/<host>/<session>`, in order of name."""
        return sorted(
            name.removesuffix("/session.json") for name in self.names
            if name.startswith("data/hosts/") and name.endswith("/session.json")
        )

    def records(self, record_set: str) -> list[dict]:
        """All records of a set, over every host and session."""
        suffix = f"/records/{record_set}.jsonl"
        return [line for name in sorted(self.names) if name.endswith(suffix)
                for line in self.lines(name)]

    def items(self) -> list[dict]:
        """All items of all sessions; `session` is added to each."""
        return [item | {"session": session} for session in self.sessions
                for item in self.lines(f"{session}/items.jsonl")]

    def outcomes(self) -> list[dict]:
        """How each source ended, over all sessions."""
        return [line for session in self.sessions
                for line in self.lines(f"{session}/outcomes.jsonl")]

    def host_tar(self, session: str) -> bytes:
        """The UAC-layout tar of a session, still compressed."""
        found = [n for n in self.names
                 if n.startswith(f"{session}/uac-") and n.endswith(".tar.gz")]
        if len(found) != 1:
            raise ValueError(f"{session}: one UAC tar expected, found {found}")
        return self.read(found[0])

    def bytes_of(self, item: dict) -> bytes:
        """The bytes of an item, wherever the bundle keeps them."""
        path, member = item.get("bundle_path"), item.get("tar_member")
        whole = self.read(path)
        if member is None:
            start = item.get("offset_bytes") or 0
            return whole[start : start + item["seal"]["length_bytes"]]
        return tar_members(whole)[unescape(member)]

    def item(self, name: bytes, kind: str | None = None) -> dict:
        """The last item of that raw name."""
        found = [i for i in self.items() if unescape(i["header"]["name"]) == name
                 and (kind is None or i["header"]["kind"] == kind)]
        if not found:
            raise KeyError(name)
        return found[-1]

    def unpack(self, into: Path) -> Path:
        """Unpacks the whole bundle; gives the case's folder."""
        with tarfile.open(self.path, "r:") as tar:
            tar.extractall(into, filter="data")
        return into / self.case


def tar_members(compressed: bytes) -> dict[bytes, bytes]:
    """Raw names and bytes of a tar.gz's regular files (hard links give their target's)."""
    members: dict[bytes, bytes] = {}
    plain = io.BytesIO(gzip.decompress(compressed))
    with tarfile.open(fileobj=plain, mode="r:", encoding="utf-8",
                      errors="surrogateescape") as tar:
        for member in tar:
            if member.isfile() or member.islnk():
                stream = tar.extractfile(member)
                name = member.name.encode("utf-8", "surrogateescape")
                members[name] = stream.read() if stream else b""
    return members
