"""The embedded Valkey with a user of its own, behind TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading

from streams.embedded import processes
from streams.embedded.valkey import EmbeddedValkey

USER = "monitor"
PASSWORD = "s3cret-of-redis"


class UserValkey(EmbeddedValkey):
    """A Valkey that only lets the monitor's user in, to keys of its own only."""

    options = (
        *("--user", "default", "off"),
        *("--user", USER, "on", f">{PASSWORD}", "~*:live", "+get", "+set", "+client", "+hello"),
    )


class TlsProxy:
    """Ends TLS before a server that speaks none.

    Args:
        port: of the server on the loopback.
        context: with the proxy's certificate.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._target = port
        self._context = context
        self.port = processes.free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tls-proxy", daemon=True)

    def __enter__(self) -> TlsProxy:
        ready = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._listen(ready)))
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self, ready: threading.Event) -> None:
        await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        ready.set()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        server, request = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_copy(client, request), _copy(server, answer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
