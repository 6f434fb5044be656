"""The alert book is saved in segments: whatever happens, it is the book of the last head."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alerts import Alert, AlertState, Held, alert_id
from models.kpi.definition import KpiValue
from models.scope import Scope
from models.window import HOUR_MS, MINUTE_MS
from streams.alerting import alert_segments
from streams.alerting.alert_book import RESOLVED_KEPT, AlertBook
from streams.alerting.rules.protocol import AlertFacts, Evidence, Finding, Verdict
from streams.alerting.rules.registry import RuleBook
from streams.engine.contracts import BesideRecordsError, Saved
from streams.engine.steps import at_once
from streams.kpis import state as saved_states
from streams.kpis.judging import ALERTS_PREFIX
from tests.support.offline import NOON, Path, Record, event, store, taken_over

Store = dict[bytes, bytes]
HELD = Held(sources=("clicks",), since_ms=NOON)
RULES = [
    AlertFacts(rule="fast", severity="critical", window="1m", kpi="clicks"),
    AlertFacts(
        rule="slow", severity="warning", window="5m", for_ms=20_000, keep_firing_for_ms=20_000
    ),
]


class Given:
    """A rule whose finding is what it is asked to judge."""

    def judge(self, context: Finding, /) -> Finding:
        """Return the finding."""
        return context


def judge(book: AlertBook, rule: AlertFacts, scope: int, verdict: Verdict, *, at_ms: int) -> None:
    """Let a rule judge one of many scopes."""
    place = Scope("campaign", f"c{scope}")
    value = None if verdict is Verdict.NO_JUDGEMENT else KpiValue(scope, n=scope)
    finding = Finding(verdict, Evidence(value, 10.0))
    key = alert_id(rule.rule, place)
    book.judge(Given(), finding, rule, key=key, scope=place, at_ms=at_ms)


def write(book: AlertBook, kept: Store) -> list[bytes]:
    """Write the changed segments of a book; return the keys that are removed after the head."""
    removed = []
    for key, written in book.take_segments():
        if written is None:
            removed.append(key)
        else:
            kept[key] = written()
    return removed


def remove(kept: Store, keys: list[bytes]) -> None:
    """Remove segments, as a checkpoint does after its head."""
    for key in keys:
        kept.pop(key, None)


def restored(kept: Store, head: list[int]) -> AlertBook:
    """Return the book that a worker reads from stored segments."""
    book = AlertBook()
    at_once(book.restore(b"[]", dict(kept), live=head, over=lambda _: None))
    return book


def all_of(book: AlertBook) -> list[Any]:
    """Return everything that a book says, in its order."""
    opened = [list(book.open_of(rule.rule)) for rule in RULES]
    fired = [list(book.fired_on("1m", NOON + step * 10_000)) for step in range(5)]
    return [book.shown(inhibited=False), opened, fired]


judged = st.tuples(
    st.just("judge"), st.sampled_from(RULES), st.integers(0, 5), st.sampled_from(list(Verdict))
)
others = st.tuples(
    st.sampled_from(["hold", "forget"]), st.sampled_from(RULES), st.just(0), st.just(Verdict.HOLDS)
)
saving = st.tuples(
    st.sampled_from(["checkpoint", "restart", "before the head", "before the removals"]),
    st.just(RULES[0]),
    st.just(0),
    st.just(Verdict.HOLDS),
)


@given(st.lists(judged | judged | judged | others | saving, max_size=60), st.integers(1, 3))
def test_saved_book(actions: list[tuple[str, AlertFacts, int, Verdict]], size: int) -> None:
    """A book that is saved and restored, at whatever point a worker dies, equals one that is not.

    It equals the book of the last head, also in the order of its alerts, and goes on like it.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(alert_segments, "ALERTS_A_SEGMENT", size)
        never, book = AlertBook(), AlertBook()
        kept: Store = {}
        head: list[int] = []
        at_head = deepcopy(never)
        for number, (action, rule, scope, verdict) in enumerate(actions):
            at_ms = NOON + number * 10_000
            if action in {"checkpoint", "before the head", "before the removals"}:
                removed = write(book, kept)
                if action != "before the head":
                    head, at_head = list(book.live_segments), deepcopy(never)
                if action == "checkpoint":
                    remove(kept, removed)
            if action in {"restart", "before the head", "before the removals"}:
                book, never = restored(kept, head), deepcopy(at_head)
            for one in (never, book):
                if action == "judge":
                    judge(one, rule, scope, verdict, at_ms=at_ms)
                elif action == "hold":
                    at_once(one.hold(rule.rule, HELD))
                elif action == "forget":
                    at_once(one.forget_pending(rule.rule, at_ms=at_ms))
            assert all_of(book) == all_of(never)
            assert book.take_changes() == never.take_changes()


def test_only_changed_alerts_are_written() -> None:
    """Of thousands of alerts a checkpoint writes those that changed, in segments of few alerts."""
    book, kept = AlertBook(), dict[bytes, bytes]()
    for scope in range(1_000):
        for rule in RULES:
            judge(book, rule, scope, Verdict.BROKEN, at_ms=NOON)
    assert not write(book, kept)
    assert len(kept) == 2_000 / alert_segments.ALERTS_A_SEGMENT
    assert max(len(json.loads(data)) for data in kept.values()) == alert_segments.ALERTS_A_SEGMENT
    before = set(kept)
    judge(book, RULES[0], 7, Verdict.BROKEN, at_ms=NOON + 10_000)
    (removed,) = write(book, kept)
    assert removed in before
    assert len(set(kept) - before) == 1
    assert not write(book, kept)


def test_what_ends_is_removed() -> None:
    """Segments whose alerts all ended are removed, and few resolved alerts are kept."""
    book, kept = AlertBook(), dict[bytes, bytes]()
    for verdict in (Verdict.BROKEN, Verdict.HOLDS):
        for scope in range(200):
            judge(book, RULES[0], scope, verdict, at_ms=NOON)
        remove(kept, write(book, kept))
    assert len(kept) == len(book.live_segments) == 1
    assert len(restored(kept, list(book.live_segments)).shown(inhibited=False)) == RESOLVED_KEPT


def firing() -> Path:
    """Return a path with an alert that fires."""
    rule = {"name": "many", "kind": "threshold", "kpi": "clicks", "window": "1m", "above": 2}
    path = Path(rules=RuleBook.model_validate({"rules": [rule]}), now_ms=NOON + HOUR_MS)
    path.feed([event(at=NOON + second * 1000, event_id=f"e{second}") for second in range(9)])
    path.feed([event(at=NOON + 30_000, event_id="after them")])
    path.finish()
    return path


def shown(path: Path) -> list[Alert]:
    """Return the alerts of the KPI job."""
    return list(path.kpis.judge.alerts())


def test_head_has_no_alerts() -> None:
    """The head of the KPI stage lists segments of alerts, and has no alert itself."""
    path = firing()
    assert [one.rule for one in shown(path) if one.category == "kpi"] == ["many"]
    assert path.state.judge == saved_states.NO_ALERTS
    assert path.state.alert_segments
    assert b"meaning_en" not in saved_states.encode(path.state)
    assert sum(key.startswith(ALERTS_PREFIX) for key in path.segments) == len(
        path.state.alert_segments
    )
    alerts = shown(path)
    path.kpis = path.opened(path.saved)
    assert shown(path) == alerts


def test_state_with_alerts_in_the_head() -> None:
    """A state of a version that kept all alerts in the head opens, and is saved in segments."""
    path = firing()
    alerts = shown(path)
    rows = [
        [one.model_dump(mode="json"), None, 0, None, 0]
        for one in sorted(alerts, key=lambda one: one.state is AlertState.RESOLVED)
    ]
    for key in [one for one in path.segments if one.startswith(ALERTS_PREFIX)]:
        del path.segments[key]
    path.kpis = taken_over(path, judge=json.dumps(rows).encode(), alert_segments=[])
    assert shown(path) == alerts
    path.feed([event(at=NOON + 10 * MINUTE_MS, event_id="later")])
    path.finish()
    assert path.state.judge == saved_states.NO_ALERTS
    later = shown(path)
    path.kpis = path.opened(path.saved)
    assert shown(path) == later


def test_crash_before_the_head() -> None:
    """Segments that were written without their head do not count, and are removed."""
    path = firing()
    alerts, saved = shown(path), path.saved
    path.feed([event(at=NOON + 10 * MINUTE_MS, event_id="later")])
    path.finish()
    assert shown(path) != alerts
    newer = {key: data for key, data in path.segments.items() if key.startswith(ALERTS_PREFIX)}
    mixed = Saved(offset=saved.offset, state=saved.state, segments={**saved.segments, **newer})
    path.kpis = path.opened(mixed)
    assert shown(path) == alerts
    path.kpis.skip(Record(0, NOON, None, b""), why="a test")
    kept = dict(mixed.segments)
    snapshot = path.kpis.snapshot()
    store(snapshot, kept)
    live = saved_states.decode(snapshot.state).alert_segments
    stored = {key for key in kept if key.startswith(ALERTS_PREFIX)}
    assert stored == {ALERTS_PREFIX + b"%d" % number for number in live}


def test_missing_segment() -> None:
    """A state that lacks a segment of alerts is refused with what to do; no record is blamed."""
    path = firing()
    saved = path.saved
    segments = {
        key: data for key, data in saved.segments.items() if not key.startswith(ALERTS_PREFIX)
    }
    with pytest.raises(BesideRecordsError, match="its changelog was truncated; restore it, or"):
        path.opened(Saved(offset=saved.offset, state=saved.state, segments=segments))
