"""What is taken from the last evaluation of a window is what a calculation of all gives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.aggregates.ingest_report import FacetCell, PanesWire, Report, SourceStats
from models.campaigns.campaign import Campaign
from models.events import SOURCE_KINDS
from models.kpi.measures import SUM_INDEX, WIDTH, Measured
from models.kpi.user_catalogue import Largest
from models.scope import Scope
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, PANE_MS, QUARTER_MS, SO_FAR, WINDOWS, Window
from streams.engine.steps import Steps, at_once
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.columnar import small_windows
from streams.kpis.job import KpiJob
from streams.kpis.storage.running_sums import RunningSums
from streams.kpis.view import Evaluation
from streams.kpis.windows import last_evaluations
from streams.kpis.windows.last_evaluations import Period
from streams.kpis.windows.window_evaluator import WindowEvaluator
from tests.support.at_once import after, settled
from tests.support.cells import to_wire
from tests.support.offline import (
    NOON,
    UNUSED_POSITION,
    Path,
    Record,
    event,
    kpi_job,
    saved_from,
)

LARGEST = Largest(campaign=2, channel=1, campaign_channel=2)
CAMPAIGNS = [f"c{number}" for number in range(1, 5)]
STEPS_MS = [0, 10_000, 50_000, 4 * MINUTE_MS, QUARTER_MS, HOUR_MS, 5 * HOUR_MS, DAY_MS, 6 * DAY_MS]


class Checked(WindowEvaluator):
    """Evaluates every window twice, the second time with nothing known."""

    checked = 0

    def evaluate(self, window: Window, end: int, **options: Any) -> Steps[Evaluation]:
        """Return the first, when both are equal.

        What is kept between evaluations must not show in them, so no public way replaces it.
        """
        found = yield from super().evaluate(window, end, **options)
        buckets = self._buckets
        kept, sums = self._last, buckets._running_sums
        self._last = last_evaluations.LastEvaluations(buckets.holds)
        buckets._running_sums = RunningSums(buckets._facets, buckets.cover)
        anew = at_once(super().evaluate(window, end, **options))
        self._last, buckets._running_sums = kept, sums
        assert found.values == anew.values
        assert (found.small, found.other) == (anew.small, anew.other)
        assert found.exhausted_ms == anew.exhausted_ms
        Checked.checked += 1
        return found


moments = st.lists(
    st.tuples(
        st.sampled_from(STEPS_MS),
        st.sampled_from(["click", "order_placed", "spend_reported"]),
        st.sampled_from(CAMPAIGNS),
        st.sampled_from([0, 0, 0, 20_000, 15 * MINUTE_MS, 26 * HOUR_MS]),
    ),
    min_size=4,
    max_size=25,
)


def events_of(made: list[tuple[int, str, str, int]]) -> list[dict[str, Any]]:
    """Return events in order of arrival; some are late."""
    at_ms, events = NOON, []
    for number, (later_ms, kind, campaign, late_ms) in enumerate(made):
        at_ms += later_ms
        more: dict[str, Any] = {}
        if kind == "order_placed":
            more = {"order_id": f"o{number}"}
        if kind == "spend_reported":
            more = {"amount": "10.00", "currency": "CNY"}
        user = {} if kind == "spend_reported" else {"user_id": f"u{number % 3}"}
        events.append(
            event(
                kind,
                at=at_ms - late_ms,
                event_id=f"e{number}",
                campaign_id=campaign,
                channel=("search", "feed")[number % 2],
                **user,
                **more,
            )
        )
    return events


@pytest.mark.parametrize(("zone", "added_one_by_one"), [("UTC", 1_000), ("Europe/Berlin", 0)])
def test_equal_to_all(zone: str, added_one_by_one: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of which only what changed is calculated is equal to one calculated whole."""
    monkeypatch.setattr(last_evaluations, "FEW_SCOPES", 0)
    monkeypatch.setattr(small_windows, "FEW", added_one_by_one)
    monkeypatch.setattr("streams.kpis.job.WindowEvaluator", Checked)
    monkeypatch.setattr(Checked, "checked", 0)

    @settings(max_examples=40, deadline=None)
    @given(made=moments, batch=st.integers(1, 5))
    def equal(made: list[tuple[int, str, str, int]], batch: int) -> None:
        planned = {
            "budget": {"amount": "100", "currency": "CNY"},
            "starts": "2023-11-14T00:00:00Z",
            "ends": "2023-11-24T00:00:00Z",
        }
        path = Path(
            now_ms=NOON + 90 * DAY_MS,
            zone=zone,
            campaigns=[
                Campaign.model_validate({"id": "c1", **planned}),
                *(Campaign(id=name) for name in CAMPAIGNS[1:]),
            ],
        )
        path.feed(events_of(made), batch=batch)
        path.finish()

    equal()
    assert Checked.checked > 100


DST = (1_679_788_800_000, 1_698_537_600_000)
"""The midnights before the clock of Berlin is put forward, and back."""


def some_cell(rnd: random.Random) -> CellWire:
    """Return a cell of a report; some take back more than they add."""
    sums = [0] * WIDTH
    names = ["clicks", "orders", "revenue_gross", "spend", "spend_reports", "visits", "refunds"]
    for name in rnd.sample(names, rnd.randint(1, 3)):
        sums[SUM_INDEX[name]] += rnd.choice([1, 2, 5]) * (-1 if rnd.random() < 0.1 else 1)
    cell = to_wire(Cell(sums))
    cell.users[0] = Distinct({rnd.randrange(5)}).to_bytes() if rnd.random() < 0.5 else b""
    return cell


class Reporting:
    """Reports of all topics; some are late, some replace the last one of a dead worker."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd
        self.at_ms = rnd.choice([*DST, NOON]) - rnd.randrange(24) * HOUR_MS
        self.now_ms = self.at_ms + 100 * DAY_MS
        self.sources = dict.fromkeys(SOURCE_KINDS, (1, 0, 0))

    def next(self) -> Iterator[Report]:
        """Yield one report of each topic, a while later."""
        self.at_ms += self.rnd.choice([10_000, 60_000, 60_000, QUARTER_MS, HOUR_MS, DAY_MS])
        self.now_ms += 1_000
        for kind, (epoch, first, last_one) in self.sources.items():
            replaces = last_one > first and self.rnd.random() < 0.1
            start = first if replaces else last_one
            end = last_one + 1
            self.sources[kind] = epoch + replaces, start, end
            yield Report(
                topic=kind,
                partition=0,
                epoch=epoch + replaces,
                from_offset=start,
                to_offset=end,
                read_up_to_ms=self.now_ms,
                watermark_ms=self.at_ms - self.at_ms % PANE_MS,
                idle=False,
                stats=SourceStats(),
                panes=self._panes(),
            )

    def _panes(self) -> PanesWire:
        panes: PanesWire = {}
        late = [0, 0, 0, 10_000, 60_000, HOUR_MS, 26 * HOUR_MS, 8 * DAY_MS]
        for _ in range(self.rnd.randint(0, 3)):
            at_ms = self.at_ms - self.rnd.choice(late)
            region = self.rnd.choice(["", "north"])
            facet = ("", region) if region else (self.rnd.choice(["search", "feed"]), "")
            cell = FacetCell(f"c{self.rnd.randint(1, 5)}", facet[0], some_cell(self.rnd), facet[1])
            panes.setdefault(at_ms - at_ms % PANE_MS, []).append(cell)
        return panes


def with_budget(campaign: str, amount: int) -> Campaign:
    """Return a campaign without dates, of which a plan is the same at every end."""
    budget = {"amount": str(amount), "currency": "CNY"}
    return Campaign.model_validate({"id": campaign, "budget": budget})


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 30))
def test_taken_back(seed: int, steps: int) -> None:
    """The same where reports are replaced, plans change, and stages restart."""
    rnd = random.Random(seed)
    reporting = Reporting(rnd)
    campaigns = CampaignIndex(Campaign(id=f"c{number}") for number in range(1, 6))
    job_of = partial(
        kpi_job, zone="Europe/Berlin", campaigns=campaigns, largest=LARGEST, made=KpiJob
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(last_evaluations, "FEW_SCOPES", 0)
        patched.setattr(small_windows, "FEW", rnd.choice([0, 1_000]))
        patched.setattr("streams.kpis.job.WindowEvaluator", Checked)
        job, snapshots, offset = job_of(), [], 0
        for _ in range(8):
            for report in reporting.next():
                value = ingest_report.encode([report])
                job.apply([Record(offset, reporting.now_ms, None, value)])
                offset += 1
                while job.work(after(steps)):
                    pass
            if rnd.random() < 0.2:
                campaigns.define(with_budget("c1", rnd.randint(1, 500)))
            job.tick(UNUSED_POSITION, now_ms=reporting.now_ms)
            job.work(lambda: False)
            if job.view is not None:
                for shown in job.view.latest.values():
                    assert bool(shown.small) == bool(shown.other)
            snapshots.append(settled(job.snapshot()))
            if rnd.random() < 0.1:
                job = job_of(saved=saved_from(snapshots, offset=offset - 1))


def test_plan_read_once() -> None:
    """A plan that changes while a window is evaluated counts at the next end at the latest."""
    campaigns = CampaignIndex([with_budget("c1", 100), Campaign(id="c2")])
    path = Path(now_ms=NOON + 90 * DAY_MS)
    path.kpis = kpi_job(campaigns=campaigns)
    spend = event("spend_reported", amount="10", currency="CNY", event_id="s1")
    path.feed([spend, event(at=NOON + 2 * HOUR_MS, campaign_id="c2", event_id="e1")])
    so_far = next(window for window in WINDOWS if window.name == SO_FAR)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(last_evaluations, "FEW_SCOPES", 0)
        first, second, third = (NOON + HOUR_MS + n * QUARTER_MS for n in range(3))
        at_once(path.kpis.windows.evaluate(so_far, first))
        halfway = path.kpis.windows.evaluate(so_far, second)
        next(halfway)
        campaigns.define(with_budget("c1", 200))
        at_once(halfway)
        used = at_once(path.kpis.windows.evaluate(so_far, third))
    assert used.values[Scope("campaign", "c1")]["budget_used"].value == 10 / 200


def period(end: int, **others: Any) -> Period:
    """Return five minutes and the five before them."""
    start = end - 5 * MINUTE_MS
    measured = Measured(6)
    made = Period(start, end, (start - 5 * MINUTE_MS, start), 0, 1, measured, measured)
    return made._replace(**others)


def test_a_minute_later() -> None:
    """What entered and what left lies in three minutes."""
    later = period(NOON + MINUTE_MS)
    assert later.changed_since(period(NOON)) == [
        (NOON - 10 * MINUTE_MS, NOON - 9 * MINUTE_MS),
        (NOON - 5 * MINUTE_MS, NOON - 4 * MINUTE_MS),
        (NOON, NOON + MINUTE_MS),
    ]


@pytest.mark.parametrize(
    "other",
    [
        *({"previous": None}, {"day_start": 1}, {"connected": 3}, {"measured": Measured(3)}),
        {"measured_before": Measured(6, frozenset({"samples"}))},
    ],
)
def test_nothing_in_common(other: dict[str, Any]) -> None:
    """After midnight, or once another input came, all scopes are calculated."""
    assert period(NOON + MINUTE_MS, **other).changed_since(period(NOON)) is None
    assert period(NOON).changed_since(period(NOON + MINUTE_MS)) is None
