"""A loopback port that forwards to another: it can be cut, and can terminate TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading

from streams.embedded import processes


class Forwarder:
    """Forwards connections from a free port to the target port.

    While it is cut, bytes wait and no connection is refused or closed. Both ends see a lost link.

    Args:
        target: port to forward to.
        context: terminates TLS here, for a target that has none; None forwards bytes as they are.
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
        """Address for clients, host:port."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Stop forwarding; bytes and new connections wait."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Forward again, first the bytes that waited."""
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
