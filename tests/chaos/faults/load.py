"""More input than a worker can take."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from streams.embedded.synthetic import FeedRecord
from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario

COPIES = 60
# The watchdog takes a worker with so little of the CPU for one that hangs, and rightly.
SETTINGS = {"KPI_LAG_ALERT_S": "10", "KPI_WATCHDOG_S": "600"}


@scenario(workers=("a",), feed_on_s=5.0, settings=SETTINGS, high=COPIES * 3.0)
def overload(arena: Arena) -> None:
    """Input beyond what the worker is given time for, for 5 minutes, and catching up."""
    _overload(arena, seconds=300)


@scenario(workers=("a",), feed_on_s=5.0, settings=SETTINGS, high=COPIES * 3.0, in_ci=True)
def overload_short(arena: Arena) -> None:
    """The same for 45 s."""
    _overload(arena, seconds=45)


def _overload(arena: Arena, *, seconds: float) -> None:
    """Let the worker run for 2.5 % of the time only, with many times the input."""
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
    """Return a record as a copy of it, by one of ten other users.

    By the same one, the busiest would click more often than a customer's log takes.
    """
    value = record.value.replace(b'"event_id": "', b'"event_id": "copy%d-' % number)
    user = b"%d-" % (number % 10)
    of_user = value.replace(b'"user_id": "', b'"user_id": "' + user)
    return record._replace(key=record.key if of_user == value else user + record.key, value=of_user)
