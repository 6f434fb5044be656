"""A source that falls silent leaves its own KPIs unjudged, and only those."""

from __future__ import annotations

import json
import re

import pytest

from models.kpi.catalogue import CATALOGUE
from streams.alerting.rules.registry import RuleBook
from streams.engine.contracts import Position
from streams.export.page.snapshot import live as live_picture
from tests.factories.views import metrics, queries, worker
from tests.support.offline import NOON, Path, event, kind_of, record

STEP_MS = 500


def live(path: Path, *, from_ms: int, seconds: int, orders: bool) -> None:
    """Let time pass at its own pace, with a click and, or not, an order in every step."""
    for at in range(from_ms, from_ms + seconds * 1_000, STEP_MS):
        path.now_ms = at
        for kind in ("click", "order_placed") if orders else ("click",):
            body = event(kind, at=at, event_id=f"{kind}{at}")
            source = (kind_of(body), 0)
            offset = path.offsets[source]
            path.offsets[source] = offset + 1
            path.sources[source].apply([record(body, offset=offset, at=at)])
        for job in path.sources.values():
            job.tick(Position(caught_up_at_ms=at, behind=0), now_ms=at)
        for job in path.sources.values():
            if job.dirty:
                path.deliver(job.snapshot().outputs)
            else:
                path.deliver_reports([job.report()])


def end(path: Path, *, at: int) -> None:
    """Say in the partition of orders that its history ends at an event time."""
    body = {"type": "complete_through", "event_id": "end", "event_time": at}
    path.sources["orders", 0].apply([record(body, offset=path.offsets["orders", 0], at=at)])
    path.offsets["orders", 0] += 1
    path.deliver(path.sources["orders", 0].snapshot().outputs)


def told(path: Path) -> dict[str, bool]:
    """Return which KPIs rest on everything in the newest minute."""
    assert path.kpis.view is not None
    latest = path.kpis.view.latest["1m"]
    return {
        name: latest.complete_for(CATALOGUE[name]) for name in ("clicks", "orders", "aov", "ctr")
    }


def test_silent_source_affects_its_kpis() -> None:
    """Only KPIs that need the silent source lack data, while the silence is in the window."""
    path = Path()
    live(path, from_ms=NOON, seconds=90, orders=True)
    assert all(told(path).values())
    live(path, from_ms=NOON + 90_000, seconds=40, orders=False)
    assert told(path) == {"clicks": True, "orders": False, "aov": False, "ctr": True}
    view = path.kpis.view
    assert view is not None
    assert set(view.health.silent) == {("orders", 0), ("orders", -1)}
    live(path, from_ms=NOON + 130_000, seconds=20, orders=True)
    assert told(path)["orders"] is False
    assert path.kpis.view is not None
    assert not path.kpis.view.health.silent
    live(path, from_ms=NOON + 150_000, seconds=70, orders=True)
    assert all(told(path).values())


def test_affected_values_name_their_source() -> None:
    """Values that a silent source affects name that source."""
    path = Path()
    live(path, from_ms=NOON, seconds=60, orders=True)
    before = len(path.state.silences)
    live(path, from_ms=NOON + 60_000, seconds=30, orders=False)
    live(path, from_ms=NOON + 90_000, seconds=10, orders=True)
    assert len(path.state.silences) == before + 2
    assert path.kpis.view is not None
    evaluation = path.kpis.view.latest["1m"]
    assert evaluation.unsure.keys() == {"orders"}
    silent = evaluation.unsure["orders"]
    assert silent.since_ms == pytest.approx(NOON + 60_000, abs=10_000)
    assert silent.until_ms == pytest.approx(NOON + 90_000, abs=15_000)
    assert evaluation.complete


def test_a_source_whose_history_ended_is_not_silent() -> None:
    """Without the statement it is silent; with it it is not, and speaks again as a new source."""
    for ended in (False, True):
        path = Path()
        live(path, from_ms=NOON, seconds=90, orders=True)
        if ended:
            end(path, at=NOON + 90_000)
        live(path, from_ms=NOON + 90_500, seconds=40, orders=False)
        view = path.kpis.view
        assert view is not None
        assert bool(view.health.silent) is not ended
        assert told(path)["orders"] is ended
    live(path, from_ms=NOON + 3_690_000, seconds=90, orders=True)
    live(path, from_ms=NOON + 3_780_000, seconds=40, orders=False)
    assert path.kpis.view is not None
    assert set(path.kpis.view.health.silent) == {("orders", 0), ("orders", -1)}


def test_alerts_wait_for_a_silent_source() -> None:
    """Alerts about KPIs of a silent source are held on the page and in their topic, others not."""
    common = {"kind": "threshold", "window": "1m", "below": 10_000}
    rules = RuleBook.model_validate(
        {
            "rules": [
                common | {"name": "few-orders", "kpi": "orders"},
                common | {"name": "fewer-orders", "kpi": "orders", "for": 3_600},
                common | {"name": "few-clicks", "kpi": "clicks"},
            ]
        }
    )
    path = Path(rules=rules)
    live(path, from_ms=NOON, seconds=90, orders=True)
    live(path, from_ms=NOON + 90_000, seconds=40, orders=False)
    picture = live_picture(worker(path.kpis.view), queries())
    shown = {alert["rule"]: alert for alert in picture["alerts"] if alert["category"] == "kpi"}
    assert {rule: alert["state"] for rule, alert in shown.items()} == {
        "few-orders": "firing",
        "fewer-orders": "pending",
        "few-clicks": "firing",
    }
    assert shown["few-clicks"]["held"] is None
    for rule in ("few-orders", "fewer-orders"):
        held = shown[rule]["held"]
        assert (held["sources"], held["until"]) == (["orders"], None)
        assert held["since"] == pytest.approx(NOON + 90_000, abs=10_000)
    text = metrics(worker(path.kpis.view), queries())
    since = re.findall(
        r'^kpi_monitor_alert_held_since_timestamp_seconds{.*rule="few-orders".*source="orders".*}'
        " (.*)$",
        text,
        re.M,
    )
    assert [float(one) * 1000 for one in since] == [held["since"]]
    told = [json.loads(one.value) for one in path.outputs if one.topic == "alerts" and one.value]
    assert {one["rule"] for one in told if one["held"]} == {"few-orders", "fewer-orders"}
    live(path, from_ms=NOON + 130_000, seconds=90, orders=True)
    assert path.kpis.view is not None
    assert all(alert.held is None for alert in path.kpis.view.alerts)
