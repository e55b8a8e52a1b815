"""A TCP relay between agent and collector that can cut the connection or lose the answers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Relay:
    """Forwards to `target`; each connection is cut after its share of `cuts` bytes.

    After the listed cuts every further connection is left alone. With `lose_answers` nothing
    that the collector says passes on those connections: acknowledgements are lost.
    """

    def __init__(self, target: str, cuts: list[int], lose_answers: bool = False) -> None:
        host, _, port = target.rpartition(":")
        self._target, self._cuts, self._lose = (host, int(port)), list(cuts), lose_answers
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: set[socket.socket] = set()
        self.connections, self.cut = 0, 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._open |= {near, far}
        limit = self._cuts.pop(0) if self._cuts else None
        mute = self._lose and limit is not None
        threading.Thread(target=self._copy, args=(far, near, None, mute), daemon=True).start()
        self._copy(near, far, limit, False)

    def _copy(self, source, sink, limit: int | None, mute: bool) -> None:
        passed = 0
        try:
            while data := source.recv(256 * 1024):
                passed += len(data)
                # A muted answer lets the handshake through: 16 KiB hold it, and the greeting.
                if not mute or passed <= 16 * 1024:
                    sink.sendall(data)
                if limit is not None and passed >= limit:
                    self.cut += 1
                    break
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):  # a reset, not a goodbye
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._open.discard(end)

    def close(self) -> None:
        """Stops listening and drops what is open."""
        self._listener.close()
        for end in list(self._open):
            end.close()
