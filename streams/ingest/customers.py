"""The logs of customers in Redis: one script call adds many entries and tells what they touch.

A log is a list of entries in order of arrival, under the 64-bit hash of the user.
Redis Cluster is not supported, since a call concerns many customers.
"""

from __future__ import annotations

import struct
from importlib import resources
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError, ResponseError

from streams.ingest.cut import CustomersAwayError, Entries, Logs
from streams.redis_server import RedisServer

A_CALL = 1_000
"""Entries in one call: about 10 ms of Redis' time."""
MOST_ENTRIES = 2_000
"""A customer with more of them is no customer: further touches are not kept."""

_PAIR = struct.Struct(">H")
_SCRIPT = resources.files("streams.ingest").joinpath("customers.lua").read_text(encoding="utf-8")


def mark_key(app_id: str) -> str:
    """Return the key that says that logs are kept here."""
    return f"{app_id}:customers"


class CustomerStore:
    """Adds entries to logs.

    Args:
        server: how Redis is reached.
        app_id: prefix of all keys.
        lookback_ms: for how long before an order a touch counts.
        kept_s: a customer of whom nothing is heard for so long is forgotten.
    """

    def __init__(self, server: RedisServer, *, app_id: str, lookback_ms: int, kept_s: int) -> None:
        self._client: Any = redis.from_url(server.url, **server.client_options())
        self._script: Any = self._client.register_script(_SCRIPT)
        self._mark = mark_key(app_id)
        self._prefix = f"{app_id}:customer:".encode()
        self._lookback_ms = lookback_ms
        self._kept_s = kept_s
        self._keeps = False

    async def note(self, entries: Entries, *, known: bool, settled_ms: int) -> Logs:
        """Add entries and return the logs of those that an order depends on, up to them."""
        try:
            await self._refuse_evicting()
            logs: Logs = []
            for first in range(0, len(entries), A_CALL):
                call = entries[first : first + A_CALL]
                arguments = [
                    *(self._prefix, b"1" if known else b"", self._kept_s, self._lookback_ms),
                    *(settled_ms, MOST_ENTRIES, b"".join(map(_pair, call))),
                ]
                answer = await self._script(keys=[self._mark], args=arguments)
                logs.extend(
                    (customer, _log(data))
                    for (customer, _), data in zip(call, answer, strict=True)
                    if data
                )
                known = True
        except ResponseError as error:
            if "EMPTIED" in str(error):
                raise CustomersAwayError(
                    "Redis has lost the customers; run kpi-monitor customers --rebuild"
                ) from None
            raise CustomersAwayError(f"Redis refuses: {_first_words(error)}") from None
        except (RedisError, OSError) as error:
            raise CustomersAwayError(f"Redis does not answer: {type(error).__name__}") from None
        return logs

    async def _refuse_evicting(self) -> None:
        """Refuse a Redis that throws keys away when its memory is full: once for each connection.

        Raises:
            CustomersAwayError: it does.
        """
        if self._keeps:
            return
        memory = await self._client.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        if int(memory.get("maxmemory", 0)) and policy != "noeviction":
            raise CustomersAwayError(
                f"Redis throws keys away when it is full (maxmemory-policy {policy}); "
                "set it to noeviction"
            )
        self._keeps = True

    async def forget(self) -> None:
        """Remove the mark and every log, for them to be made anew."""
        await self._client.delete(self._mark)
        async for key in self._client.scan_iter(match=self._prefix + b"*", count=1_000):
            await self._client.unlink(key)

    async def unmark(self) -> None:
        """Remove the mark: the logs are not whole yet, and nobody may use them."""
        await self._client.delete(self._mark)

    async def count(self) -> int:
        """Return how many customers are remembered."""
        count = 0
        async for _ in self._client.scan_iter(match=self._prefix + b"*", count=1_000):
            count += 1
        return count

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


def _pair(entry: tuple[bytes, bytes]) -> bytes:
    customer, data = entry
    return b"%b%b%b%b" % (_PAIR.pack(len(customer)), customer, _PAIR.pack(len(data)), data)


def _log(data: bytes) -> list[bytes]:
    entries, at = [], 0
    while at < len(data):
        (length,) = _PAIR.unpack_from(data, at)
        at += _PAIR.size + length
        entries.append(data[at - length : at])
    return entries


def _first_words(error: Exception) -> str:
    """Return what kind of error Redis tells of, without any of the values."""
    return " ".join(str(error).split()[:2])
