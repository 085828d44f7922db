"""A registry farther away: ``python -m tests.bench.delay TARGET_PORT SECONDS``.

Hands every byte on, half a round trip later, in both directions; a new connection costs one round
trip more, as its handshake does. Prints the port that it listens on. Requests that are under way at
once are delayed at once: what it shows is how many wait for one another.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Iterator

_PIECE = 256 * 1024
_PIECES = 256  # under way in one direction; a window so wide that latency is all that is felt


@contextlib.contextmanager
def delayed(host: str, seconds: float) -> Iterator[str]:
    """The same registry, so many seconds of a round trip away: ``127.0.0.1:port``."""
    port = host.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.bench.delay", port, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def _serve(port: int, seconds: float) -> None:
    async def accept(reader: StreamReader, writer: StreamWriter) -> None:
        await _joined(reader, writer, port, seconds)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=512, limit=_PIECE)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


async def _joined(reader: StreamReader, writer: StreamWriter, port: int, seconds: float) -> None:
    """One connection, from its handshake to the end of both directions."""
    opened = asyncio.get_running_loop().time() + seconds
    behind, to = await asyncio.open_connection("127.0.0.1", port, limit=_PIECE)
    await asyncio.gather(
        _pipe(reader, to, seconds / 2, opened), _pipe(behind, writer, seconds / 2, opened)
    )
    for one in (to, writer):
        one.close()


async def _pipe(reader: StreamReader, writer: StreamWriter, late: float, opened: float) -> None:
    pieces: Queue[tuple[float, bytes]] = Queue(_PIECES)
    await asyncio.gather(_taken(reader, pieces, late, opened), _given(pieces, writer))


async def _taken(
    reader: StreamReader, pieces: Queue[tuple[float, bytes]], late: float, opened: float
) -> None:
    now = asyncio.get_running_loop().time
    piece = b"?"
    while piece:
        try:
            piece = await reader.read(_PIECE)
        except OSError:
            piece = b""
        # Nothing can be sent before the handshake: what came at once waited for it.
        await pieces.put((max(now(), opened) + late, piece))


async def _given(pieces: Queue[tuple[float, bytes]], writer: StreamWriter) -> None:
    now = asyncio.get_running_loop().time
    while True:
        due, piece = await pieces.get()
        await asyncio.sleep(max(due - now(), 0.0))
        with contextlib.suppress(OSError):
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
