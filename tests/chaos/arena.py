"""The deployment of a scenario: a broker, a Valkey, workers, a feed and an observer.

At the end everything that the workers published is compared with the truth: counts, dead letters,
every closed window and the alerts.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.partitioner import murmur2
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from models.kpi import measures
from models.kpi.catalogue import CATALOGUE
from streams.embedded import processes
from streams.embedded.valkey import EmbeddedValkey
from streams.errors import EmbeddedError
from streams.kpis.calculation.kpi_calculator import since_of
from streams.operations.synthetic import Oddities
from tests.chaos import truth
from tests.chaos.feeder import Feeder
from tests.chaos.network import NetworkedKafka
from tests.chaos.observer import Observer
from tests.support import oracle
from tests.support.attribution_sql import Customers
from tests.support.cluster import Cluster, Worker
from tests.support.compare import (
    PUBLISHED_S,
    differences,
    holding,
    published_once_closed,
    without_moved,
)
from tests.support.forwarder import Forwarder

PARTITIONS = 4
DRAIN_S = 150.0
WAITS_AT_MOST = 4
"""Limit of a wait that makes progress, as a multiple of its timeout."""

RULES = """\
# None of these is broken by the campaign that the feeder sends: what fires is a false alert.
rules:
  - {name: clicks-absent, kind: absence, kpi: clicks, scope: campaign,
     match: {campaign: [618-main, 618-beauty]}, window: 1m, severity: critical}
  - {name: clicks-low, kind: threshold, kpi: clicks, window: 1m, below: LOW, severity: critical}
  - {name: clicks-high, kind: threshold, kpi: clicks, window: 1m, above: HIGH, severity: critical}
  - {name: conversion-low, kind: threshold, kpi: conversion_rate, window: 1m, below: 0.01,
     min_n: 50, severity: critical}
  - {name: orders-gone, kind: threshold, kpi: orders, window: 1m, below: 2, severity: critical}
"""


class NotPlayableError(Exception):
    """Raised if a scenario can't be played on this machine; the message gives the reason."""


@dataclass
class Outcome:
    """The outcome of a scenario; times in seconds, memory in MiB.

    ``blind_s`` is the longest time without a newer frontier, ``recovered_s`` the time from the end
    of the fault to normal work (None if never), ``restarts`` counts workers that ended by
    themselves, ``not_played`` is a reason if the scenario could not be played.
    """

    scenario: str
    sent: int = 0
    counted: int = 0
    lost: int = 0
    duplicated: int = 0
    dead_letters: int = 0
    windows: int = 0
    windows_wrong: int = 0
    windows_incomplete: int = 0
    false_alerts: int = 0
    blind_s: float = 0.0
    recovered_s: float | None = None
    peak_rss_mb: float = 0.0
    health_alerts: list[str] = field(default_factory=list)
    restarts: int = 0
    not_played: str = ""
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def green(self) -> bool:
        """Whether every promise was kept."""
        return not self.failures


@dataclass
class Arena:
    """The deployment of one scenario. Workers that end by themselves are started again.

    Args:
        folder: of data and logs.
        rate: clicks a second of the feed.
        high: the rule ``clicks-high`` fires above this multiple of the usual clicks.
        seed: of the feed.
        oddities: shares of late, repeated and broken records; None for the defaults.
        settings: environment variables of all workers.
    """

    folder: Path
    rate: float = 40.0
    high: float = 2.0
    seed: int = 11
    oddities: Oddities | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = Forwarder(processes.free_port())
        self.kafka = NetworkedKafka(self.folder / "kafka")
        self.kafka.network = self.network
        self.valkey = EmbeddedValkey(self.folder / "valkey", keeps=True)
        self._stack = contextlib.ExitStack()
        self.older_measures = measures.VERSION
        self.older_until_ms = 0
        self.outcome = Outcome("")
        self.refused = False
        self.began_s = time.monotonic()
        self.fault_began_s: float | None = None
        self.fault_ended_s: float | None = None
        self._supervised: dict[str, Worker] = {}
        self._left: dict[str, Worker] = {}
        self._starts: dict[str, Callable[[], Worker]] = {}
        self._lock = threading.RLock()
        self.may_fire: set[str] = set()
        """The rules whose alerts the scenario checks itself."""
        self._closing = threading.Event()
        self._records: dict[tuple[str, int], dict[int, bytes]] = {}
        self._lost: dict[tuple[str, int], dict[int, bytes]] = {}

    def __enter__(self) -> Arena:
        self._stack.enter_context(self.network)
        self.valkey.start()
        self.kafka.start()
        rules = self.folder / "rules.yaml"
        clicks = 60 * self.rate
        rules.write_text(
            RULES.replace("LOW", str(clicks * 0.45)).replace("HIGH", str(clicks * self.high))
        )
        self.cluster = Cluster(
            self.kafka.address,
            self.folder,
            {
                "KPI_IDLE_AFTER_S": "5",
                "KPI_PARTITIONS": str(PARTITIONS),
                "KPI_REDIS": self.valkey.url,
                "KPI_RULES_FILE": str(rules),
                "KPI_PUBLISH_VALUES": "true",
                "KPI_TEST_CLOCK": str(self.folder / "clock"),
                **self.settings,
            },
        )
        self.cluster.command("topics", "--create")
        self.topics = tuple(self.cluster.topic(kind) for kind in ("clicks", "orders", "campaigns"))
        self.feeder = self._new_feeder(self.seed)
        self.observer = Observer(self.cluster.owner, self._pids)
        self.observer.start()
        threading.Thread(target=self._supervise, name="supervisor", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.observer.stop()
        for worker in self.cluster.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.child.process.send_signal(signal.SIGCONT)
            worker.child.kill()
        for service in (self.kafka, self.valkey):
            if service.child is not None:
                service.child.process.send_signal(signal.SIGCONT)
            service.stop()
        self._stack.close()

    def _new_feeder(self, seed: int) -> Feeder:
        clicks, orders, campaigns = self.topics
        return Feeder(
            self.cluster.broker,
            topics=(clicks, orders, campaigns),
            registry=self.cluster.topic("registry"),
            seed=seed,
            rate=self.rate,
            oddities=self.oddities,
            own_metrics="KPI_KPIS_FILE" in self.settings,
        )

    @property
    def _customers(self) -> Customers | None:
        """The attribution settings of the workers; None without customers."""
        return None if self.settings.get("KPI_CUSTOMERS") == "false" else Customers()

    # Workers

    def start(self, *names: str, module: str = "streams", **settings: str) -> None:
        """Start workers; the supervisor starts them again whenever they end by themselves.

        Args:
            names: of the workers, which are also their instance ids.
            module: the Python module that they run.
            settings: further environment variables.
        """
        for name in names:

            def again(name: str = name) -> Worker:
                return self.cluster.start(name, module=module, **settings)

            with self._lock:
                self._starts[name] = again
                self._supervised[name] = again()

    def worker(self, name: str) -> Worker:
        """Return the worker of that name."""
        with self._lock:
            return self._supervised[name]

    def take(self, *names: str) -> list[Worker]:
        """Stop supervising workers and return them: they are not started again."""
        with self._lock:
            return [self._supervised.pop(name) for name in names]

    def kill(self, *names: str) -> None:
        """End workers at once (SIGKILL); they are not started again."""
        for worker in self.take(*names):
            worker.child.kill()

    def stop(self, *names: str) -> None:
        """Ask workers to end (SIGTERM) and check that they do; they are not started again."""
        gone = self.take(*names)
        for worker in gone:
            worker.child.process.terminate()
        for worker in gone:
            assert worker.child.process.wait(30) == 0, worker.child.log_tail(20)

    def again(self, *names: str) -> None:
        """Start ended workers again, with the settings of their last `start`."""
        for name in names:
            with self._lock:
                self._supervised[name] = self._starts[name]()

    def adopt(self, name: str, worker: Worker) -> None:
        """Supervise a worker that was started outside `start`."""
        with self._lock:
            self._supervised[name] = worker

    def leave(self, name: str) -> None:
        """Stop supervising a worker; `alive` tells when it has ended."""
        with self._lock:
            self._left[name] = self._supervised.pop(name)

    def alive(self, name: str) -> bool:
        """Return whether a worker that was given to `leave` still runs."""
        return self._left[name].child.alive

    def set_clock(self, offset_s: float) -> None:
        """Set by how many seconds the clock of `tests.support.stepped_clock` workers is ahead."""
        (self.folder / "clock").write_text(str(offset_s))

    def running_from(self, name: str) -> str:
        """Return PYTHONPATH=... of a worker's environment; empty if it is not set."""
        environ = Path(f"/proc/{self.worker(name).child.pid}/environ").read_bytes().split(b"\0")
        return next((one.decode() for one in environ if one.startswith(b"PYTHONPATH=")), "")

    def forget_disk(self, name: str) -> None:
        """Remove a worker's local table store."""
        shutil.rmtree(self.data_dir(name))

    def data_dir(self, name: str) -> Path:
        """Return the folder of a worker's local table store."""
        return self.folder / f"data-{name}"

    def log(self, name: str) -> str:
        """Return a worker's log to date."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _supervise(self) -> None:
        while not self._closing.wait(0.5):
            with self._lock:
                for name, worker in list(self._supervised.items()):
                    if not worker.child.alive:
                        self.outcome.restarts += 1
                        self._supervised[name] = self._starts[name]()

    def _pids(self) -> list[int]:
        with self._lock:
            return [worker.child.pid for worker in self._supervised.values()]

    # The course of a scenario

    def until_current(self, *, timeout_s: float = 90.0) -> None:
        """Wait until work is normal: the frontier is close to the clock, and the lag is small."""
        since_s = time.monotonic()
        self.wait(
            lambda: self.observer.recovered_after_s(since_s=since_s) is not None,
            timeout_s=timeout_s,
            why="the monitor is current",
        )

    def wait(self, reached: Callable[[], object], *, timeout_s: float, why: str) -> None:
        """Wait for a condition, as long as the monitor makes progress.

        The limit is on the time without progress, because a worker on a busy machine is slow but
        not wrong. In all, a wait takes at most `WAITS_AT_MOST` times ``timeout_s``.

        Args:
            reached: returns whether the condition holds.
            timeout_s: longest time without progress, seconds.
            why: the condition in words, for the error.

        Raises:
            AssertionError: the condition did not come to hold; with the ends of the logs.
        """
        latest_s = time.monotonic() + WAITS_AT_MOST * timeout_s
        deadline_s = time.monotonic() + timeout_s
        seen = self._progress()
        while time.monotonic() < min(deadline_s, latest_s):
            if reached():
                return
            time.sleep(0.2)
            if (now := self._progress()) != seen:
                seen, deadline_s = now, time.monotonic() + timeout_s
        logs = "\n".join(worker.child.log_tail(6) for worker in self.cluster.workers[-4:])
        health = self.observer.latest.get("health")
        in_all = time.monotonic() >= latest_s
        what = (
            f"not within {WAITS_AT_MOST * timeout_s:.0f} s, with progress until the end"
            if in_all
            else f"no progress for {timeout_s:.0f} s"
        )
        raise AssertionError(f"{what}: {why}\nhealth: {health}\n{logs}")

    def _progress(self) -> object:
        """Return a value that changes while workers start, recover, read and close windows.

        The frontier is not part of it: in normal work it advances with the clock.
        """
        latest = self.observer.latest
        logged = sum(
            worker.child.log_file.stat().st_size
            for worker in self.cluster.workers
            if worker.child.log_file.exists()
        )
        waiting = (latest.get("progress") or {}).get("windows_waiting")
        lag_s = latest.get("health", {}).get("lag_seconds")
        behind = None if lag_s is None or lag_s < 1 else round(lag_s)
        return (self._seen("events"), waiting, behind, logged)

    @contextlib.contextmanager
    def fault(self) -> Iterator[None]:
        """Mark the beginning and the end of the fault: recovery is measured from its end."""
        self.fault_began_s = time.monotonic()
        yield
        self.fault_ended_s = time.monotonic()

    def said(self, name: str, text: str) -> None:
        """Check that a worker's log holds a text."""
        if text not in self.log(name):
            self.fail(f"worker {name} did not say {text!r}")

    def resumed_after(self, name: str, topic: str) -> dict[int, int]:
        """Return by partition the offset after which a worker last resumed, from its log."""
        told = re.findall(
            rf"{re.escape(topic)}\[(\d+)\] resumes after offset (-?\d+)", self.log(name)
        )
        return {int(partition): int(offset) for partition, offset in told}

    def fail(self, why: str) -> None:
        """Record that a promise was not kept."""
        self.outcome.failures.append(why)

    def expect_health_alert(self, rule: str) -> None:
        """Check that a data-health alert fired at some moment."""
        if rule not in self.observer.health_alerts:
            self.fail(f"the data-health alert {rule} did not fire")

    def users_of(self, partition: int) -> Callable[[bytes], bool]:
        """Return a function that tells whether the records of a key go to the partition."""
        return lambda key: (murmur2(key) & 0x7FFFFFFF) % PARTITIONS == partition

    # The broker

    @contextlib.contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Connect an admin client; close it when the block is left."""
        client = KafkaAdminClient(**self.cluster.broker.client_options())
        try:
            yield client
        finally:
            client.close()

    def kill_broker(self) -> None:
        """End the broker at once (SIGKILL)."""
        assert self.kafka.child is not None
        self.kafka.child.kill()

    def start_broker(self) -> None:
        """Start the broker again with what is on its disk."""
        try:
            self.kafka.start()
        except EmbeddedError:
            time.sleep(2.0)
            self.kafka.start()

    def collect(self) -> None:
        """Read all records that the source topics hold now, and keep their values by offset."""
        partitions = [
            TopicPartition(topic, number) for topic in self.topics for number in range(PARTITIONS)
        ]
        consumer = KafkaConsumer(
            **self.cluster.broker.client_options(),
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_max_bytes=32 << 20,
        )
        try:
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            while any(consumer.position(one) < end for one, end in ends.items()):
                for place, records in consumer.poll(timeout_ms=500).items():
                    kept = self._records.setdefault((place.topic, place.partition), {})
                    for record in records:
                        kept[record.offset] = record.value
        finally:
            consumer.close()

    def newest_sent_ms(self) -> int:
        """Return the newest event time of all records in the source topics, ms."""
        self.collect()
        values = (value for records in self._records.values() for value in records.values())
        return max(truth.times(values))

    def lose(self, topic: str, partition: int, *, first: int, end: int) -> int:
        """Record that the offsets [first, end) were removed unread; return the number of records.

        Windows that would hold one of them that came in time must be incomplete. A late record is
        not missed: it would have corrected a window that was closed, and complete, without it.
        """
        kept = self._records[topic, partition]
        missed = self._lost.setdefault((topic, partition), {})
        gone = {offset: kept[offset] for offset in range(first, end) if offset in kept}
        in_time = truth.in_time(value for _, value in sorted(kept.items()))
        for (offset, value), timely in zip(sorted(kept.items()), in_time, strict=True):
            if offset in gone and timely:
                missed[offset] = value
        for offset in gone:
            del kept[offset]
        return len(gone)

    # The end

    def finish(self, *, feed_on_s: float = 0.0) -> Outcome:
        """End the feed after ``feed_on_s`` seconds, and `compare`."""
        time.sleep(feed_on_s)
        self.feeder.stop()
        return self.compare()

    def compare(self, *, live: bool = True) -> Outcome:
        """Wait until all records are read, and compare everything with the truth.

        Args:
            live: whether the events are current, so that the workers must return to normal work.
        """
        self.collect()
        true = truth.of(
            [value for _, value in sorted(records.items())]
            for _, records in sorted(self._records.items())
        )
        newest = int(true.events["event_time_ms"].max())  # type: ignore[arg-type]
        outcome = self.outcome
        with contextlib.suppress(AssertionError):
            self.wait(
                lambda: (
                    self._seen("events") >= true.records
                    and (self.observer.latest.get("frontier") or 0) > newest
                ),
                timeout_s=DRAIN_S,
                why="everything is read",
            )
            if live:
                since_s = self.fault_ended_s or self.began_s
                self.wait(
                    lambda: self.observer.recovered_after_s(since_s=since_s) is not None,
                    timeout_s=DRAIN_S,
                    why="the monitor is current again",
                )
        if not self.observer.watching:
            self.fail("the observer ended before the scenario: see its traceback")
        frontier = self.observer.latest.get("frontier") or 0
        if self.settings.get("KPI_PUBLISH_VALUES") != "false":
            self._compare_windows(true, frontier=frontier)
        self._compare_counts(true)
        self._compare_alerts()
        since_s = self.fault_began_s or self.began_s
        outcome.blind_s = self.observer.longest_blind_s(since_s=since_s)
        outcome.recovered_s = self.observer.recovered_after_s(
            since_s=self.fault_ended_s or self.began_s
        )
        if live and outcome.recovered_s is None and not self.refused:
            self.fail("never current again")
        outcome.peak_rss_mb = self.observer.peak_rss_mb
        outcome.health_alerts = sorted(self.observer.health_alerts)
        return outcome

    def _seen(self, name: str) -> int:
        return int(self.observer.latest.get("health", {}).get(name, 0))

    def _compare_counts(self, true: truth.Truth) -> None:
        outcome = self.outcome
        seen = {name: self._seen(name) for name in truth.tally(true)}
        outcome.sent, outcome.counted = true.records, seen["counted"]
        outcome.dead_letters = seen["dead_letters"]
        outcome.lost = max(0, true.counted - seen["counted"])
        outcome.duplicated = max(0, seen["counted"] - true.counted)
        for name, expected in truth.tally(true).items():
            if seen[name] != expected:
                self.fail(f"{name}: {seen[name]}, {expected} are true")
        # They are written by the checkpoint that follows, later on a busy machine.
        with contextlib.suppress(AssertionError):
            self.wait(
                lambda: self._dead_letters() >= true.dead_letters,
                timeout_s=PUBLISHED_S,
                why="the dead letters are written",
            )
        if (kept := self._dead_letters()) != true.dead_letters:
            self.fail(f"{kept} dead letters are kept, {true.dead_letters} are true")

    def _dead_letters(self) -> int:
        """Return how many records the topic of dead letters holds, each counted once."""
        return len({record.key for record in self.cluster.read("dead-letters")})

    def _compare_windows(self, true: truth.Truth, *, frontier: int) -> None:
        outcome = self.outcome
        events = true.events
        entered = oracle.required_ends(events, "UTC", customers=self._customers)
        required = {end for end in entered if end[2] <= frontier}
        published = published_once_closed(lambda: self.cluster.read("values"), required)
        got, ends, incomplete = published.values, published.ends, published.incomplete
        missing = required - ends
        if missing:
            self.fail(f"{len(missing)} windows never closed, such as {min(missing)}")
        told = {key: values for key, values in got.items() if key[:2] not in incomplete}
        judged = {end for end in ends if (end[0], end[2]) not in incomplete}
        expected = oracle.values(
            events,
            judged,
            "UTC",
            customers=self._customers,
            compared=published.compared,
            pasts=published.pasts,
        )
        for key, values in expected.items():
            if oracle.window_start(*key[:2], "UTC") < self.older_until_ms:
                for kpi in [kpi for kpi in values if self._is_newer(kpi)]:
                    del values[kpi]
        wrong = differences(*without_moved(told, expected, true.may_move, published.pasts, "UTC"))
        outcome.windows, outcome.windows_incomplete = len(ends), len(incomplete)
        outcome.windows_wrong = len({line.split(":")[0] for line in wrong}) + len(missing)
        if wrong:
            self.fail(f"{len(wrong)} values differ, such as {sorted(wrong)[0]}")
        self._check_hidden(judged)

    def _is_newer(self, kpi: str) -> bool:
        """Return whether the version that `older_measures` names did not measure a KPI."""
        return since_of(CATALOGUE[kpi]) > self.older_measures

    def _check_hidden(self, complete: set[oracle.End]) -> None:
        """Check that no window that would hold a lost record was published as complete."""
        lost = (value for records in self._lost.values() for value in records.values())
        hidden = holding(complete, truth.times(lost))
        if hidden:
            self.outcome.windows_wrong += len(hidden)
            self.fail(f"{len(hidden)} windows hide a loss, such as {hidden[0]}")

    def _compare_alerts(self) -> None:
        changes = [json.loads(record.value) for record in self.cluster.read("alerts")]
        false = {
            (change["rule"], change["fired_at_ms"])
            for change in changes
            if change["category"] == "kpi"
            and change["state"] == "firing"
            and change["rule"] not in self.may_fire
        }
        self.outcome.false_alerts = len(false)
        if false:
            self.fail(f"KPI alerts that are not so: {sorted(name for name, _ in false)}")
