"""Overload: more input than the worker has CPU time for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from streams.operations.synthetic import FeedRecord
from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario

COPIES = 60
# A long watchdog limit: a worker with so little CPU time looks as if it hung.
SETTINGS = {"KPI_LAG_ALERT_S": "10", "KPI_WATCHDOG_S": "600"}


@scenario(workers=("a",), feed_on_s=5.0, settings=SETTINGS, high=COPIES * 3.0)
def overload(arena: Arena) -> None:
    """More input than the worker has CPU time for, for 5 minutes; then it catches up."""
    _overload(arena, seconds=300)


@scenario(workers=("a",), feed_on_s=5.0, settings=SETTINGS, high=COPIES * 3.0, in_ci=True)
def overload_short(arena: Arena) -> None:
    """More input than the worker has CPU time for, for 45 s; then it catches up."""
    _overload(arena, seconds=45)


def _overload(arena: Arena, *, seconds: float) -> None:
    """Let the worker run for 2.5 % of the time only, and send `COPIES` copies of each record."""
    pid = arena.worker("a").child.pid
    before_mb = arena.observer.peak_rss_mb
    more = 0

    def multiply(record: FeedRecord) -> Iterator[FeedRecord]:
        nonlocal more
        yield record
        for number in range(COPIES):
            more += 1
            yield _copy(record, number)

    with arena.fault():
        arena.feeder.change = multiply
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(1.17)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.03)
        arena.feeder.change = lambda record: (record,)
    arena.until_current(timeout_s=150)
    arena.expect_health_alert("data-lagging")
    grown_mb = arena.observer.peak_rss_mb - before_mb
    arena.outcome.notes.append(f"{more} more records, memory +{grown_mb:.0f} MiB")


def _copy(record: FeedRecord, number: int) -> FeedRecord:
    """Return a copy of a record with a new event id, of one of ten other users.

    With the same user, the busiest would have more clicks than a customer's log keeps.
    """
    value = record.value.replace(b'"event_id": "', b'"event_id": "copy%d-' % number)
    user = b"%d-" % (number % 10)
    of_user = value.replace(b'"user_id": "', b'"user_id": "' + user)
    return record._replace(key=record.key if of_user == value else user + record.key, value=of_user)
