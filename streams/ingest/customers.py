"""The logs of customers in Redis: one script call adds many entries and tells what they touch.

A log is under the 64-bit hash of the user: touches, which are many, in a hash, orders
and refunds in a list, all numbered in order of arrival.
Redis Cluster is not supported, since a call concerns many customers.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable
from importlib import resources
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError, ResponseError

from streams.ingest.cut import CustomersAwayError, Entries, Logs
from streams.redis_server import RedisServer

A_CALL = 1_000
"""Entries in one call: about 10 ms of Redis' time."""
MOST_TOUCHES = 1_000
"""A customer with more of them is no customer: further ones are not kept."""

CUSTOMER_BYTES = 8
"""How long the hash of a user is."""

_ANEW = b"anew"
_PAIR = struct.Struct(">H")
_NUMBER = struct.Struct(">I")
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
        await self._refuse_evicting()
        logs: Logs = []
        for first in range(0, len(entries), A_CALL):
            call = entries[first : first + A_CALL]
            answer = await self._call(call, mark=b"1" if known else b"", settled_ms=settled_ms)
            logs.extend(
                (customer, _log(data))
                for (customer, _), data in zip(call, answer, strict=True)
                if data
            )
            known = True
        return logs

    async def restore(self, entries: Entries) -> None:
        """Add entries while logs are made anew.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses.
        """
        for first in range(0, len(entries), A_CALL):
            await self._call(entries[first : first + A_CALL], mark=_ANEW, settled_ms=0)

    async def _call(self, entries: Entries, *, mark: bytes, settled_ms: int) -> list[bytes]:
        arguments = [
            *(self._prefix, mark, self._kept_s, self._lookback_ms),
            *(settled_ms, MOST_TOUCHES, b"".join(map(_pair, entries))),
        ]
        return await _answer(self._script(keys=[self._mark], args=arguments))  # type: ignore[no-any-return]

    async def _refuse_evicting(self) -> None:
        """Refuse a Redis that throws keys away when its memory is full: once for each connection.

        Raises:
            CustomersAwayError: it does.
        """
        if self._keeps:
            return
        memory = await _answer(self._client.info("memory"))
        policy = memory.get("maxmemory_policy", "noeviction")
        if int(memory.get("maxmemory", 0)) and policy != "noeviction":
            raise CustomersAwayError(
                f"Redis throws keys away when it is full (maxmemory-policy {policy}); "
                "set it to noeviction"
            )
        self._keeps = True

    async def begin_anew(self) -> None:
        """Let nobody use the logs until they are made anew.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses.
        """
        await _answer(self._client.set(self._mark, _ANEW))

    async def forget_all(self) -> None:
        """Remove every log."""
        async for keys in self._all_keys():
            await _answer(self._client.unlink(*keys))

    async def _all_keys(self) -> AsyncIterator[list[bytes]]:
        cursor, begun = 0, False
        while cursor or not begun:
            begun = True
            scan = self._client.scan(cursor, match=self._prefix + b"*", count=1_000)
            cursor, keys = await _answer(scan)
            if keys:
                yield keys

    async def end_anew(self) -> None:
        """Let the logs be used again."""
        await _answer(self._client.set(self._mark, b"1"))

    async def count(self) -> int:
        """Return how many customers are remembered.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses.
        """
        width = len(self._prefix) + CUSTOMER_BYTES
        return sum([sum(len(key) == width for key in keys) async for keys in self._all_keys()])

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


async def _answer(call: Awaitable[Any]) -> Any:
    """Return Redis' answer.

    Raises:
        CustomersAwayError: there is none, it refuses, or it lost the logs.
    """
    try:
        return await call
    except ResponseError as error:
        words = str(error).split()[:2]
        if "EMPTIED" in words:
            why = "Redis has lost the customers; run kpi-monitor customers --rebuild"
        elif "ANEW" in words:
            why = "the customers are being made anew"
        else:
            # Not more than the kind of error: it could hold values.
            why = f"Redis refuses: {' '.join(words)}"
        raise CustomersAwayError(why) from None
    except (RedisError, OSError) as error:
        raise CustomersAwayError(f"Redis does not answer: {type(error).__name__}") from None


def _pair(entry: tuple[bytes, bytes]) -> bytes:
    customer, data = entry
    return b"%b%b%b%b" % (_PAIR.pack(len(customer)), customer, _PAIR.pack(len(data)), data)


def _log(data: bytes) -> list[bytes]:
    """Return the entries up to that in question, in order of arrival."""
    (upto,) = _NUMBER.unpack_from(data)
    numbered: list[tuple[int, bytes]] = []
    at = _NUMBER.size
    while at < len(data):
        (length,) = _PAIR.unpack_from(data, at)
        start = at + _PAIR.size
        at = start + length
        (number,) = _NUMBER.unpack_from(data, start)
        if number <= upto:
            numbered.append((number, data[start + _NUMBER.size : at]))
    numbered.sort()
    return [entry for _, entry in numbered]
