"""A network between a worker and its broker that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from streams.embedded import processes
from streams.embedded.kafka import EmbeddedKafka


class Network:
    """Forwards connections; while it is cut, bytes wait and nothing is refused.

    That is what a lost link looks like to both ends: not a closed connection.
    """

    def __init__(self) -> None:
        self.port = processes.free_port()
        self.target = processes.free_port()
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to forward."""
        ready = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._listen(ready)))
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """Forward no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

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
        await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        ready.set()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            broker, request = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            answer.close()
            return
        await asyncio.gather(self._copy(client, request), self._copy(broker, answer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._whole.wait()
                target.write(data)
                await target.drain()
        target.close()


class NetworkedKafka(EmbeddedKafka):
    """A broker that can also be reached through a network that can be cut."""

    network: Network

    def properties(self, *, controller: int) -> str:
        """Return the configuration with one listener more."""
        network = self.network
        return (
            super()
            .properties(controller=controller)
            .replace("\nadvertised", f",NETWORK://127.0.0.1:{network.target}\nadvertised", 1)
            .replace(
                f"advertised.listeners=PLAINTEXT://{self.address}",
                f"advertised.listeners=PLAINTEXT://{self.address},NETWORK://{network.address}",
            )
            .replace(",PLAINTEXT:PLAINTEXT", ",PLAINTEXT:PLAINTEXT,NETWORK:PLAINTEXT")
            + "inter.broker.listener.name=PLAINTEXT\n"
        )
