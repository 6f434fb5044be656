"""Months of history are read at full speed: workers keep answering, and every window is exact."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.window import DAY_MS, HOUR_MS
from streams.alerting.rules.anomaly import AnomalyRule
from streams.alerting.usual.detector import Detector, Judgement, Point
from streams.kpis.output_records import ClosedWindow
from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario
from tests.support import data
from tests.support.cluster import Worker
from tests.support.starved import Starved

FIRST_VALUES_S = 10.0
"""Limit from the first live view of an owner to the first published window, seconds."""
ALL_VALUES_S = 300.0
"""Limit from the first live view of an owner to the close of all windows, seconds, without the time
in which a worker waited for a core."""
ANSWER_S = 1.0
"""Limit of every answer of the page and /metrics, without the wait for a core, seconds."""
STOP_S = 5.0
"""Limit from SIGTERM to the end of a worker, seconds."""
_KPIS = ("clicks", "orders", "conversion-rate", "unique-visitors", "revenue-gross")
_UNUSUAL = "clicks-unusual"
"""The rule that learns what is usual, and fires often."""
SETTINGS = {"KPI_IDLE_AFTER_S": "1.5"}


def _rules(arena: Arena, *windows: str) -> dict[str, str]:
    """Return settings with rules for each KPI and window, none of which is ever broken.

    One more rule learns what is usual, and fires about once a week; `_check_learned` checks it.
    """
    file = arena.folder / "history-rules.yaml"
    unusual = (
        f"  - {{name: {_UNUSUAL}, kind: anomaly, kpi: clicks, scope: channel, window: 1h, "
        "direction: both, once_in_weeks: 1, least_change: 0}"
    )
    arena.may_fire.add(_UNUSUAL)
    rows = [
        f"  - {{name: {kpi}-{window}, kind: threshold, kpi: {kpi.replace('-', '_')}, "
        f"window: {window}, above: 1000000000, severity: warning}}"
        for kpi in _KPIS
        for window in windows
    ]
    file.write_text("\n".join(["rules:", *rows, unusual, ""]))
    return {"KPI_RULES_FILE": str(file)}


@dataclass
class Answers:
    """Requests the pages of workers repeatedly and records how long the slowest took, seconds.

    The limit is for the worker: the time in which it or this process waited for a core is left
    out of what is checked (`busy_s`), and shown in what is noted (`slowest_s`).
    """

    arena: Arena
    slowest_s: float = 0.0
    busy_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def ask(self, worker: Worker) -> None:
        """Start requests to a worker, from a thread, until it ends or `check` is called."""
        thread = threading.Thread(target=self._ask, args=(worker,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _ask(self, worker: Worker) -> None:
        assert worker.url  # waits until the worker listens
        while not self._over.wait(0.3):
            for path in ("metrics", "", "api/live"):
                starved, began_s = Starved(worker.child.pid, os.getpid()), time.monotonic()
                try:
                    worker.get(path)
                except (OSError, urllib.error.URLError):
                    if not worker.child.alive:
                        return
                took_s = time.monotonic() - began_s
                self.slowest_s = max(took_s, self.slowest_s)
                busy_s = took_s - starved.seconds()
                self.busy_s[path] = max(busy_s, self.busy_s.get(path, 0.0))

    def check(self) -> None:
        """Stop, and check that every answer came within `ANSWER_S`."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        for path, busy_s in self.busy_s.items():
            if busy_s > ANSWER_S:
                self.arena.fail(f"/{path} took {busy_s:.1f} s")
        busy_s = max(self.busy_s.values())
        self.arena.outcome.notes.append(
            f"slowest answer {self.slowest_s * 1000:.0f} ms, {busy_s * 1000:.0f} ms with a core"
        )


def _send_shop_log(arena: Arena, *, before: str = "9999") -> None:
    """Send the shop's log, or its rows before a date like 2020-01."""
    checkout = data.repository()
    log = data.folder(checkout) / data.SHOP_LOG
    head, *lines = log.read_text(encoding="utf-8").splitlines()
    part = arena.folder / "log.csv"
    kept = [line for line in lines if line.rpartition(",")[2] < before]
    part.write_text("\n".join([head, *kept, ""]), encoding="utf-8")
    mapping = checkout / "config" / "shop-log.yaml"
    arena.cluster.command("feed", str(part), "--mapping", str(mapping), "--speed", "max")


def _published(arena: Arena) -> bool:
    return any(True for _ in arena.cluster.read("values"))


def _until_all_is_closed(arena: Arena) -> None:
    """Wait until the frontier has passed the newest event that was sent."""
    newest_ms = arena.newest_sent_ms()
    arena.wait(
        lambda: (arena.observer.latest.get("frontier") or 0) > newest_ms,
        timeout_s=150,
        why="all windows are closed",
    )


def _rebalances(arena: Arena) -> int:
    """Return how many rebalances the logs of both workers mention."""
    return sum(len(re.findall(r"is rebalancing", arena.log(name))) for name in ("a", "b"))


def _check_order(arena: Arena) -> None:
    """Check that each window was published in the order of its ends, except for corrections."""
    newest: dict[str, int] = {}
    for record in arena.cluster.read("values"):
        closed = json.loads(record.value)
        window, end = closed["window"], closed["end"]
        if closed["corrected"]:
            continue
        if end < newest.get(window, 0):
            arena.fail(f"{window} of {end} was published after that of {newest[window]}")
            return
        newest[window] = end


def _hours(arena: Arena) -> dict[int, dict[str, KpiValue]]:
    """Return the clicks of each channel by the end of the hour, in ms, as rules judge them.

    They are as they were first published. The hours up to the first click and the first order were
    observed in part.
    """
    hours: dict[int, dict[str, KpiValue]] = {}
    first: dict[str, int] = {}
    parts: set[tuple[int, int]] = set()
    for record in arena.cluster.read("values"):
        closed = msgspec.json.decode(record.value, type=ClosedWindow)
        part = (closed.end, closed.part)
        if closed.window != "1h" or closed.end % HOUR_MS or closed.corrected or part in parts:
            continue
        parts.add(part)
        for one in closed.scopes:
            for kpi in ("clicks", "orders"):
                if kpi in one.values and one.values[kpi].value:
                    first[kpi] = min(first.get(kpi, closed.end), closed.end)
        if closed.complete and "clicks" not in closed.unsure:
            hours.setdefault(closed.end, {}).update(
                (one.channel, one.values["clicks"])
                for one in closed.scopes
                if one.scope == "channel" and "clicks" in one.values
            )
    return {end: hours[end] for end in sorted(hours) if end > max(first.values())}


def _check_learned(arena: Arena) -> None:
    """Check that what the owner says is usual was learned from all hours, each once.

    Detectors that were never interrupted say the same, to the last digit.
    """
    worker = arena.worker(arena.observer.latest["worker"])
    answer = json.loads(worker.get(f"api/rules?rule={_UNUSUAL}&limit=100"))
    (status,) = answer["rules"]
    rule = AnomalyRule(
        name=_UNUSUAL, kind="anomaly", kpi="clicks", window="1h", once_in_weeks=1, least_change=0
    )
    learner = rule.learner(CATALOGUE["clicks"])
    detectors: dict[str, Detector] = {}
    right: dict[str, Judgement] = {}
    arena.wait(lambda: status["judged"] in _hours(arena), timeout_s=30, why="it is published")
    for end, values in _hours(arena).items():
        for channel in {*values, *detectors}:
            one = detectors.setdefault(channel, Detector(learner.settings, scale=learner.scale))
            value = float(values[channel].value) if channel in values else 0.0
            point = Point(end / 1000, (end - HOUR_MS) / 1000, value, value)
            if end <= status["judged"]:
                right[channel] = one.observe(point)
    said = {one["scope"]: one["usual"] for one in status["scopes"] if one["usual"] is not None}
    arena.outcome.notes.append(f"what is usual of {len(said)} channels")
    known = {
        f"channel={one}": found
        for one, found in right.items()
        if found.expected is not None or found.too_few is not None
    }
    if not said or known.keys() != said.keys():
        arena.fail(f"what is usual is known of {sorted(said)}, and should be of {sorted(known)}")
    for scope in known.keys() & said.keys():
        for name in ("expected", "low", "high", "score", "too_few"):
            found, expected = said[scope][name], getattr(known[scope], name)
            if found != expected:
                arena.fail(f"{scope}: {name} is {found}, not {expected}")


@scenario(history=True, settings=SETTINGS)
def shop_history(arena: Arena) -> None:
    """Two workers read five months of a shop's log at full speed, with values and 20 rules."""
    _send_shop_log(arena)
    answers = Answers(arena)
    arena.start("a", "b", **_rules(arena, "1m", "5m", "1h", "day"))
    for name in ("a", "b"):
        answers.ask(arena.worker(name))
    with arena.fault():
        arena.wait(lambda: arena.observer.latest, timeout_s=60, why="a worker reads")
        reading_s = time.monotonic()
        starved = [Starved(arena.worker(name).child.pid) for name in ("a", "b")]
        rebalances = _rebalances(arena)
        arena.wait(lambda: _published(arena), timeout_s=60, why="the first values")
        first_s = time.monotonic() - reading_s
        _until_all_is_closed(arena)
        all_s = time.monotonic() - reading_s
        busy_s = all_s - max(one.seconds() for one in starved)
    answers.check()
    arena.outcome.notes.append(
        f"first values {first_s:.1f} s, all {all_s:.0f} s, with a core {busy_s:.0f} s"
    )
    if first_s > FIRST_VALUES_S:
        arena.fail(f"the first values came after {first_s:.0f} s")
    if busy_s > ALL_VALUES_S:
        arena.fail(f"the last values came after {busy_s:.0f} s with a core")
    if _rebalances(arena) > rebalances:
        arena.fail("the group was rebalanced meanwhile")
    for name in ("a", "b"):
        if "waits: " in arena.log(name):
            arena.fail(f"worker {name} waited for Redis")
    _stop(arena, "a", "b")
    arena.again("a", "b")
    _check_order(arena)


@scenario(history=True, settings=SETTINGS)
def shop_history_interrupted(arena: Arena) -> None:
    """Five months of a shop's log; midway workers are stopped and killed, and the broker killed."""
    _send_shop_log(arena)
    _read_with_rules(arena)
    with arena.fault():
        _stop_and_kill(arena, after_s=(10, 20))
        time.sleep(20)
        arena.kill_broker()
        time.sleep(2)
        _stop(arena, "a", "b", without_broker=True)
        arena.start_broker()
        arena.again("a", "b")
    _until_all_is_closed(arena)
    _check_learned(arena)


@scenario(history=True, settings=SETTINGS, in_ci=True)
def shop_history_short(arena: Arena) -> None:
    """Two months of a shop's log, with SIGTERM and kill -9 of both workers midway."""
    _send_shop_log(arena, before="2020-01")
    _read_with_rules(arena)
    with arena.fault():
        _stop_and_kill(arena, after_s=(3, 6))
    _until_all_is_closed(arena)
    _check_learned(arena)


def _read_with_rules(arena: Arena) -> None:
    """Start two workers, and wait until one reads."""
    arena.start("a", "b", **_rules(arena, "1m", "5m", "1h", "day"))
    arena.wait(lambda: arena.observer.latest, timeout_s=60, why="a worker reads")


def _stop_and_kill(arena: Arena, *, after_s: tuple[int, int]) -> None:
    """Stop both workers with SIGTERM and start them again, then the same with kill -9."""
    time.sleep(after_s[0])
    _stop(arena, "a", "b")
    arena.again("a", "b")
    time.sleep(after_s[1])
    arena.kill("a", "b")
    arena.again("a", "b")


@scenario(history=True, settings={**SETTINGS, "KPI_PUBLISH_VALUES": "false"})
def sparse_campaigns(arena: Arena) -> None:
    """90 days of 1,000 campaigns with 20 clicks each, read at full speed, with 20 rules.

    The windows are not published: the long ones would be tens of gigabytes.
    """
    rnd = random.Random(7)
    campaigns = [f"c{number}" for number in range(1_000)]
    start_ms = int(time.time() * 1000) // DAY_MS * DAY_MS - 100 * DAY_MS
    times = sorted(rnd.randrange(90 * DAY_MS) for _ in range(20_000))
    arena.cluster.send("clicks", list(_clicks(times, start_ms, campaigns, rnd)))
    file = arena.folder / "campaigns.yaml"
    rows = [f"  - {{id: {campaign}, name: Campaign {campaign}}}" for campaign in campaigns]
    file.write_text("\n".join(["campaigns:", *rows, ""]))
    rules = _rules(arena, "1m", "5m", "1h", "day")
    answers = Answers(arena)
    arena.start("a", "b", **rules, KPI_CAMPAIGNS_FILE=str(file))
    for name in ("a", "b"):
        answers.ask(arena.worker(name))
    arena.wait(lambda: arena.observer.latest, timeout_s=60, why="a worker reads")
    reading_s = time.monotonic()
    rebalances = _rebalances(arena)
    _until_all_is_closed(arena)
    arena.outcome.notes.append(f"all {time.monotonic() - reading_s:.0f} s")
    answers.check()
    if _rebalances(arena) > rebalances:
        arena.fail("the group was rebalanced meanwhile")
    _stop(arena, "a", "b")
    arena.again("a", "b")


def _clicks(
    times: list[int], start_ms: int, campaigns: list[str], rnd: random.Random
) -> Iterator[tuple[str, object]]:
    for number, time_ms in enumerate(times):
        user = f"u{rnd.randrange(5_000)}"
        yield (
            user,
            {
                "type": "click",
                "event_id": f"e{number}",
                "event_time": start_ms + time_ms,
                "user_id": user,
                "campaign_id": rnd.choice(campaigns),
                "channel": rnd.choice(("search", "feed")),
            },
        )


def _stop(arena: Arena, *names: str, without_broker: bool = False) -> None:
    """Ask workers to end (SIGTERM), and check that each ends within `STOP_S`, with exit code 0.

    Args:
        arena: the deployment.
        names: of the workers.
        without_broker: whether the broker is away; any exit code is right then.
    """
    workers = arena.take(*names)
    began_s = time.monotonic()
    for worker in workers:
        worker.child.process.terminate()
    for worker in workers:
        code = worker.child.process.wait(60)
        took_s = time.monotonic() - began_s
        if took_s > STOP_S + 0.5:
            arena.fail(f"{worker.child.name} took {took_s:.1f} s to end")
        if code != 0 and not without_broker:
            arena.fail(f"{worker.child.name} ended with {code}")
