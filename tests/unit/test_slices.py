"""Where slices of time end does not show in what the KPI stage computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import SourceKind
from models.window import DAY_MS, HOUR_MS, MINUTE_MS
from streams.alerting.rules.registry import RuleBook
from streams.engine.contracts import BesideRecordsError, Saved
from streams.kpis import state as saved_states
from streams.kpis.coverage.silent_sources import SilentSources
from streams.kpis.job import KpiJob
from streams.kpis.storage.bucket_store import BucketStore
from streams.kpis.windows.round_robin import RoundRobin
from tests.support.at_once import after, settled
from tests.support.offline import NOON, UNUSED_POSITION, Path, Record, event, kpi_job, store

NEVER = (10**9,)
RULES = RuleBook.model_validate(
    {
        "rules": [
            {"name": "few", "kind": "threshold", "kpi": "clicks", "window": "5m", "below": 2},
            {"name": "many", "kind": "threshold", "kpi": "orders", "window": "1h", "above": 1},
            {
                "name": "none",
                "kind": "absence",
                "kpi": "clicks",
                "window": "1m",
                "scope": "campaign",
                "match": {"campaign": ["c1"]},
            },
        ]
    }
)


class Reports(Path):
    """Writes down what ingest reports, and when."""

    def deliver(self, outputs: Any) -> None:
        """Keep the reports."""
        self.records = getattr(self, "records", [])
        for output in outputs:
            if output.topic == "partials":
                self.records.append(Record(len(self.records), self.now_ms, None, output.value))


@dataclass
class Played:
    """What came of some reports: closed windows, changes of alerts, and what is stored."""

    values: list[tuple[bytes | None, bytes]] = field(default_factory=list)
    alerts: list[bytes] = field(default_factory=list)
    stored: dict[bytes, bytes] = field(default_factory=dict)
    state: bytes = b""
    offset: int = -1

    def take(self, job: KpiJob, *, offset: int) -> None:
        """Write a checkpoint."""
        snapshot = settled(job.snapshot())
        self.values += [(one.key, one.value) for one in snapshot.early_outputs]
        self.alerts += [one.value for one in snapshot.outputs]
        self.state, self.offset = snapshot.state, offset
        store(snapshot, self.stored)

    @property
    def saved(self) -> Saved | None:
        """What a stage is opened with; None before the first checkpoint."""
        if not self.state:
            return None
        return Saved(offset=self.offset, state=self.state, segments=dict(self.stored))

    @property
    def newest(self) -> dict[bytes | None, bytes]:
        """The last record of each closed window, but for whether it is a correction.

        A stage that was opened again hears of each source before its frontier moves. What
        came late meanwhile is in a window when it closes, which was corrected otherwise.
        """
        return {
            key: value.replace(b'"corrected":true', b'"corrected":false')
            for key, value in self.values
        }


def opened(saved: Saved | None = None) -> KpiJob:
    return kpi_job(rules=RULES, saved=saved, made=KpiJob)


def play(records: Sequence[Record], steps: Sequence[int]) -> Played:
    """Give a stage the reports, its time cut after so many steps, again and again."""
    played, job, lengths = Played(), opened(), cycle(steps)
    for record in records:
        job.apply([record])
        while job.work(after(next(lengths))):
            pass
        for _ in range(2):
            job.tick(UNUSED_POSITION, now_ms=record.timestamp)
            job.work(after(next(lengths)))
            job.work(lambda: False)
    played.take(job, offset=records[-1].offset)
    return played


def play_killed(records: Sequence[Record], steps: Sequence[int], *, killed_after: int) -> Played:
    """Write a checkpoint after each slice that allows it, and kill the stage after one.

    Nobody ticks: then only windows that events changed are closed, whenever that is. Slices
    are counted from when the first window closed: before that observation has not begun.
    """
    played, job, lengths = Played(), opened(), cycle(steps)
    slices, at = 0, 0
    while at < len(records):
        job.apply([records[at]])
        left = True
        while left and slices != killed_after:
            left = job.work(after(next(lengths)))
            if job.whole:
                played.take(job, offset=at)
            slices += bool(played.values)
        if slices == killed_after:
            slices += 1
            job, at = opened(played.saved), played.offset
        at += 1
    job.work(lambda: False)
    played.take(job, offset=records[-1].offset)
    return played


moments = st.lists(
    st.tuples(
        st.sampled_from([0, 5_000, 40_000, 10 * MINUTE_MS, 3 * HOUR_MS, DAY_MS + HOUR_MS]),
        st.sampled_from(["click", "order_placed"]),
        st.sampled_from(["c1", "c2"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def reported(made: list[tuple[int, str, str, bool]], *, batch: int) -> list[Record]:
    """Return the reports of events in order, some of them late."""
    at_ms, events = NOON, []
    for number, (later_ms, kind, campaign, late) in enumerate(made):
        at_ms += later_ms
        time_ms = at_ms - 200_000 if late else at_ms
        events.append(
            event(
                kind,
                at=time_ms,
                event_id=f"e{number}",
                user_id=f"u{number % 3}",
                campaign_id=campaign,
                **({"order_id": f"o{number}"} if kind == "order_placed" else {}),
            )
        )
    path = Reports(now_ms=NOON + 30 * DAY_MS)
    path.feed(events, batch=batch)
    path.finish()
    path.report()  # a stage that is killed in the last round hears of all sources again
    records: list[Record] = path.records
    return records


@settings(max_examples=40, deadline=None)
@given(made=moments, batch=st.integers(1, 4), steps=lengths)
def test_any_length(made: list[tuple[int, str, str, bool]], batch: int, steps: list[int]) -> None:
    """Slices of any length give the same windows in the same order, alerts and state."""
    records = reported(made, batch=batch)
    whole = play(records, NEVER)
    cut = play(records, steps)
    assert cut.values == whole.values
    assert cut.alerts == whole.alerts
    assert cut.state == whole.state
    assert cut.stored == whole.stored


@settings(max_examples=40, deadline=None)
@given(made=moments, batch=st.integers(1, 4), steps=lengths, killed_after=st.integers(1, 80))
def test_killed_between_slices(
    made: list[tuple[int, str, str, bool]], batch: int, steps: list[int], killed_after: int
) -> None:
    """A stage that is killed between two slices and goes on closes the same windows.

    Late data may make an alert fire at another window's end: a stage that was opened again waits
    for a report of each source, so that the data are in windows when these close, and not in
    their corrections, on which no alert fires.
    """
    records = reported(made, batch=batch)
    whole = play_killed(records, NEVER, killed_after=-1)
    cut = play_killed(records, steps, killed_after=killed_after)
    assert cut.newest == whole.newest
    if not any(late for *_, late in made):
        assert cut.alerts[-1:] == whole.alerts[-1:]


def test_no_snapshot_inside_a_report() -> None:
    """While a report is merged in part, no snapshot may be taken of it."""
    records = reported([(40_000, "click", "c1", False)] * 30, batch=100)
    job = opened()
    job.apply(records[:1])
    assert not job.whole
    assert job.work(lambda: True)
    assert not job.whole
    while job.work(lambda: True, until_whole=True) and not job.whole:
        pass
    assert job.whole


def test_progress() -> None:
    """While windows are closed, the view says up to where, and how many wait."""
    records = reported([(HOUR_MS, "click", "c1", False)] * 20, batch=100)
    job = opened()
    waiting: list[int] = []
    steps = 0
    for record in records:
        job.apply([record])
        while job.work(lambda: True):
            steps += 1
            if steps % 50 == 0:
                job.tick(UNUSED_POSITION, now_ms=record.timestamp + steps * 100)
                assert job.view is not None
                waiting.append(job.view.progress.windows_waiting)
                assert job.view.frontier_ms <= job.view.progress.complete_ms
    job.tick(UNUSED_POSITION, now_ms=records[-1].timestamp + 10**6)
    assert job.view is not None
    assert max(waiting) > 100
    assert waiting[-1] < max(waiting)
    assert job.view.progress.windows_waiting == 0
    assert job.view.frontier_ms == job.view.progress.complete_ms


def test_correction_is_published() -> None:
    """A correction that comes after a checkpoint is work to be saved and published itself."""
    path = Reports(now_ms=NOON + 30 * DAY_MS)
    path.feed([event(at=NOON + second * 1000, event_id=f"e{second}") for second in (0, 300)])
    path.report()
    path.feed([event(at=NOON + 200_000, event_id="late")])
    path.report()
    job = opened()
    records = iter(path.records)
    while not saved_states.decode(job.snapshot().state).to_correct:
        if not job.work(lambda: True, until_whole=True):
            job.apply([next(records)])
        while not job.whole:
            job.work(lambda: True, until_whole=True)
    assert not job.dirty
    job.work(lambda: False)
    assert job.dirty
    corrected = [
        one for one in settled(job.snapshot()).early_outputs if b'"corrected":true' in one.value
    ]
    assert corrected


def test_failure_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose work failed halfway allows no snapshot, and fails again."""
    job = opened()

    def fail(*_: object, **__: object) -> Any:
        yield
        raise ValueError("halfway")

    monkeypatch.setattr(BucketStore, "apply", fail)
    job.apply(reported([(40_000, "click", "c1", False)], batch=1)[:1])
    for _ in range(2):
        with pytest.raises(ValueError, match="halfway"):
            job.work(lambda: False)
        assert not job.whole


def test_failure_beside_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in what is only shown is told apart from one that a record causes."""
    job = opened()
    job.apply(reported([(40_000, "click", "c1", False)], batch=1))
    job.work(lambda: False)

    def fail(*_: object) -> Any:
        yield
        raise ValueError("of a stage")

    monkeypatch.setattr(RoundRobin, "compute_next", fail)
    job.tick(UNUSED_POSITION, now_ms=NOON + 60 * DAY_MS)
    with pytest.raises(BesideRecordsError, match="of a stage"):
        job.work(lambda: False)


def test_quiet_sources_are_saved() -> None:
    """Windows that are closed after a restart know which sources were quiet before it."""
    kinds: dict[str, SourceKind] = {"clicks": "clicks", "orders": "orders"}
    silences = SilentSources(kinds, silent_after_ms=20_000)
    silences.restore([], [], [("clicks", 0, NOON)])
    again = SilentSources(kinds, silent_after_ms=20_000)
    again.restore([], [], silences.quiet_since)
    assert again.unsure(NOON, NOON + MINUTE_MS).keys() == {"clicks"}
    state = saved_states.nothing()
    state.quiet_since = silences.quiet_since
    job = opened(Saved(offset=0, state=saved_states.encode(state), segments={}))
    job.work(lambda: False)
    assert saved_states.decode(job.snapshot().state).quiet_since == [("clicks", 0, NOON)]
