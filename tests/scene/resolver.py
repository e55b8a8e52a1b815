"""The VPC's resolver: a real dnsmasq, behind a relay that delays its answers.

Without the delay an answer arrives within a millisecond, and no observer on the host could
tell whose question it was; 10 ms is what a VPC's resolver takes for a name it must look up.

Run as a program it is the relay: `resolver.py LISTEN TARGET_PORT DELAY_SECONDS`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

DNSMASQ_PORT = 5300


def dnsmasq_arguments(names: tuple[str, ...]) -> list[str]:
    """dnsmasq that knows `names` (198.51.100.x each) and answers NXDOMAIN for all else."""
    known = [f"--address=/{name}/198.51.100.{i}" for i, name in enumerate(names, start=1)]
    return [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
        "--no-poll", "--pid-file=", "--user=root", "--bind-interfaces", f"--port={DNSMASQ_PORT}",
        "--listen-address=127.0.0.1", "--local=/#/", "--dns-forward-max=1000", *known,
    ]


class _Relay(asyncio.DatagramProtocol):
    """One datagram in, one out, `delay` seconds later; at most 4,096 questions in flight."""

    def __init__(self, target: int, delay: float) -> None:
        self.target, self.delay, self.waiting = target, delay, 0
        self.tasks: set[asyncio.Task] = set()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, client) -> None:
        if len(self.tasks) < 4096:
            task = asyncio.ensure_future(self.answer(data, client))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, data: bytes, client) -> None:
        loop = asyncio.get_running_loop()
        reply: asyncio.Future = loop.create_future()

        class Asker(asyncio.DatagramProtocol):
            def datagram_received(self, answer: bytes, _server) -> None:
                if not reply.done():
                    reply.set_result(answer)

        transport, _ = await loop.create_datagram_endpoint(
            Asker, remote_addr=("127.0.0.1", self.target)
        )
        try:
            transport.sendto(data)
            answer = await asyncio.wait_for(reply, 3)
            await asyncio.sleep(self.delay)
            self.transport.sendto(answer, client)
        except TimeoutError:
            pass
        finally:
            transport.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await asyncio.wait_for(reader.read(65536), 10):
            writer.write(data)
            await writer.drain()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


async def _serve(listen: str, target: int, delay: float) -> None:
    async def stream(reader, writer) -> None:
        await asyncio.sleep(delay)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))

    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Relay(target, delay), local_addr=(listen, 53))
    server = await asyncio.start_server(stream, listen, 53)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


def relay_arguments(listen: str, delay: float) -> list[str]:
    """The command line of the relay."""
    return [sys.executable, str(Path(__file__).resolve()), listen, str(DNSMASQ_PORT), str(delay)]


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
