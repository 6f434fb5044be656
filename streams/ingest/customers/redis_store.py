"""Stores the logs of customers in Redis, one log under the 64-bit hash of each user.

A log has three keys: a Redis hash of touches, which are many, a list of orders and refunds, and a
list of links to other ids, whose touches are in their own logs. Entries are numbered in order of
arrival. One call of a Lua script adds many entries and returns the logs of those that change what
is counted. A call concerns many customers, so Redis Cluster is not supported.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Iterable
from importlib import resources
from typing import Any

import redis.asyncio as redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from models.customers.journal_entry import ID_BYTES
from streams.ingest.customers.pending_checkpoint import (
    ChangedEntry,
    CustomersAwayError,
    Entries,
    Recorded,
)
from streams.redis_server import RedisServer, evicting_policy

MOST_TOUCHES = 1_000
"""Touches kept of a customer. More clicks than this are a bot or a test; the rest is dropped."""
MOST_ORDERS = 1_000
"""Orders and refunds kept of a customer. More are a test or a till; the rest is dropped."""
MOST_ENTRIES = 1_500
"""Entries kept of a customer's orders, repetitions and edits of orders included, and refunds."""
MOST_LINKS = 20
"""Links kept of a customer, and customers that are linked to one id. An id that more customers
share is that of a till or a kiosk; the rest is dropped."""
OUTAGE_S = 7 * 86_400
"""Touches are kept so many seconds beyond the lookback: orders may be read later than clicks."""
_ORDERS = b":orders"
"""The end of the key of a customer's orders and refunds."""

_PAIR = struct.Struct(">H")
_NUMBER = struct.Struct(">Q")
_NOT_KEPT = b"-"
_SCRIPT = (
    resources.files("streams.ingest.customers")
    .joinpath("redis_store.lua")
    .read_text(encoding="utf-8")
)
_END_REBUILD = """
if redis.call('HGET', KEYS[1], 'anew') ~= ARGV[1] then
  return redis.error_reply('ANEW by somebody else')
end
redis.call('HDEL', KEYS[1], 'anew')
for n = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[n], '1') end
"""


def mark_key(app_id: str) -> str:
    """Return the key of the Redis hash that marks the sources which have entries."""
    return f"{app_id}:customers"


def log_prefix(app_id: str) -> str:
    """Return the beginning of the keys of the customers' logs."""
    return f"{app_id}:customer:"


class CustomerStore:
    """Adds entries to the logs of customers, and rebuilds them.

    Args:
        server: the connection settings of Redis.
        app_id: prefix of all keys.
        lookback_ms: how long before an order a click counts as a touch, in ms.
        kept_s: a log to which nothing was added for so many seconds expires. A log without
            orders expires after the lookback and `OUTAGE_S`, if that is sooner.
        partitions: the number of partitions of the source topics.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        app_id: str,
        lookback_ms: int,
        kept_s: int,
        partitions: int,
    ) -> None:
        self._client: Any = redis.from_url(server.url, **server.client_options())
        self._script: Any = self._client.register_script(_SCRIPT)
        self._end_rebuild: Any = self._client.register_script(_END_REBUILD)
        self._mark = mark_key(app_id)
        self._prefix = log_prefix(app_id).encode()
        self._lookback_ms = lookback_ms
        self._kept_s = kept_s
        self._partitions = partitions
        self._keeps = False

    async def record(
        self, entries: Entries, *, source: str, known: bool, settled_ms: int
    ) -> Recorded:
        """Add entries and return those that change what is counted; see `Customers.record`."""
        await self._refuse_evicting()
        mode = "1" if known else ""
        refused, *answer = await self._call(
            entries, source=source, mode=mode, settled_ms=settled_ms
        )
        changed = [
            ChangedEntry(customer, entries[place][1], None if data == _NOT_KEPT else _log(data))
            for place, customer, data in zip(answer[::3], answer[1::3], answer[2::3], strict=True)
        ]
        return Recorded(changed, refused)

    async def restore(self, entries: Entries, *, source: str, token: str, settled_ms: int) -> None:
        """Add entries during a rebuild.

        Raises:
            CustomersAwayError: Redis does not answer, refuses, or another rebuild was started.
        """
        await self._call(entries, source=source, mode=token, settled_ms=settled_ms)

    async def _call(
        self, entries: Entries, *, source: str, mode: str, settled_ms: int
    ) -> list[Any]:
        """Call the script and return its answer, as `redis_store.lua` describes it."""
        touches_kept_s = min(self._kept_s, self._lookback_ms // 1000 + OUTAGE_S)
        arguments = [
            *(self._prefix, source, mode, self._kept_s, touches_kept_s, self._lookback_ms),
            *(settled_ms, MOST_TOUCHES, MOST_ORDERS, MOST_ENTRIES),
            *(len(entries), _pairs(entries), MOST_LINKS, self._partitions),
        ]
        answer: list[Any] = await _answer(self._script(keys=[self._mark], args=arguments))
        return answer

    async def _refuse_evicting(self) -> None:
        """Refuse a Redis that evicts keys when its memory is full; checked until it passes once.

        Raises:
            CustomersAwayError: Redis evicts keys, does not answer, or refuses.
        """
        if self._keeps:
            return
        memory = await _answer(self._client.info("memory"))
        if policy := evicting_policy(memory):
            raise CustomersAwayError(
                f"Redis throws keys away when it is full (maxmemory-policy {policy}); "
                "set it to noeviction"
            )
        self._keeps = True

    async def begin_rebuild(self, token: str) -> None:
        """Begin a rebuild: refuse all calls without this token until `end_rebuild`.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses.
        """
        await self._refuse_evicting()
        await _answer(self._client.hset(self._mark, "anew", token))

    async def forget_all(self) -> None:
        """Remove every log."""
        async for keys in self._all_keys():
            await _answer(self._client.unlink(*keys))

    async def end_rebuild(self, token: str, *, sources: Iterable[str]) -> None:
        """End a rebuild: open the logs to the workers, and mark the sources as present.

        Raises:
            CustomersAwayError: Redis does not answer, refuses, or another rebuild was started.
        """
        await _answer(self._end_rebuild(keys=[self._mark], args=[token, *sources]))

    async def count(self) -> int:
        """Return the number of customers that have a log.

        Raises:
            CustomersAwayError: Redis does not answer, or refuses.
        """
        width = len(self._prefix) + ID_BYTES
        found = 0
        async for keys in self._all_keys():
            touched = [key for key in keys if len(key) == width]
            ordered = [key[:width] for key in keys if key[width:] == _ORDERS]
            # A customer who has touches, too, is counted with their key.
            found += len(touched) + len(ordered)
            found -= await _answer(self._client.exists(*ordered)) if ordered else 0
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
        """Close the connection."""
        await self._client.aclose()


async def _answer(call: Awaitable[Any]) -> Any:
    """Await the answer of Redis.

    Raises:
        CustomersAwayError: Redis does not answer, refuses, or has lost the logs.
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
                "the customers are being rebuilt; if no rebuild runs, run "
                "kpi-monitor customers --rebuild"
            )
        else:
            # Only the kind of error: its text could contain values of customers.
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
    """Unpack a log and return its entries, up to the one that was added, in order of arrival."""
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
