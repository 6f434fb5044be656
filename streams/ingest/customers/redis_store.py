"""The logs of customers in Redis: one script call adds many entries and tells what they touch.

A log is under the 64-bit hash of the user: touches, which are many, in a hash, orders
and refunds in a list, all numbered in order of arrival. Redis Cluster is not
supported, since a call concerns many customers.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Iterable
from importlib import resources
from typing import Any

import redis.asyncio as redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from streams.ingest.customers.pending_checkpoint import ChangedEntry, CustomersAwayError, Entries
from streams.redis_server import RedisServer

MOST_TOUCHES = 1_000
"""A customer with more of them is no customer: further ones are not kept."""
MOST_ORDERS = 1_000
"""A customer with more orders and refunds is a test or a till: further ones are not kept."""
OUTAGE_S = 7 * 86_400
"""Touches outlive the lookback by so much: orders may be read that much later than clicks."""
CUSTOMER_BYTES = 8
"""How long the hash of a user is."""

_PAIR = struct.Struct(">H")
_NUMBER = struct.Struct(">Q")
_NOT_KEPT = b"-"
_SCRIPT = (
    resources.files("streams.ingest.customers")
    .joinpath("redis_store.lua")
    .read_text(encoding="utf-8")
)
_END_ANEW = """
if redis.call('HGET', KEYS[1], 'anew') ~= ARGV[1] then
  return redis.error_reply('ANEW by somebody else')
end
redis.call('HDEL', KEYS[1], 'anew')
for n = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[n], '1') end
"""


def mark_key(app_id: str) -> str:
    """Return the key that says which sources have entries here."""
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
        self._end_anew: Any = self._client.register_script(_END_ANEW)
        self._mark = mark_key(app_id)
        self._prefix = f"{app_id}:customer:".encode()
        self._lookback_ms = lookback_ms
        self._kept_s = kept_s
        self._keeps = False

    async def record(
        self, entries: Entries, *, source: str, known: bool, settled_ms: int
    ) -> list[ChangedEntry]:
        """Add entries and return what an order depends on."""
        await self._refuse_evicting()
        mode = "1" if known else ""
        answer = await self._call(entries, source=source, mode=mode, settled_ms=settled_ms)
        return [
            ChangedEntry(*entries[place], None if data == _NOT_KEPT else _log(data))
            for place, data in answer
        ]

    async def restore(self, entries: Entries, *, source: str, token: str, settled_ms: int) -> None:
        """Add entries while logs are made anew.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses, or somebody else began.
        """
        await self._call(entries, source=source, mode=token, settled_ms=settled_ms)

    async def _call(
        self, entries: Entries, *, source: str, mode: str, settled_ms: int
    ) -> list[tuple[int, bytes]]:
        """Return the places of the entries that change anything, and what is said of each."""
        touches_kept_s = min(self._kept_s, self._lookback_ms // 1000 + OUTAGE_S)
        arguments = [
            *(self._prefix, source, mode, self._kept_s, touches_kept_s, self._lookback_ms),
            *(settled_ms, MOST_TOUCHES, MOST_ORDERS, len(entries), _pairs(entries)),
        ]
        answer = await _answer(self._script(keys=[self._mark], args=arguments))
        return list(zip(answer[::2], answer[1::2], strict=True))

    async def _refuse_evicting(self) -> None:
        """Refuse a Redis that throws keys away when its memory is full; asked once.

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

    async def begin_anew(self, token: str) -> None:
        """Let nobody but the holder of the token use the logs until they are made anew.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses.
        """
        await self._refuse_evicting()
        await _answer(self._client.hset(self._mark, "anew", token))

    async def forget_all(self) -> None:
        """Remove every log."""
        async for keys in self._all_keys():
            await _answer(self._client.unlink(*keys))

    async def end_anew(self, token: str, *, sources: Iterable[str]) -> None:
        """Let the logs be used again, by sources that all have their entries there.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses, or somebody else began.
        """
        await _answer(self._end_anew(keys=[self._mark], args=[token, *sources]))

    async def count(self) -> int:
        """Return how many customers are remembered.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses.
        """
        width = len(self._prefix) + CUSTOMER_BYTES
        found = 0
        async for keys in self._all_keys():
            touched = {key for key in keys if len(key) == width}
            others = [key[:width] for key in keys if len(key) > width]
            # Who has touches as well is counted where these are.
            found += len(touched) + len(others)
            found -= await _answer(self._client.exists(*others)) if others else 0
        return found

    async def _all_keys(self) -> AsyncIterator[list[bytes]]:
        cursor, begun = 0, False
        while cursor or not begun:
            begun = True
            scan = self._client.scan(cursor, match=self._prefix + b"*", count=1_000)
            cursor, keys = await _answer(scan)
            if keys:
                yield keys

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
    except OutOfMemoryError:
        raise CustomersAwayError("Redis is full: raise its maxmemory") from None
    except ResponseError as error:
        word = str(error).split(" ")[0]
        if word == "EMPTIED":
            why = "Redis has lost the customers; run kpi-monitor customers --rebuild"
        elif word == "ANEW":
            why = (
                "the customers are being made anew; if nobody does, run "
                "kpi-monitor customers --rebuild"
            )
        else:
            # The kind of error and no more: it could hold values.
            why = f"Redis refuses: {type(error).__name__} {word if word.isupper() else ''}".rstrip()
        raise CustomersAwayError(why) from None
    except (RedisError, OSError) as error:
        raise CustomersAwayError(f"Redis does not answer: {type(error).__name__}") from None


def _pairs(entries: Entries) -> bytes:
    parts: list[bytes] = []
    for customer, data in entries:
        parts += (_PAIR.pack(len(customer)), customer, _PAIR.pack(len(data)), data)
    return b"".join(parts)


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
