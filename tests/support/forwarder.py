"""A loopback port that forwards to another: with TLS before it, or as a link that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading

from streams.embedded import processes


class Forwarder:
    """Forwards connections from a free port to the target port.

    While it is cut, bytes wait and nothing is refused: that is what a lost link
    looks like to both ends, not a closed connection.

    Args:
        target: the port behind it.
        context: ends TLS here, before a server that speaks none.
    """

    def __init__(self, target: int, *, context: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.port = processes.free_port()
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def __enter__(self) -> Forwarder:
        ready = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._listen(ready)))
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Let nothing through."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Let through what waits, and what comes."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self, ready: threading.Event) -> None:
        await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        ready.set()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            server, request = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            answer.close()
            return
        await asyncio.gather(self._copy(client, request), self._copy(server, answer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._whole.wait()
                target.write(data)
                await target.drain()
        target.close()
