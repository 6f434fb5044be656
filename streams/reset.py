"""Removes the state of a deployment, so that its next worker starts as the first one did."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import redis
from kafka.errors import GroupIdNotFoundError, KafkaError
from redis.exceptions import RedisError

from streams.assembly import topics as monitor_topics
from streams.assembly.engine import local_state
from streams.engine import topics
from streams.engine.group_members import Member, members
from streams.errors import RedisUnreachableError, StateError, WorkersRunError
from streams.export.page.redis_share import live_key
from streams.ingest.customers.redis_store import log_prefix, mark_key
from streams.redis_server import RedisServer, probe
from streams.settings import Settings

MARGIN_S = 5.0
"""Seconds beyond the session timeout in which the broker removes a worker that has ended."""
KEYS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The topics, folders and keys that a reset removes.

    Attributes:
        removed: own topics, which are removed and created again, empty.
        emptied: source topics of which all records are removed, with their partitions.
        files: files and folders of local state.
        keys: number of keys in Redis; None without Redis.
    """

    removed: list[str]
    emptied: dict[str, int]
    files: list[Path]
    keys: int | None


def refuse_running(settings: Settings, *, waiting: Callable[[list[Member]], None]) -> None:
    """Refuse while a worker of this app id runs.

    A worker that has ended is a member of its group for the session timeout, and the broker does
    not know whether it runs. So this waits for that time.

    Args:
        settings: the settings of the workers.
        waiting: called once with the members if they may have ended.

    Raises:
        BrokerUnreachableError: no broker answers.
        WorkersRunError: a worker runs.
        StateError: the broker refuses to describe the group.
    """
    deadline = time.monotonic() + settings.session_timeout_s + MARGIN_S
    with topics.admin(settings.broker) as client:
        first = True
        while True:
            try:
                present = members(client, settings.app_id)
            except KafkaError as error:
                raise StateError(
                    f"the group {settings.app_id} can't be described ({type(error).__name__}), so "
                    "it is not known whether a worker runs; allow this user to describe it"
                ) from None
            if not present:
                return
            if time.monotonic() > deadline:
                break
            if first:
                waiting(present)
            first = False
            time.sleep(0.5)
    named = ", ".join(map(str, present))
    raise WorkersRunError(f"stop the workers of {settings.app_id} first: {named}")


def plan(settings: Settings, *, sources: bool) -> Plan:
    """Return what a reset would remove, without removing anything.

    Args:
        settings: the settings of the workers.
        sources: whether the source topics are emptied, too.

    Raises:
        BrokerUnreachableError: no broker answers.
        RedisUnreachableError: Redis does not answer, or refuses.
    """
    found = {
        state.spec.name: state.partitions
        for state in monitor_topics.states(settings)
        if state.partitions is not None
    }
    given = settings.source_topics
    server = settings.redis_server
    return Plan(
        removed=[name for name in found if name not in given],
        emptied={name: count for name, count in found.items() if sources and name in given},
        files=local_state(settings.data_dir),
        keys=None if server is None else _count_keys(server, settings),
    )


def carry_out(settings: Settings, chosen: Plan) -> None:
    """Remove what the plan names, and create the monitor's own topics again.

    The state in Kafka goes last, and then the group: workers that start after an interrupted
    reset see that something is missing. A second reset removes the rest.

    Raises:
        BrokerUnreachableError: no broker answers.
        RedisUnreachableError: Redis does not answer, or refuses.
        StateError: a file can't be removed.
        TopicError: a topic can't be emptied, removed or created.
    """
    if chosen.emptied:
        topics.empty(settings.broker, chosen.emptied)
    server = settings.redis_server
    if server is not None:
        _remove_keys(server, settings)
    for path in chosen.files:
        _remove(path)
    if chosen.removed:
        topics.remove(settings.broker, chosen.removed)
    topics.ensure(
        settings.broker,
        monitor_topics.own(settings),
        replication_factor=settings.replication_factor,
    )
    _remove_group(settings)


def _remove_group(settings: Settings) -> None:
    with topics.admin(settings.broker) as client:
        try:
            answer = client.delete_groups([settings.app_id])[settings.app_id]
        except KafkaError as error:
            answer = type(error).__name__
    if answer not in {"OK", GroupIdNotFoundError.__name__}:
        raise StateError(
            f"the group {settings.app_id} can't be removed ({answer}); allow this user to delete "
            "it, and run this again"
        )


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(
            f"{path} can't be removed ({error.strerror}); remove it by hand, and run this again"
        ) from None


def _count_keys(server: RedisServer, settings: Settings) -> int:
    probe(server, key=live_key(settings.app_id), memory=False)
    try:
        with redis.Redis.from_url(server.url, **server.client_options()) as client:
            single = client.exists(*_single_keys(settings.app_id))
            return int(single) + sum(1 for _ in _log_keys(client, settings.app_id))
    except (RedisError, OSError) as error:
        raise _refused(server, error) from None


def _remove_keys(server: RedisServer, settings: Settings) -> None:
    try:
        with redis.Redis.from_url(server.url, **server.client_options()) as client:
            # The mark goes first: workers refuse logs that are incomplete without it.
            client.unlink(*_single_keys(settings.app_id))
            logs = _log_keys(client, settings.app_id)
            while keys := list(islice(logs, KEYS_AT_ONCE)):
                client.unlink(*keys)
    except (RedisError, OSError) as error:
        raise _refused(server, error) from None


def _single_keys(app_id: str) -> tuple[str, str]:
    return mark_key(app_id), live_key(app_id)


def _log_keys(client: redis.Redis, app_id: str) -> Iterator[bytes]:
    """Yield the keys of the customers' logs; Redis may give some more than once."""
    yield from client.scan_iter(match=f"{log_prefix(app_id)}*", count=KEYS_AT_ONCE)


def _refused(server: RedisServer, error: Exception) -> RedisUnreachableError:
    return RedisUnreachableError(
        f"the keys in Redis at {server.address} can't be removed ({type(error).__name__}); allow "
        "this user SCAN and UNLINK, and run this again"
    )
