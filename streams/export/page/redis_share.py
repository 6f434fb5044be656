"""Shares the live view through Redis, so that every worker can show that of the KPIs' owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError

from streams.redis_server import RedisServer

log = logging.getLogger(__name__)

EXPIRES_S = 10
EVERY_S = 1.0


def live_key(app_id: str) -> str:
    """Return the key of the live view."""
    return f"{app_id}:live"


class LiveShare:
    """Writes the live view if this worker owns the KPIs, and reads the owner's otherwise.

    ``others`` is the owner's view; None on the owner, without an owner, and while Redis can't be
    reached: the worker then shows its own view.
    """

    def __init__(self, server: RedisServer, *, app_id: str) -> None:
        self._client: Any = redis.from_url(server.url, **server.client_options())
        self._key = live_key(app_id)
        self._failing = False
        self.others: dict[str, Any] | None = None

    async def run(self, own: Callable[[], dict[str, Any]]) -> None:
        """Write or read the view once a second, until cancelled.

        Args:
            own: returns this worker's view.
        """
        while True:
            try:
                await self._exchange(own())
                self._failing = False
            except Exception as error:
                self.others = None
                if not self._failing:
                    away = isinstance(error, RedisError | OSError)
                    log.warning(
                        "the live view is not shared: %s",
                        type(error).__name__,
                        exc_info=None if away else error,
                    )
                self._failing = True
            await asyncio.sleep(EVERY_S)

    async def _exchange(self, picture: dict[str, Any]) -> None:
        if picture["owner"]:
            self.others = None
            await self._client.set(self._key, msgspec.json.encode(picture), ex=EXPIRES_S)
        else:
            data = await self._client.get(self._key)
            self.others = msgspec.json.decode(data) if data else None
