"""A source that falls silent leaves its own KPIs unjudged, and only those."""

from __future__ import annotations

from models.kpi.catalogue import CATALOGUE
from streams.engine.contracts import Position
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
    assert evaluation.unsure == {"orders"}
    assert evaluation.complete
